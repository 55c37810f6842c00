from __future__ import annotations

import json
import shutil

import pytest

from vsa.runtime.errors import InputError
from vsa.study.catalogue.prepare import open_shop
from vsa.study.end_to_end.run_engine import open_engine
from vsa.study.ledger.ledger import Ledger
from vsa.study.run import Run, make_run


def shop_run(folder) -> Run:
    folder.mkdir(parents=True, exist_ok=True)
    return make_run(f"folder:{folder}", "smoke", 0)


def test_public_data_sets_keep_their_names():
    assert make_run("grocery", "laptop", 0).name == "grocery-laptop"


def test_folders_of_one_name_have_runs_of_their_own(tmp_path):
    runs = [shop_run(tmp_path / owner / "My shop!") for owner in ("ann", "bert")]
    assert runs[0].artifacts != runs[1].artifacts
    assert runs[0].reports != runs[1].reports
    for run in runs:
        assert run.name.startswith("folder-my-shop-")
        assert run.name.endswith("-smoke")


def test_a_run_is_of_where_the_folder_lies_however_it_is_reached(tmp_path, monkeypatch):
    run = shop_run(tmp_path / "shop")
    (tmp_path / "link").symlink_to("shop")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in ("shop", "link", "./shop/../shop/", "~/shop"):
        assert make_run(f"folder:{path}", "smoke", 0) == run
    (tmp_path / "shop").rename(tmp_path / "shop2")
    assert shop_run(tmp_path / "shop2").name != run.name


@pytest.mark.parametrize(
    ("folder", "readable"),
    [
        ("时尚店", "时尚店"),
        ("थैला Ürün ٣", "थैला-ürün-٣"),
        ('a/b\\c:*?"<>|{d}$', "b-c-d"),
        ("👜", ""),
        ("包" * 85, "包" * 40),  # 255 bytes
        ("x" * 255, "x" * 40),
    ],
)
def test_letters_of_any_script_are_kept_within_what_a_file_name_may_hold(
    tmp_path, folder, readable
):
    run = shop_run(tmp_path / folder)
    run.begin()
    assert run.artifacts.is_dir()
    assert run.name.split("-")[1:-2] == (readable.split("-") if readable else [])


@pytest.mark.parametrize("folder", ["~no-such-user/shop", "a\0b", "\udcff"])
def test_what_can_be_no_folder_is_bad_input(folder):
    with pytest.raises(InputError, match="folder:PATH"):
        make_run(f"folder:{folder}", "smoke", 0)


def test_working_files_of_another_data_set_are_refused_everywhere(tmp_path):
    ours, theirs = (shop_run(tmp_path / name / "shop") for name in ("ours", "theirs"))
    theirs.begin()
    shutil.copytree(theirs.artifacts, tmp_path / "artifacts" / ours.name)
    for use in (
        lambda: shop_run(tmp_path / "ours" / "shop"),
        ours.begin,
        lambda: open_shop(ours),
        lambda: open_engine(ours),
        lambda: ours.artifacts,
    ):
        with pytest.raises(InputError, match=r"working files of folder:.*theirs.shop, not of"):
            use()


def test_results_of_a_folder_of_the_same_name_are_refused_and_show_no_path(tmp_path):
    ours, theirs = (shop_run(tmp_path / name / "shop") for name in ("ours", "theirs"))
    ledger = Ledger.open(theirs, "01_catalogue")
    ledger.record("data set", "catalogue", "images", 3)
    stored = ledger.save().read_text()
    assert json.loads(stored)["run"]["name"] == theirs.name
    assert str(tmp_path) not in stored
    shutil.copytree(theirs.reports, ours.reports)
    with pytest.raises(InputError, match=f"not of the run {ours.name}"):
        Ledger.open(ours, "01_catalogue")
