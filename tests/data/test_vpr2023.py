"""The challenge's archive: a made one, and the real one where it is at hand."""

import subprocess

import numpy as np
import pandas as pd
import pytest
from made_challenge import BOX_PX, make_archive, product_ids
from PIL import Image

import vsa
from vsa.data import vpr2023
from vsa.data.public import download_dataset
from vsa.data.schema import BOX, QUALITY, SPLITS
from vsa.data.stable import stable_share
from vsa.data.vpr2023 import PART, WHOLE, Edition, category_of, checksum, load_vpr2023, split_of
from vsa.runtime.errors import InputError
from vsa.runtime.paths import data_dir
from vsa.study import pipeline
from vsa.study.run import make_run

N_EACH = 8  # products of each of three categories, two pictures and two photos each
COUNTS = (6 * N_EACH, 6 * N_EACH, 3 * N_EACH)


@pytest.fixture
def archive(tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_DATA_DIR", str(tmp_path / "data"))
    return make_archive(tmp_path / "data", N_EACH)


def known_as(monkeypatch, **facts):
    """Let the made archive be one whose counts are known."""
    edition = Edition("a made set", COUNTS, **facts)
    monkeypatch.setattr(vpr2023, "EDITIONS", (edition,))


# ---------------------------------------------------------------- tables


def test_tables_are_those_of_the_archive(archive):
    shop = vsa.load_dataset("vpr2023")
    catalogue, queries = shop.catalogue, shop.queries
    assert (len(catalogue), len(queries), catalogue.product_id.nunique()) == COUNTS
    assert catalogue.image_id.tolist()[:2] == ["seller-0", "seller-1"]
    assert queries.query_id.tolist()[:2] == ["user-0", "user-1"]
    assert not set(catalogue.image_id) & set(queries.query_id)
    assert set(catalogue.product_id) == {str(product) for product in product_ids(N_EACH)}
    assert set(queries.product_id) == set(catalogue.product_id)
    assert (catalogue.leaf == catalogue.category).all()
    assert set(catalogue.source) == {"main"}
    assert catalogue[[*QUALITY, *BOX]].isna().all(axis=None)
    assert shop.rejected.empty
    assert shop.has_identities
    assert not shop.may_show_pictures


def test_boxes_become_shares_of_the_photo(archive):
    x, y, width, height = BOX_PX
    shares = [x / 80, y / 64, (x + width) / 80, (y + height) / 64]
    np.testing.assert_allclose(load_vpr2023().queries[BOX], [shares] * COUNTS[1])


@pytest.mark.parametrize(
    ("product", "category"),
    [
        ("999", "balls and pumps"),
        ("1000", "sunglasses"),
        ("4499", "sunglasses"),
        ("4500", "women's shoes"),
    ],
)
def test_categories_are_guessed_from_numbers(product, category):
    assert category_of(product) == category


def test_splits_are_of_products_and_depend_on_nothing_else(archive):
    queries = load_vpr2023().queries
    assert set(queries.split) == set(SPLITS)
    assert queries.split.tolist() == [split_of(product) for product in queries.product_id]
    shares = pd.Series([split_of(str(product)) for product in range(4000)]).value_counts(True)
    np.testing.assert_allclose(shares[["train", "val", "test"]], [0.6, 0.15, 0.25], atol=0.03)
    assert (stable_share("split", "71") < 0.25) == (split_of("71") == "test")


def test_order_of_rows_does_not_matter(archive):
    before = load_vpr2023().queries
    file = archive / "queries.csv"
    head, *rows = file.read_text().splitlines()
    file.write_text("\n".join([head, *reversed(rows)]))
    after = load_vpr2023().queries
    assert after.iloc[::-1].reset_index(drop=True).equals(before)


# ---------------------------------------------------------------- which one it is


def test_an_unknown_copy_is_used_and_told(archive):
    shop = load_vpr2023()
    counts = "(48 pictures, 48 photos, 24 products)"
    (note,) = shop.notes
    assert note.startswith("warning: ")
    assert "not verified" in note
    assert shop.title.endswith(f"an unknown copy of the development set {counts}")
    assert "compare\n  with no others" in shop.datasheet


def test_the_whole_is_told_and_not_verified(archive, monkeypatch):
    known_as(monkeypatch)
    shop = load_vpr2023()
    counts = "a made set (48 pictures, 48 photos, 24 products)"
    why = "not verified, for no checksum of it is known"
    assert shop.notes == [f"vpr2023 is here {counts}; {why}"]
    assert shop.title.endswith(counts)
    assert why in shop.datasheet


def test_a_known_part_is_verified_once(archive, monkeypatch):
    known_as(monkeypatch, sha256=checksum(archive), caveat="- It is small.\n")
    shop = load_vpr2023()
    assert shop.notes[0].endswith("its checksum was verified")
    assert shop.datasheet.endswith("- It is small.\n")
    monkeypatch.setattr(vpr2023, "checksum", lambda _: pytest.fail("read again"))
    load_vpr2023()


def test_an_altered_part_is_refused(archive, monkeypatch):
    known_as(monkeypatch, sha256=checksum(archive))
    photo = next((archive / "queries").iterdir())
    Image.new("RGB", (80, 64)).save(photo)
    with pytest.raises(InputError, match=r"was altered: its checksum is") as caught:
        load_vpr2023()
    assert caught.value.file == archive


def test_the_checksum_is_that_of_the_shell(archive):
    command = (
        f"LC_ALL=C; export LC_ALL; find {archive.name} -type f | sort | xargs sha256sum | sha256sum"
    )
    shell = ["bash", "-c", command]
    said = subprocess.run(shell, cwd=archive.parent, capture_output=True, text=True, check=True)
    assert said.stdout.split()[0] == checksum(archive)
    (archive / ".DS_Store").touch()
    assert said.stdout.split()[0] == checksum(archive)


def test_the_datasheet_says_what_to_distrust(archive):
    datasheet = load_vpr2023().datasheet
    words = " ".join(datasheet.split())
    for told in (
        "No licence was found",
        "48 sellers' pictures and 48 photos; 24 of 24 products for sale are in photos",
        "a box covers 25% of its photo on average",
        "guessed from product ids",
        "the same measure, not the same test",
    ):
        assert told in words


# ---------------------------------------------------------------- an archive that is not as it was


def replace_in(name, old, new):
    def spoil(root):
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new, 1))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "file", "row", "told"),
    [
        (lambda root: (root / "gallery.csv").unlink(), "gallery.csv", None, "lacks this table"),
        (lambda root: (root / "queries.csv").unlink(), "queries.csv", None, "lacks this table"),
        (replace_in("queries.csv", "bbox_w", "width"), "queries.csv", 1, "column 'width'"),
        (replace_in("gallery.csv", ",product_id", ""), "gallery.csv", 1, "'product_id' is missing"),
        (
            lambda root: (root / "gallery" / "3-1.jpg").unlink(),
            "gallery.csv",
            3,
            "gallery/3-1.jpg is not there; of 48 pictures listed, 1 are missing",
        ),
        (
            replace_in("queries.csv", "2,queries/10-0.jpeg,20,", "2,queries/10-0.jpeg,41,"),
            "queries.csv",
            4,
            "the box 41, 24, 81, 56 leaves the image of 80 × 64 pixels",
        ),
        (replace_in("queries.csv", ",20,24,40", ",20,24,0"), "queries.csv", 2, "has no area"),
        (replace_in("queries.csv", ",20,24,40", ",20,,40"), "queries.csv", 2, "'bbox_y' is empty"),
        (replace_in("queries.csv", ",20,24,40", ",20,x,40"), "queries.csv", 2, "bbox_y is 'x'"),
        (
            replace_in("queries.csv", "40,32,3\n", "40,32,4\n"),
            "queries.csv",
            2,
            "product_id 4 is not in gallery.csv",
        ),
        (replace_in("gallery.csv", "0.jpg,3\n", "0.jpg,A3\n"), "gallery.csv", 2, "is 'A3'"),
        (
            replace_in("gallery.csv", "\n1,", "\n0,"),
            "gallery.csv",
            3,
            "image_id seller-0 occurs in an earlier row too",
        ),
    ],
)
def test_what_is_incomplete_or_altered_is_named(archive, spoil, file, row, told):
    spoil(archive)
    with pytest.raises(InputError) as caught:
        load_vpr2023()
    assert (caught.value.file, caught.value.row) == (archive / file, row)
    assert told in str(caught.value)


def test_a_picture_that_cannot_be_read_is_rejected_not_the_archive(archive):
    (archive / "queries" / "3-0.jpeg").write_text("no picture")
    shop = vsa.load_dataset("vpr2023")
    assert shop.rejected["id"].tolist() == ["user-0"]
    assert len(shop.queries) == COUNTS[1] - 1


@pytest.mark.parametrize("ask", [lambda: vsa.load_dataset("vpr2023"), download_dataset])
def test_an_absent_archive_says_where_it_is_from_and_where_to_put_it(tmp_path, monkeypatch, ask):
    monkeypatch.setenv("VSA_DATA_DIR", str(tmp_path))
    with pytest.raises(InputError, match="cannot be downloaded from here") as caught:
        ask("vpr2023") if ask is download_dataset else ask()
    assert caught.value.file == tmp_path / "vpr2023" / "development_test_data"
    for told in (vpr2023.SOURCE, "gallery.csv and queries.csv", "VSA_DATA_DIR"):
        assert told in caught.value.cure


def test_an_archive_that_is_there_is_checked_not_downloaded(archive, capsys):
    assert download_dataset("vpr2023") == archive
    complete, which = capsys.readouterr().err.splitlines()
    assert complete == f"vpr2023: already complete in {archive}"
    assert "an unknown copy" in which


def test_a_run_rests_on_the_copy_that_is_there(archive):
    run = make_run("vpr2023", "smoke", 0)
    marks = [pipeline._check_data(run)]
    assert marks[0] == pipeline._check_data(run)
    file = archive / "queries.csv"
    file.write_text("\n".join(file.read_text().splitlines()[:-1]))
    marks.append(pipeline._check_data(run))
    assert len({*marks, ""}) == 3


# ---------------------------------------------------------------- a sample


def test_a_sample_is_of_whole_products(archive):
    whole = load_vpr2023()
    for n_max in (20, 30, 48):
        small = load_vpr2023(n_max)
        strata = set(whole.queries.groupby(["split", "category"]).groups)
        assert set(small.queries.groupby(["split", "category"]).groups) == strata
        assert len(small.catalogue) == len(small.queries)
        assert n_max - 2 < len(small.queries) <= max(n_max, 2 * len(strata))
        for table, before in ((small.catalogue, whole.catalogue), (small.queries, whole.queries)):
            kept = before[before.product_id.isin(small.catalogue.product_id)]
            assert table.equals(kept.reset_index(drop=True))
        assert small.title == whole.title
    assert load_vpr2023(48).queries.equals(whole.queries)


def test_a_product_that_nobody_asks_for_may_be_in_a_sample(archive):
    with open(archive / "gallery.csv", "a") as stream:
        stream.write("500,gallery/3-0.jpg,501\n")
    small = load_vpr2023(20)
    assert "501" in set(small.catalogue.product_id)
    assert set(small.queries.product_id) <= set(small.catalogue.product_id)


# ---------------------------------------------------------------- the real one


@pytest.fixture
def real():
    if not (data_dir() / "vpr2023").is_dir():
        pytest.skip("vpr2023 is not in VSA_DATA_DIR")
    return vsa.load_dataset("vpr2023")


def test_the_real_archive_is_a_known_one_and_whole(real):
    catalogue, queries = real.catalogue, real.queries
    counts = len(catalogue), len(queries), catalogue.product_id.nunique()
    assert counts in (WHOLE.counts, PART.counts)
    assert "warning" not in real.notes[0]
    assert real.rejected.empty
    assert queries[BOX].notna().all(axis=None)
    assert set(queries.product_id) <= set(catalogue.product_id)
    assert real.products_disjoint
    assert len(real.categories) == 3
    small = vsa.load_dataset("vpr2023", settings={"max_images_per_table": 400})
    assert max(len(small.catalogue), len(small.queries)) <= 400
    assert set(small.queries.product_id) <= set(small.catalogue.product_id)
    assert set(small.queries.split) == set(SPLITS)
