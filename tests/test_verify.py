"""`vsa verify`: all that a run has made, a byte of which is no longer what it was."""

import shutil

import pytest
from small_engine import small_shop

from vsa.category.predictor import save_predictor
from vsa.engine import VisualSearch
from vsa.runtime.errors import InputError
from vsa.study.end_to_end.run_engine import engine_folder
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.reporting import write_report
from vsa.study.run import make_run
from vsa.verify import verify


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return small_shop(tmp_path_factory.mktemp("published"))


@pytest.fixture
def run(published, tmp_path, monkeypatch):
    """A run with an engine, and a report."""
    monkeypatch.setenv("VSA_ARTIFACTS_DIR", str(tmp_path / "artifacts"))
    monkeypatch.setenv("VSA_REPORTS_DIR", str(tmp_path / "reports"))
    run = make_run("synthetic", "smoke", 0)
    shutil.copytree(published.folder, engine_folder(run))
    save_predictor(run.artifacts / "category" / "predictor", published.models.category)
    ledger = Ledger.open(run, "01_catalogue")
    ledger.record("data set", "catalogue", "images", 3)
    ledger.save()
    write_report(run.reports)
    return run


def test_a_whole_run_is_whole_by_its_name_and_by_its_folders(run):
    engine = engine_folder(run)
    parts = {run.artifacts / "category" / "predictor", engine, run.reports}
    assert set(verify(run.name)) == parts
    assert verify(engine) == [engine]
    assert verify(run.reports) == [run.reports]
    VisualSearch.open(engine).close()
    assert set(verify(run.name)) == parts  # it was only read


_REASONS = r"missing|damaged|truncated|checksum|no index|no engine"
FILES = [
    "engine/card.json",
    "engine/network/network.pth",
    "engine/network/card.json",
    "engine/category/classifier.pth",
    "engine/category/reference.parquet",
    "engine/rows/*.arrow",
    "engine/index/base-00000001/features.npy",
    "engine/index/index.json",
    "engine/checksums.json",
]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["truncated", "missing", "changed"])
def test_damage_is_named_and_no_engine_opens_on_it(run, name, how):
    (path,) = run.artifacts.glob(name)
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    else:
        middle = len(content) // 2
        end = b"" if how == "truncated" else bytes([content[middle] ^ 4]) + content[middle + 1 :]
        path.write_bytes(content[:middle] + end)
    with pytest.raises(InputError, match=_REASONS):
        verify(run.name)
    with pytest.raises(InputError, match=_REASONS):
        VisualSearch.open(engine_folder(run))


def test_a_stage_that_no_engine_holds_yet_is_checked_too(run):
    (run.artifacts / "category" / "predictor" / "classifier.pth").unlink()
    with pytest.raises(InputError, match=r"predictor/classifier\.pth: the file is missing"):
        verify(run.name)


def test_a_report_that_was_changed_by_hand_is_noticed(run):
    path = run.reports / "RESULTS.md"
    path.write_text(path.read_text().replace("| 3 |", "| 4 |"))
    with pytest.raises(InputError, match=r"RESULTS\.md: the file's checksum is wrong"):
        verify(run.name)


def test_all_damage_is_named(run):
    (run.reports / "report.html").unlink()
    (engine_folder(run) / "network" / "network.pth").unlink()
    with pytest.raises(InputError) as caught:
        verify(run.name)
    assert "report.html" in str(caught.value)
    assert "network.pth" in str(caught.value)


def test_links_and_drafts_are_not_followed(run):
    links = run.artifacts / ".links"
    links.mkdir()
    (links / "checkout").symlink_to(run.artifacts)
    (run.artifacts / "again").symlink_to(run.artifacts)
    draft = run.artifacts / ".vsa-engine-0-abcdefgh"
    draft.mkdir()
    (draft / "card.json").touch()
    assert len(verify(run.name)) == 3


def test_nothing_is_nothing(tmp_path):
    for what in (tmp_path, "no such run"):
        with pytest.raises(InputError, match="nothing here that can be checked"):
            verify(what)
