import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vsa.data.load import load
from vsa.data.public import PUBLIC, load_public
from vsa.data.stable import stable_hash, stable_position, stable_sample
from vsa.runtime.errors import InputError

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
    dataset = load(f"folder:{shop}", {}, 0)
    assert dataset.catalogue.image_id.tolist() == ["a.png", "c.png"]
    assert dataset.rejected["id"].tolist() == ["b.png"]
    assert len(dataset.queries) == 3


def test_images_that_cannot_be_used_are_told(shop):
    (shop / "b.png").write_text("broken")
    assert load(f"folder:{shop}", {}, 0).notes == [
        "3 of 3 queries show a product of the catalogue",
        "warning: listed images that cannot be used: 1 not an image, such as 'b.png'",
    ]


def test_identities_are_known_only_if_an_image_shows_them(shop):
    (shop / "queries.csv").write_text("image_path,product_id\nx.png,A\ny.png,Y\nz.png,Z\n")
    assert load(f"folder:{shop}", {}, 0).has_identities
    (shop / "a.png").write_text("broken")
    dataset = load(f"folder:{shop}", {}, 0)
    assert not dataset.has_identities
    assert dataset.notes[-1].startswith("warning: NO query shows a product of a catalogue image")


def test_a_split_without_a_readable_image_is_refused(shop):
    (shop / "x.png").write_text("broken")
    with pytest.raises(InputError, match=r"queries, 1 could not be read") as caught:
        load(f"folder:{shop}", {}, 0)
    assert caught.value.file == shop


def test_a_catalogue_without_a_readable_image_is_refused(shop):
    for name in "abc":
        (shop / f"{name}.png").unlink()
    with pytest.raises(InputError):
        load(f"folder:{shop}", {}, 0)


@pytest.mark.parametrize("name", ["", "imagenet", "Grocery", "folder"])
def test_unknown_names_are_refused(name):
    with pytest.raises(InputError, match="synthetic, grocery, clothing, or folder:PATH"):
        load(name, SMOKE, 0)


def test_an_absent_public_data_set_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_DATA_DIR", str(tmp_path))
    with pytest.raises(InputError, match="make data DATASET=clothing"):
        load("clothing", SMOKE, 0)


@pytest.mark.parametrize("name", PUBLIC)
def test_smoke_keeps_some_of_every_category(name):
    if not PUBLIC[name].folder.is_dir():
        pytest.skip(f"{name} is not in VSA_DATA_DIR")
    small = load(name, SMOKE, 0)
    whole = load_public(name)
    assert len(small.catalogue) == len(small.queries) == SMOKE["max_images_per_table"]
    assert small.rejected.empty
    assert set(small.catalogue.leaf) == set(whole.catalogue.leaf)
    assert (small.catalogue.source == "main").sum() == (whole.catalogue.source == "main").sum()
    strata = ["split", "category"]
    assert set(small.queries.groupby(strata).groups) == set(whole.queries.groupby(strata).groups)
    assert load(name, SMOKE, 1).queries.equals(small.queries)


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
