"""Data sets by name, also those of other people."""

import textwrap
from dataclasses import dataclass, replace

import pandas as pd
import pytest
from made_pictures import photo

import vsa
from vsa.data.datasets import DATASETS, DataSource, find_source
from vsa.runtime import registry
from vsa.runtime.errors import InputError
from vsa.study import pipeline
from vsa.study.run import make_run

# What a stranger writes, in a file of their own.
MINE = """\
from pathlib import Path

import pandas as pd

import vsa

ROOT = Path({root!r})


@vsa.datasets.register("mine")
def mine(settings, seed):
    items = pd.read_csv(ROOT / "items.tsv", sep="\\t", dtype=str)
    photos = pd.read_csv(ROOT / "photos.tsv", sep="\\t", dtype=str)
    return vsa.Dataset(
        name="mine",
        root=ROOT,
        catalogue=items.assign(image_id=items.path),
        queries=photos.assign(query_id=photos.path),
    )
"""


@dataclass(frozen=True)
class Size:
    n: int = 3


@pytest.fixture(autouse=True)
def _restored(monkeypatch):
    """Nothing that a test registers stays."""
    monkeypatch.setattr(registry, "_LOADED", set())
    list(DATASETS)  # it has looked around for what is announced
    for part in ("_entries", "_versions", "_distant"):
        monkeypatch.setattr(DATASETS, part, dict(getattr(DATASETS, part)))


@pytest.fixture
def mine(tmp_path, monkeypatch):
    root = tmp_path / "shop"
    root.mkdir()
    for number, name in enumerate("abcxyz"):
        photo(24, 16, seed=number).save(root / f"{name}.png")
    (root / "items.tsv").write_text("path\tproduct_id\tcategory\na.png\tA\tp\nb.png\tB\tp\n")
    (root / "photos.tsv").write_text(
        "path\tproduct_id\tsplit\nx.png\tA\ttrain\ny.png\tB\tval\nz.png\t\ttest\n"
    )
    plugin = tmp_path / "mine.py"
    plugin.write_text(MINE.format(root=str(root)))
    monkeypatch.setenv("VSA_PLUGINS", str(plugin))
    return root


def test_there_are_those_of_the_system_and_the_study():
    assert set(vsa.datasets) == {"grocery", "clothing", "vpr2023", "synthetic"}
    assert [name for name in vsa.datasets if find_source(name).is_rendered] == ["synthetic"]
    hidden = [name for name in vsa.datasets if not find_source(name).may_show_pictures]
    assert hidden == ["vpr2023"]
    assert not find_source("folder:.").is_rendered
    assert find_source("folder:.").may_show_pictures
    assert all(map(DATASETS.is_own, DATASETS))


def test_a_stranger_needs_one_short_file(mine):
    assert len(MINE.splitlines()) <= 25
    dataset = vsa.load_dataset("mine")
    assert "mine" in list(vsa.datasets)
    assert dataset.catalogue.leaf.tolist() == ["p", "p"]
    assert set(dataset.catalogue.source) == {"main"}
    assert dataset.catalogue.price.isna().all()
    assert dataset.queries.category.isna().all()
    assert dataset.queries.product_id.isna().tolist() == [False, False, True]
    assert dataset.has_identities
    assert not find_source("mine").is_rendered


def test_a_stranger_is_told_of_mistakes_and_of_unreadable_pictures(mine):
    (mine / "a.png").write_text("broken")
    assert vsa.load_dataset("mine").rejected["id"].tolist() == ["a.png"]
    text = (mine / "items.tsv").read_text()
    (mine / "items.tsv").write_text(text.replace("b.png\tB\tp", "b.png\tB\t"))
    with pytest.raises(InputError, match=r"mine catalogue, row 3: category is empty"):
        vsa.load_dataset("mine")


def test_products_that_nobody_names_are_no_identities(mine):
    (mine / "photos.tsv").write_text("path\tsplit\nx.png\ttrain\ny.png\tval\nz.png\ttest\n")
    assert not vsa.load_dataset("mine").has_identities


def test_a_run_rests_on_what_a_stranger_gives(mine, tmp_path, monkeypatch):
    run = replace(make_run("synthetic", "smoke", 0), dataset="mine")
    run = replace(run, settings=replace(run.settings, data={}))
    marks = [pipeline._check_data(run)]
    assert marks[0] == pipeline._check_data(run)
    photo(24, 16, seed=9).save(mine / "a.png")
    marks.append(pipeline._check_data(run))
    text = (mine / "photos.tsv").read_text()
    (mine / "photos.tsv").write_text(text.replace("y.png\tB", "y.png\tA"))
    marks.append(pipeline._check_data(run))
    again = tmp_path / "again.py"
    again.write_text(MINE.format(root=str(mine)).replace("items.assign", "items[:9].assign"))
    monkeypatch.setenv("VSA_PLUGINS", str(again))
    del DATASETS._entries["mine"]
    marks.append(pipeline._check_data(run))
    assert len({*marks, ""}) == 5
    assert pipeline._check_data(replace(run, dataset="synthetic")) == ""


def test_settings_are_of_the_kind_that_a_data_set_declares():
    def make(settings, seed):
        raise InputError(f"{settings.n} {seed}", cure="-")

    DATASETS.register("sized", DataSource(make, settings=Size, is_rendered=True))
    assert find_source("sized").is_rendered
    for given, n in ((None, 3), ({"n": 5}, 5), (Size(7), 7)):
        with pytest.raises(InputError, match=f"{n} 2"):
            vsa.load_dataset("sized", seed=2, settings=given)
    assert not DATASETS.is_own("sized")


def test_pictures_that_may_not_be_shown_are_declared_before_they_are_loaded(mine):
    make = find_source("mine").make
    DATASETS.register("mine-hidden", DataSource(make, may_show_pictures=False))
    assert vsa.load_dataset("mine").may_show_pictures
    assert not vsa.load_dataset("mine-hidden").may_show_pictures
    assert not make_run("mine-hidden", "smoke", 0).may_show_pictures
    DATASETS.register(
        "mine-undeclared", lambda *given: replace(make(*given), may_show_pictures=False)
    )
    with pytest.raises(InputError, match=r"Register it as vsa\.DataSource"):
        vsa.load_dataset("mine-undeclared")


@pytest.mark.parametrize("name", ["a/b", "folder", "folder-mine", "my shop", "folder:mine", "-x"])
def test_names_that_folders_cannot_have_are_refused(name):
    with pytest.raises(InputError, match="no name for a data set"):
        DATASETS.register(name, print)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (3, "cannot be called"),
        (pd.DataFrame(), "cannot be called"),
        (DataSource(print, settings=dict), "no data class with defaults"),
        (DataSource(print, settings=DataSource), "no data class with defaults"),
    ],
)
def test_what_makes_no_data_set_is_refused(entry, told):
    with pytest.raises(InputError, match=told):
        DATASETS.register("odd", entry)


def test_what_makes_something_else_is_refused():
    DATASETS.register("odd", lambda settings, seed: pd.DataFrame())
    with pytest.raises(InputError, match=r"makes 'DataFrame'.*Return a vsa\.Dataset"):
        vsa.load_dataset("odd")


def test_names_of_the_study_are_taken_too(tmp_path, monkeypatch):
    monkeypatch.setattr(DATASETS, "_distant", {})
    DATASETS._entries.pop("synthetic", None)
    monkeypatch.setattr(DATASETS, "_has_looked_around", False)
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        textwrap.dedent("""
        import vsa
        vsa.datasets.register("synthetic", print)
        """)
    )
    monkeypatch.setenv("VSA_PLUGINS", str(plugin))
    with pytest.raises(InputError, match="there is a data set 'synthetic' already"):
        list(vsa.datasets)
