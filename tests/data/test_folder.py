import csv
import math
import os
import unicodedata
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vsa.data.folder import load_folder
from vsa.data.schema import BOX
from vsa.runtime.errors import InputError

CATALOGUE = [
    ["image_path", "product_id", "category"],
    ["shop/a.jpg", "A", "shoes"],
    ["shop/b.jpg", "B", "bags"],
    ["shop/c.jpg", "C", "bags"],
]
QUERIES = [
    ["image_path", "product_id", "category"],
    ["mine/a.jpg", "A", "shoes"],
    ["mine/b.jpg", "B", "bags"],
    ["mine/c.jpg", "C", ""],
]
PVLOG = [
    ["session_id", "query_id", "rank", "image_id", "clicked"],
    ["s1", "mine/a.jpg", "1", "shop/b.jpg", "0"],
    ["s1", "mine/a.jpg", "2", "shop/a.jpg", "1"],
    ["s2", "mine/b.jpg", "1", "shop/b.jpg", "TRUE"],
]


def write(path: Path, rows: list[list[str]]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)


@pytest.fixture
def shop(tmp_path) -> Path:
    """Three products, 40 × 20 pixels each, and a photo of each."""
    root = tmp_path / "my shop"
    for rows in (CATALOGUE, QUERIES):
        for name, *_ in rows[1:]:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 20)).save(root / name)
    write(root / "catalogue.csv", CATALOGUE)
    write(root / "queries.csv", QUERIES)
    return root


def with_column(rows: list[list[str]], name: str, cells: list[str]) -> list[list[str]]:
    return [[*row, cell] for row, cell in zip(rows, [name, *cells], strict=True)]


def with_cell(rows: list[list[str]], row: int, column: str, cell: str) -> list[list[str]]:
    """`row` as in the file, the header being row 1."""
    changed = [list(cells) for cells in rows]
    changed[row - 1][rows[0].index(column)] = cell
    return changed


def refused(shop: Path, file: str, row: int | None) -> InputError:
    with pytest.raises(InputError) as caught:
        load_folder(shop)
    error = caught.value
    assert error.file is not None
    assert (Path(error.file), error.row) == (shop / file, row), str(error)
    assert error.cure
    return error


# ---------------------------------------------------------------- what is understood


def test_the_least_one_can_write(shop):
    dataset = load_folder(shop)
    catalogue, queries = dataset.catalogue, dataset.queries
    assert catalogue.image_id.tolist() == ["shop/a.jpg", "shop/b.jpg", "shop/c.jpg"]
    assert catalogue.path.tolist() == catalogue.image_id.tolist()
    assert catalogue.leaf.tolist() == catalogue.category.tolist()
    assert set(catalogue.source) == {"main"}
    assert catalogue[["sales", "price", *BOX]].isna().all(axis=None)
    assert queries.query_id.tolist() == ["mine/a.jpg", "mine/b.jpg", "mine/c.jpg"]
    assert queries.category.isna().tolist() == [False, False, True]
    assert sorted(queries.split) == ["test", "train", "val"]
    assert dataset.root == shop
    assert dataset.has_identities
    assert dataset.pvlog is None
    assert dataset.rejected.empty


def test_everything_one_can_write(shop):
    rows = with_column(CATALOGUE, "leaf", ["boots", "", "totes"])
    rows = with_column(rows, "source", ["review", "", "sku"])
    rows = with_column(rows, "sales", ["12", "", "0"])
    rows = with_column(rows, "conversion_rate", ["0.5", "", "1"])
    rows = with_column(rows, "applause_rate", ["0", "1e-1", ""])
    write(shop / "catalogue.csv", with_column(rows, "price", ["9.99", "10", ""]))
    write(shop / "queries.csv", with_column(QUERIES, "split", ["train", "val", "test"]))
    write(shop / "pvlog.csv", PVLOG)
    dataset = load_folder(shop)
    assert dataset.catalogue.leaf.tolist() == ["boots", "bags", "totes"]
    assert dataset.catalogue.source.tolist() == ["review", "main", "sku"]
    assert dataset.catalogue.sales.fillna(-1).tolist() == [12, -1, 0]
    assert dataset.catalogue.applause_rate.fillna(-1).tolist() == [0, 0.1, -1]
    assert dataset.queries.split.tolist() == ["train", "val", "test"]
    assert dataset.pvlog is not None
    assert dataset.pvlog.clicked.tolist() == [False, True, True]
    assert dataset.pvlog["rank"].tolist() == [1, 2, 1]
    assert dataset.pvlog.timestamp.is_monotonic_increasing
    assert dataset.pvlog.timestamp.iloc[0] == pd.Timestamp("1970-01-01")


def test_a_home_folder_and_strings_are_paths_too(shop, monkeypatch):
    monkeypatch.setenv("HOME", str(shop.parent))
    assert load_folder(f"~/{shop.name}").root == shop


def test_spreadsheets_add_marks_and_blank_rows(shop):
    text = (shop / "catalogue.csv").read_bytes()
    (shop / "catalogue.csv").write_bytes(b"\xef\xbb\xbf" + text + b",,\r\n\r\n")
    assert len(load_folder(shop).catalogue) == 3


def test_words_that_pandas_takes_for_missing_are_words(shop):
    write(shop / "catalogue.csv", with_cell(CATALOGUE, 2, "product_id", "NA"))
    write(shop / "queries.csv", with_cell(QUERIES, 2, "product_id", "NA"))
    assert load_folder(shop).queries.product_id.iloc[0] == "NA"


def test_numbers_with_leading_zeros_are_names(shop):
    write(shop / "catalogue.csv", with_cell(CATALOGUE, 2, "product_id", "007"))
    assert load_folder(shop).catalogue.product_id.iloc[0] == "007"


def test_paths_are_tidied_alike_everywhere(shop):
    write(shop / "catalogue.csv", with_cell(CATALOGUE, 2, "image_path", "./shop//a.jpg"))
    write(shop / "pvlog.csv", with_cell(PVLOG, 3, "image_id", "shop/./a.jpg"))
    dataset = load_folder(shop)
    assert dataset.catalogue.image_id.iloc[0] == "shop/a.jpg"
    assert dataset.pvlog is not None
    assert dataset.pvlog.image_id.iloc[1] == "shop/a.jpg"


BLANKS = ["\u00a0", "\u202f", "\u3000", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff"]


@pytest.mark.parametrize("blank", BLANKS)
def test_what_nobody_sees_around_a_name_is_no_part_of_it(shop, blank):
    for file, rows in (("catalogue", CATALOGUE), ("queries", QUERIES), ("pvlog", PVLOG)):
        write(shop / f"{file}.csv", [[f" {blank} {cell}{blank} " for cell in row] for row in rows])
    padded = load_folder(shop)
    for file, rows in (("catalogue", CATALOGUE), ("queries", QUERIES), ("pvlog", PVLOG)):
        write(shop / f"{file}.csv", rows)
    plain = load_folder(shop)
    for table in ("catalogue", "queries", "pvlog"):
        pd.testing.assert_frame_equal(getattr(padded, table), getattr(plain, table))


FORMS = ["NFC", "NFD"]


@pytest.mark.parametrize("on_disk", FORMS)
@pytest.mark.parametrize("in_queries", FORMS)
@pytest.mark.parametrize("in_catalogue", FORMS)
def test_names_that_look_alike_are_alike(tmp_path, in_catalogue, in_queries, on_disk):
    def in_form(form: str, rows: list[list[str]]) -> list[list[str]]:
        return [[unicodedata.normalize(form, cell) for cell in row] for row in rows]

    catalogue = [[*CATALOGUE[0], "leaf"], ["Läden/é.png", "Café", "Hüte", "Filzhüte"]]
    queries = [QUERIES[0], *([f"Straße/ü{i}.png", f"Café{i or ''}", "Hüte"] for i in range(3))]
    log = [PVLOG[0], ["Sitzung ö", "Straße/ü0.png", "1", "Läden/é.png", "1"]]
    for path in in_form(on_disk, [[row[0]] for row in (*catalogue[1:], *queries[1:])]):
        (tmp_path / path[0]).parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 20)).save(tmp_path / path[0])
    boxed = [[*row, *(BOX if i == 0 else ["0", "0", "20", "20"])] for i, row in enumerate(queries)]
    write(tmp_path / "catalogue.csv", in_form(in_catalogue, catalogue))
    write(tmp_path / "queries.csv", in_form(in_queries, boxed))
    write(tmp_path / "pvlog.csv", in_form("NFD", log))
    dataset = load_folder(tmp_path)
    assert dataset.catalogue.iloc[0][["image_id", *catalogue[0][1:]]].tolist() == catalogue[1]
    assert dataset.queries.query_id.tolist() == [row[0] for row in queries[1:]]
    assert dataset.queries.product_id.iloc[0] == "Café"
    assert dataset.queries.x_max.tolist() == [0.5] * 3  # the pictures have been found
    assert all((tmp_path / path).is_file() for path in dataset.catalogue.path)
    assert dataset.pvlog is not None
    assert dataset.pvlog.iloc[0][:4].tolist() == [*log[1][:2], 1, "Läden/é.png"]


def test_the_file_named_as_written_comes_first(shop):
    for form in FORMS:
        (shop / unicodedata.normalize(form, "é.jpg")).touch()
        name = unicodedata.normalize(form, "é.jpg")
        write(shop / "catalogue.csv", with_cell(CATALOGUE, 2, "image_path", name))
        assert load_folder(shop).catalogue.path.iloc[0] == name
        assert load_folder(shop).catalogue.image_id.iloc[0] == "é.jpg"


def test_a_file_found_under_another_form_stays_inside_too(shop):
    (shop.parent / "secret.jpg").touch()
    (shop / unicodedata.normalize("NFD", "é.jpg")).symlink_to("../secret.jpg")
    write(shop / "catalogue.csv", with_cell(CATALOGUE, 3, "image_path", "é.jpg"))
    refused(shop, "catalogue.csv", 3)


def test_names_that_differ_in_case_stay_two_and_are_told(shop):
    write(shop / "queries.csv", with_cell(QUERIES, 2, "product_id", "a"))
    dataset = load_folder(shop)
    assert dataset.queries.product_id.iloc[0] == "a"
    assert dataset.notes[0] == "2 of 3 queries show a product of the catalogue"
    assert "'a' (nearest: 'A')" in dataset.notes[1]
    assert "2 of 3 queries show a product of the catalogue" in dataset.datasheet
    assert "'a' (nearest: 'A')" in " ".join(dataset.datasheet.split())


def test_a_category_in_two_spellings_is_told(shop):
    write(shop / "catalogue.csv", with_cell(CATALOGUE, 3, "category", "BAGS"))
    assert "'BAGS', 'bags'" in load_folder(shop).notes[1]


@pytest.mark.parametrize("train", ["train", "TRAIN", "Training"])
@pytest.mark.parametrize("val", ["val", "Valid", "validation", "dev", "Development"])
@pytest.mark.parametrize("test", ["Test", "testing"])
def test_splits_are_understood_in_other_words(shop, train, val, test):
    write(shop / "queries.csv", with_column(QUERIES, "split", [val, train, test]))
    assert load_folder(shop).queries.split.tolist() == ["val", "train", "test"]


def test_sources_and_clicks_are_understood_in_other_words(shop):
    write(shop / "catalogue.csv", with_column(CATALOGUE, "source", ["Main", "SKU", "review"]))
    rows = with_cell(with_cell(PVLOG, 2, "clicked", "No"), 3, "clicked", "YES")
    write(shop / "pvlog.csv", rows)
    dataset = load_folder(shop)
    assert dataset.catalogue.source.tolist() == ["main", "sku", "review"]
    assert dataset.pvlog is not None
    assert dataset.pvlog.clicked.tolist() == [False, True, True]


def test_photos_of_unknown_products_and_categories(shop):
    write(shop / "queries.csv", [row[:1] for row in QUERIES])
    dataset = load_folder(shop)
    assert not dataset.has_identities
    assert dataset.queries.product_id.isna().all()
    assert dataset.queries.category.isna().all()


def test_products_that_nobody_sells_are_no_identities(shop):
    rows = QUERIES
    for row in (2, 3, 4):
        rows = with_cell(rows, row, "product_id", f"elsewhere {row}")
    write(shop / "queries.csv", rows)
    assert not load_folder(shop).has_identities


def test_one_category_is_enough(shop):
    write(
        shop / "catalogue.csv", [[*row[:2], "x"] if i else row for i, row in enumerate(CATALOGUE)]
    )
    write(shop / "queries.csv", [row[:2] for row in QUERIES])
    assert load_folder(shop).categories == ["x"]


def test_missing_and_broken_images_are_left_to_decoding(shop):
    (shop / "shop/a.jpg").unlink()
    (shop / "mine/b.jpg").write_text("no image")
    write(shop / "queries.csv", boxed({3: ["1", "1", "9", "9"]}))
    dataset = load_folder(shop)
    assert len(dataset.catalogue) == 3
    assert dataset.queries[BOX].isna().all(axis=None)


# ---------------------------------------------------------------- splits


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=3, max_size=80), st.randoms())
def test_assigned_splits_are_disjoint_by_product_and_ignore_order(tmp_path_factory, products, rnd):
    shop = tmp_path_factory.mktemp("shop")
    write(shop / "catalogue.csv", [CATALOGUE[0], ["x.jpg", "1", "x"]])
    rows = [[f"{i}.jpg", str(product or "")] for i, product in enumerate(products)]
    n_groups = len({product or f"photo {i}" for i, product in enumerate(products)})
    header = QUERIES[0][:2]
    write(shop / "queries.csv", [header, *rows])
    if n_groups < 3:
        refused(shop, "queries.csv", None)
        return
    first = load_folder(shop)
    assert first.products_disjoint
    assert set(first.queries.split) == {"train", "val", "test"}
    rnd.shuffle(rows)
    write(shop / "queries.csv", [header, *rows])
    second = load_folder(shop).queries.set_index("query_id").split
    assert second.to_dict() == first.queries.set_index("query_id").split.to_dict()


def test_assigned_splits_have_the_documented_shares(shop):
    write(shop / "queries.csv", [["image_path"], *([f"{i}.jpg"] for i in range(200))])
    counts = load_folder(shop).queries.split.value_counts()
    assert counts.to_dict() == {"train": 120, "val": 30, "test": 50}


# ---------------------------------------------------------------- boxes


def boxed(boxes: dict[int, list[str]]) -> list[list[str]]:
    """Queries with boxes in some rows."""
    empty = [""] * 4
    return [
        [*cells, *(BOX if row == 1 else boxes.get(row, empty))]
        for row, cells in enumerate(QUERIES, start=1)
    ]


def test_boxes_become_fractions_of_the_image(shop):
    write(shop / "queries.csv", boxed({2: ["10", "5", "40", "20"], 4: ["0", "0.5", "1", "1.5"]}))
    queries = load_folder(shop).queries
    assert queries[BOX].iloc[0].tolist() == [0.25, 0.25, 1.0, 1.0]
    assert queries[BOX].iloc[1].isna().all()
    assert queries[BOX].iloc[2].tolist() == pytest.approx([0, 0.025, 0.025, 0.075])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_are_in_pixels_of_the_upright_image(shop, orientation, kind):
    image = Image.new("RGB", (40, 20))
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(shop / "mine/a.jpg", kind, exif=exif)
    width, height = (20, 40) if orientation >= 5 else (40, 20)
    write(shop / "queries.csv", boxed({2: ["0", "10", f"{width}", "20"]}))
    box = load_folder(shop).queries[BOX].iloc[0].tolist()
    assert box == [0, 10 / height, 1, 20 / height]


@pytest.mark.parametrize(
    "box",
    [
        ["9", "1", "1", "9"],
        ["1", "9", "9", "1"],
        ["1", "1", "1", "9"],
        ["-1", "1", "9", "9"],
        ["1", "1", "41", "9"],
        ["1", "1", "1.9", "9"],
        ["0.1", "0.2", "0.6", "0.9"],
        ["1", "1", "9", "21"],
        ["1", "1", "9", ""],
        ["", "", "", "9"],
        ["1", "1", "9", "nine"],
        ["1", "1", "9", "nan"],
        ["1", "1", "9", "inf"],
    ],
)
def test_impossible_boxes_are_refused(shop, box):
    write(shop / "queries.csv", boxed({2: ["1", "1", "9", "9"], 3: box}))
    refused(shop, "queries.csv", 3)


def test_a_pipe_in_place_of_an_image_does_not_block(shop):
    (shop / "mine/a.jpg").unlink()
    os.mkfifo(shop / "mine/a.jpg")
    write(shop / "queries.csv", boxed({2: ["1", "1", "9", "9"]}))
    assert math.isnan(load_folder(shop).queries.x_min.iloc[0])


# ---------------------------------------------------------------- mistakes


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        load_folder(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="no such folder"):
        load_folder(tmp_path / "file")


@pytest.mark.parametrize("file", ["catalogue.csv", "queries.csv"])
def test_absent_and_empty_tables(shop, file):
    rows = {"catalogue.csv": CATALOGUE, "queries.csv": QUERIES}[file]
    write(shop / file, rows[:1])
    assert "no rows" in refused(shop, file, None).problem
    (shop / file).write_text("")
    assert "empty" in refused(shop, file, None).problem
    (shop / file).unlink()
    assert "no such file" in refused(shop, file, None).problem
    (shop / file).mkdir()
    refused(shop, file, None)


@pytest.mark.parametrize(
    ("file", "rows"), [("catalogue.csv", CATALOGUE), ("queries.csv", QUERIES), ("pvlog.csv", PVLOG)]
)
def test_mistakes_in_the_header(shop, file, rows):
    write(shop / file, [row[1:] for row in rows])
    assert f"{rows[0][0]!r} is missing" in refused(shop, file, 1).problem
    write(shop / file, with_column(rows, "colour", ["red"] * 3))
    assert "'colour'" in refused(shop, file, 1).problem
    write(shop / file, with_column(rows, rows[0][0], ["x"] * 3))
    assert "twice" in refused(shop, file, 1).problem
    (shop / file).write_text("\n".join(";".join(row) for row in rows))
    assert "separated by commas" in refused(shop, file, 1).cure


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_other_encodings_are_refused(shop, encoding):
    text = "image_path,product_id,category\nshop/ä.jpg,A,shoes\n"
    (shop / "catalogue.csv").write_bytes(text.encode(encoding))
    assert "UTF-8" in refused(shop, "catalogue.csv", None).problem


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (3, "image_path,product_id,category\na,A,x\nb,B\n"),
        (3, "image_path,product_id,category\na,A,x\nb,B,x,y\n"),
        (3, "image_path,product_id,category\na,A,x\n\nb,B,x\n"),
        (2, 'image_path,product_id,category\na,"A"B,x\n'),
        (3, 'image_path,product_id,category\na,A,x\nb,"B,x\nc,C,x\n'),
        (2, f"image_path,product_id,category\na,{'A' * 200_000},x\n"),
        (3, "image_path,product_id,category\na,A,x\nb,,x\n"),
        (3, "image_path,product_id,category\na,A,x\n ,B,x\n"),
        (4, 'image_path,product_id,category\na,"A\nA",x\nb,B,x\nc,C,\n'),
        (3, 'image_path,product_id,category\na,"A\n\nA",x\n\nc,C,x\n'),
        (3, "image_path,product_id,category\na,A,x\n,,\nc,C,x\n"),
    ],
)
def test_rows_that_cannot_be_read_are_named(shop, row, text):
    (shop / "catalogue.csv").write_text(text)
    refused(shop, "catalogue.csv", row)


@pytest.mark.parametrize("file", ["catalogue.csv", "queries.csv"])
@pytest.mark.parametrize(
    "path",
    [
        "../secret.jpg",
        "shop/../../secret.jpg",
        "shop/../shop/x.jpg",
        "/etc/passwd",
        "C:/a.jpg",
        "a\\b.jpg",
        "a\0b.jpg",
        "link.jpg",
        "linked/a.jpg",
        "loop/a.jpg",
    ],
)
def test_paths_that_leave_the_folder_are_refused(shop, file, path):
    (shop.parent / "secret.jpg").touch()
    (shop / "link.jpg").symlink_to("../secret.jpg")
    (shop / "linked").symlink_to("..")
    (shop / "loop").symlink_to("loop")
    rows = {"catalogue.csv": CATALOGUE, "queries.csv": QUERIES}[file]
    write(shop / file, with_cell(rows, 3, "image_path", path))
    refused(shop, file, 3)


def test_links_that_stay_inside_are_fine(shop):
    (shop / "link.jpg").symlink_to("shop/a.jpg")
    write(shop / "catalogue.csv", with_cell(CATALOGUE, 3, "image_path", "link.jpg"))
    assert load_folder(shop).catalogue.path.iloc[1] == "link.jpg"


@pytest.mark.parametrize("file", ["catalogue.csv", "queries.csv"])
def test_an_image_is_listed_once(shop, file):
    rows = {"catalogue.csv": CATALOGUE, "queries.csv": QUERIES}[file]
    write(shop / file, with_cell(rows, 4, "image_path", f"./{rows[1][0]}"))
    assert rows[1][0] in refused(shop, file, 4).problem
    rows = with_cell(rows, 2, "image_path", unicodedata.normalize("NFC", "é.jpg"))
    rows = with_cell(rows, 3, "image_path", unicodedata.normalize("NFD", "é.jpg"))
    write(shop / file, rows)
    assert "occurs in an earlier row too" in refused(shop, file, 3).problem


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("sales", "-1"),
        ("sales", "many"),
        ("price", "1,000"),
        ("price", "inf"),
        ("conversion_rate", "1.5"),
        ("applause_rate", "-0.1"),
        ("source", "blog"),
    ],
)
def test_impossible_catalogue_values_are_refused(shop, column, cell):
    write(shop / "catalogue.csv", with_column(CATALOGUE, column, ["", cell, ""]))
    assert column in refused(shop, "catalogue.csv", 3).problem


@pytest.mark.parametrize(
    ("column", "cell", "problem", "cure"),
    [
        ("price", "-3", "price is -3", "a number ≥ 0, or nothing"),
        ("price", "1,234.50", "price is '1,234.50'", "1234.50"),
        ("price", "1.234,50", "price is '1.234,50'", "1234.50"),
        ("price", "1'234’567", 'price is "1\'234’567"', "1234567"),
        ("price", "1 234,5 €", "price is '1 234,5 €'", "1234.5"),
        ("price", "1,234", "price is '1,234'", "1234 or 1.234"),
        ("price", "12 €", "price is '12 €'", "12"),
        ("price", "$12.5", "price is '$12.5'", "12.5"),
        ("sales", "−3", "sales is '−3'", "-3"),
        ("price", "3-4", "price is '3-4'", "a plain number such as 1234.5, or nothing"),
        ("price", "1,23,4.5", "price is '1,23,4.5'", "a plain number such as 1234.5, or nothing"),
        ("price", "n/a", "price is 'n/a'", "a plain number such as 1234.5, or nothing"),
        ("conversion_rate", "8,5 %", "conversion_rate is '8,5 %'", "0.085"),
        (
            "applause_rate",
            "85",
            "applause_rate is 85",
            "a share between 0 and 1, or nothing; 0.85 if 85 is a percentage",
        ),
        ("source", "blog", "source is 'blog'", "one of main, sku, review"),
    ],
)
def test_a_value_is_answered_with_what_to_write(shop, column, cell, problem, cure):
    write(shop / "catalogue.csv", with_column(CATALOGUE, column, ["", cell, ""]))
    error = refused(shop, "catalogue.csv", 3)
    assert (error.problem, error.cure) == (problem, f"Write {cure}")


def test_what_to_write_in_the_other_tables(shop):
    write(shop / "queries.csv", with_column(QUERIES, "split", ["train", "holdout", "test"]))
    assert refused(shop, "queries.csv", 3).cure == "Write one of train, val, test"
    write(shop / "queries.csv", QUERIES)
    write(shop / "pvlog.csv", with_cell(PVLOG, 4, "rank", "0"))
    assert refused(shop, "pvlog.csv", 4).cure == "Write a whole number, 1 for the first result"
    write(shop / "pvlog.csv", with_cell(PVLOG, 4, "clicked", "maybe"))
    assert refused(shop, "pvlog.csv", 4).cure == "Write 1 or 0, true or false, yes or no"


def test_a_name_that_must_match_is_answered_with_the_nearest(shop):
    write(shop / "queries.csv", with_cell(QUERIES, 3, "category", "Bags"))
    assert "'Bags'" in refused(shop, "queries.csv", 3).problem
    assert "nearest: 'bags'" in refused(shop, "queries.csv", 3).problem
    write(shop / "queries.csv", with_cell(QUERIES, 3, "category", "hats"))
    assert refused(shop, "queries.csv", 3).problem.endswith("does not occur in catalogue.csv")
    write(shop / "queries.csv", QUERIES)
    write(shop / "pvlog.csv", with_cell(PVLOG, 3, "image_id", "shop/A.jpeg"))
    assert "nearest: 'shop/a.jpg'" in refused(shop, "pvlog.csv", 3).problem
    rows = [["image_path", "Product ID", "category"], *CATALOGUE[1:]]
    write(shop / "catalogue.csv", rows)
    assert "nearest: 'product_id'" in refused(shop, "catalogue.csv", 1).problem


@pytest.mark.parametrize(
    ("splits", "row"),
    [
        (["train", "val", "holdout"], 4),
        (["train", "", "test"], 3),
        (["train", "test", "test"], None),
        (["train", "train", "val"], None),
    ],
)
def test_splits_are_complete_or_absent(shop, splits, row):
    write(shop / "queries.csv", with_column(QUERIES, "split", splits))
    refused(shop, "queries.csv", row)


@pytest.mark.parametrize(
    ("row", "column", "cell"),
    [
        (3, "query_id", "mine/z.jpg"),
        (3, "query_id", "shop/a.jpg"),
        (3, "image_id", "shop/z.jpg"),
        (3, "rank", "0"),
        (3, "rank", "1.5"),
        (3, "rank", "first"),
        (3, "rank", "1"),
        (3, "clicked", "maybe"),
        (3, "clicked", ""),
        (3, "session_id", ""),
    ],
)
def test_mistakes_in_the_log(shop, row, column, cell):
    write(shop / "pvlog.csv", with_cell(PVLOG, row, column, cell))
    refused(shop, "pvlog.csv", row)


def test_a_place_on_a_page_is_taken_once(shop):
    write(shop / "pvlog.csv", with_cell(PVLOG, 3, "rank", "1"))
    problem = refused(shop, "pvlog.csv", 3).problem
    assert problem == "session_id s1, rank 1 occurs in an earlier row too"


def test_an_empty_log_is_a_mistake(shop):
    write(shop / "pvlog.csv", PVLOG[:1])
    refused(shop, "pvlog.csv", None)


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_any_bytes_load_or_are_an_input_error(tmp_path_factory, content):
    shop = tmp_path_factory.mktemp("bytes")
    head = b"image_path,product_id,category\n"
    (shop / "catalogue.csv").write_bytes(head + content)
    write(shop / "queries.csv", [row[:2] for row in QUERIES])
    with suppress(InputError):
        assert len(load_folder(shop).catalogue) > 0
