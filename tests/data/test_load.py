import doctest

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import vsa
from vsa.data import load as load_module
from vsa.data.load import fingerprint_dataset, load_dataset
from vsa.data.public import PUBLIC, load_public
from vsa.data.stable import stable_hash, stable_position, stable_sample
from vsa.runtime.errors import InputError
from vsa.study.simulate.settings import SyntheticSize

SMOKE = {"max_images_per_table": 400}


@pytest.fixture
def shop(tmp_path):
    root = tmp_path / "shop"
    root.mkdir()
    for name in "abcxyz":
        Image.new("RGB", (8, 8)).save(root / f"{name}.png")
    (root / "catalogue.csv").write_text(
        "image_path,product_id,category\na.png,A,p\nb.png,B,p\nc.png,C,q\n"
    )
    (root / "queries.csv").write_text("image_path,product_id\nx.png,A\ny.png,B\nz.png,C\n")
    return root


# ---------------------------------------------------------------- load


def test_a_folder_is_loaded_and_checked_and_decoded(shop):
    (shop / "b.png").write_text("broken")
    dataset = load_dataset(f"folder:{shop}")
    assert dataset.catalogue.image_id.tolist() == ["a.png", "c.png"]
    assert dataset.rejected["id"].tolist() == ["b.png"]
    assert len(dataset.queries) == 3


def test_images_that_cannot_be_used_are_told(shop):
    (shop / "b.png").write_text("broken")
    assert load_dataset(f"folder:{shop}").notes == [
        "3 of 3 queries show a product of the catalogue",
        "warning: listed images that cannot be used: 1 not an image, such as 'b.png'",
    ]


def test_identities_are_known_only_if_an_image_shows_them(shop):
    (shop / "queries.csv").write_text("image_path,product_id\nx.png,A\ny.png,Y\nz.png,Z\n")
    assert load_dataset(f"folder:{shop}").has_identities
    (shop / "a.png").write_text("broken")
    dataset = load_dataset(f"folder:{shop}")
    assert not dataset.has_identities
    assert dataset.notes[-1].startswith("warning: NO query shows a product of a catalogue image")


def test_a_split_without_a_readable_image_is_refused(shop):
    (shop / "x.png").write_text("broken")
    with pytest.raises(InputError, match=r"queries, 1 could not be read") as caught:
        load_dataset(f"folder:{shop}")
    assert caught.value.file == shop


def test_a_catalogue_without_a_readable_image_is_refused(shop):
    for name in "abc":
        (shop / f"{name}.png").unlink()
    with pytest.raises(InputError):
        load_dataset(f"folder:{shop}")


def test_a_folder_is_named_from_where_one_stands(shop, monkeypatch):
    monkeypatch.chdir(shop.parent)
    assert vsa.load_dataset("folder:shop").root == shop


@pytest.mark.parametrize("seed", [-1, 0.5, "0", True, None])
def test_a_seed_is_a_whole_number(shop, seed):
    with pytest.raises(InputError, match="whole number ≥ 0"):
        load_dataset(f"folder:{shop}", seed=seed)


@pytest.mark.parametrize("name", ["", "imagenet"])
def test_an_unknown_name_is_answered_with_all(name):
    with pytest.raises(InputError, match="unknown data set") as caught:
        load_dataset(name)
    for known in ("synthetic", "grocery", "clothing", "vpr2023", "folder:PATH"):
        assert known in caught.value.cure


def test_a_misspelt_name_is_answered_with_the_nearest():
    with pytest.raises(InputError, match=r"Did you mean grocery\?$"):
        load_dataset("Grocery")


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("synthetic", {"image_pix": 64}, "unknown setting 'image_pix'. Did you mean image_px?"),
        ("synthetic", {"image_px": 0}, "image_px is 0"),
        ("synthetic", SyntheticSize(n_products_per_category=0), "n_products_per_category is 0"),
        ("grocery", {"max_images_per_table": "all"}, "max_images_per_table is 'all'"),
        ("grocery", {"image_px": 64}, "unknown setting 'image_px'"),
        ("grocery", 400, "not settings"),
        ("folder:.", {"image_px": 64}, "There is none to choose from"),
    ],
)
def test_settings_that_do_not_fit_are_refused(name, settings, told):
    with pytest.raises(InputError) as caught:
        load_dataset(name, settings=settings)
    assert told in str(caught.value)


def test_the_example_in_the_docstring(tmp_path):
    assert doctest.testmod(load_module).failed == 0


def test_a_fingerprint_changes_with_all_that_a_run_rests_on(shop):
    def mark():
        return fingerprint_dataset(load_dataset(f"folder:{shop}"), "mine v1")

    marks = [mark()]
    assert mark() == marks[0]
    assert fingerprint_dataset(load_dataset(f"folder:{shop}"), "mine v2") != marks[0]
    Image.new("RGB", (9, 9)).save(shop / "a.png")
    marks.append(mark())
    (shop / "b.png").unlink()
    marks.append(mark())
    Image.new("RGB", (8, 8)).save(shop / "b.png")
    marks.append(mark())
    text = (shop / "catalogue.csv").read_text()
    (shop / "catalogue.csv").write_text(text.replace("c.png,C", "c.png,B"))
    marks.append(mark())
    (shop / "pvlog.csv").write_text(
        "session_id,query_id,rank,image_id,clicked\ns,x.png,1,a.png,1\n"
    )
    marks.append(mark())
    assert len(set(marks)) == len(marks)


def test_an_absent_public_data_set_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_DATA_DIR", str(tmp_path))
    with pytest.raises(InputError, match="make data DATASET=clothing"):
        load_dataset("clothing")


@pytest.mark.parametrize("name", PUBLIC)
def test_smoke_keeps_some_of_every_category(name):
    if not PUBLIC[name].folder.is_dir():
        pytest.skip(f"{name} is not in VSA_DATA_DIR")
    small = load_dataset(name, settings=SMOKE)
    whole = load_public(name)
    assert len(small.catalogue) == len(small.queries) == SMOKE["max_images_per_table"]
    assert small.rejected.empty
    assert set(small.catalogue.leaf) == set(whole.catalogue.leaf)
    assert (small.catalogue.source == "main").sum() == (whole.catalogue.source == "main").sum()
    strata = ["split", "category"]
    assert set(small.queries.groupby(strata).groups) == set(whole.queries.groupby(strata).groups)
    assert load_dataset(name, seed=1, settings=SMOKE).queries.equals(small.queries)


# ---------------------------------------------------------------- stable choices

tables = st.lists(st.sampled_from(["p", "q", "r", None]), min_size=1, max_size=60).map(
    lambda groups: pd.DataFrame(
        {"name": [f"n{i}" for i in range(len(groups))], "group": pd.Series(groups, dtype="str")}
    )
)


@settings(max_examples=30, deadline=None)
@given(tables, st.integers(1, 70))
def test_a_sample_is_bounded_proportional_and_has_every_stratum(table, n_max):
    sample = stable_sample(table, n_max, ["group"], "name")
    before = table.groupby("group", dropna=False).size()
    after = sample.groupby("group", dropna=False).size()
    assert len(sample) == min(len(table), max(n_max, len(before)))
    assert set(sample.group.fillna("-")) == set(table.group.fillna("-"))
    assert sample.name.tolist() == [name for name in table.name if name in set(sample.name)]
    # Exact shares, but for rounding and the one row each stratum is sure of
    assert ((after - before * len(sample) / len(table)).abs() <= len(before)).all()


@settings(max_examples=30, deadline=None)
@given(tables, st.integers(1, 70), st.randoms())
def test_a_sample_does_not_depend_on_the_order_of_rows(table, n_max, rnd):
    order = list(table.index)
    rnd.shuffle(order)
    shuffled = table.loc[order].reset_index(drop=True)
    sample = stable_sample(shuffled, n_max, ["group"], "name")
    assert set(sample.name) == set(stable_sample(table, n_max, ["group"], "name").name)


@settings(max_examples=30, deadline=None)
@given(tables)
def test_positions_count_each_stratum(table):
    position = stable_position(table, ["group"], "name")
    assert position.index.equals(table.index)
    for _, part in position.groupby(table.group, dropna=False):
        assert sorted(part) == list(range(len(part)))


def test_hashes_are_the_same_for_ever():
    # SHA-256 of b"split\0product A", as `printf 'split\0product A' | sha256sum` prints it
    assert stable_hash("split", "product A") == "d99c5527b6d4ea9a9662b9ced3771fa9"
    assert stable_hash("split", "a") != stable_hash("half", "a")
