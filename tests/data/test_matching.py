import pandas as pd
import pytest

from vsa.data.matching import match_notes, nearest, rejected_notes


@pytest.mark.parametrize(
    ("name", "known", "close"),
    [
        ("7", ["17", "007"], "007"),
        ("007", ["7"], "7"),
        ("7.0", ["70", "007"], "007"),
        ("000", ["0"], "0"),
        ("shoes", ["SHOES", "shoe"], "SHOES"),
        ("A\u200bB\u00a01", ["AC 1", "AB 1"], "AB 1"),
        ("cafe 1", ["Café 11", "Café 1"], "Café 1"),
        ("Blue drees", ["Blue shoes", "Blue dress"], "Blue dress"),
        ("hats", ["bags", "shoes"], None),
        ("कि", ["कु"], None),
        ("x" * 100_000, ["y" * 100_000], None),
        ("x", [], None),
    ],
)
def test_the_name_that_was_perhaps_meant(name, known, close):
    assert nearest(name, known) == (f" (nearest: {close!r})" if close else "")


def test_among_many_names_only_spelling_is_compared():
    known = [f"product {i}" for i in range(20_001)]
    assert nearest("Product 7", known) == " (nearest: 'product 7')"
    assert nearest("produkt 7", known) == ""
    assert nearest("produkt 7", known[:100]) == " (nearest: 'product 7')"


def notes(products: list[str], asked: list[str | None], **columns: list[str]) -> list[str]:
    catalogue = pd.DataFrame({"product_id": products, "category": "x"}).assign(**columns)
    catalogue = catalogue.assign(leaf=catalogue.category)
    return match_notes(catalogue, pd.DataFrame({"product_id": pd.Series(asked, dtype="str")}))


def test_queries_that_all_match_are_counted():
    assert notes(["A", "B"], ["A", "A", None]) == ["2 of 2 queries show a product of the catalogue"]


def test_queries_without_a_match_are_counted_and_named_the_likely_slips_first():
    count, warning = notes(["A", "007"], ["A", "u", "v", "w", "7", "7"])
    assert count == "1 of 6 queries show a product of the catalogue"
    assert warning.startswith(
        "warning: the product_id of 5 queries does not occur in catalogue.csv, such as "
        "'7' (nearest: '007'), 'u', 'v'; they count as products that are not for sale"
    )


def test_no_match_at_all_is_a_warning_of_its_own():
    count, warning = notes(["a", "b"], ["A", "B"])
    assert count == "0 of 2 queries show a product of the catalogue"
    assert warning.startswith(
        "warning: NO product_id of queries.csv occurs in catalogue.csv, such as "
        "'A' (nearest: 'a'), 'B' (nearest: 'b'); retrieval cannot be measured"
    )


def test_queries_of_unknown_products_are_no_mistake():
    assert notes(["A"], [None]) == ["queries.csv names no products, so retrieval is not measured"]


def test_names_spelt_in_two_ways_are_shown_once():
    _, products, categories = notes(
        ["A1", "a1", "07", "7"], ["A1"], category=["Shoes", "shoes", "bags", "hats"]
    )
    assert "spells product_id in ways that count as different: '07', '7'; 'A1', 'a1'" in products
    assert "spells category in ways that count as different: 'Shoes', 'shoes'" in categories


def test_images_that_cannot_be_used_are_counted_by_reason(tmp_path):
    (tmp_path / "a.jpg").touch()
    paths = ["a.JPG", "absent/a.jpg", "a.jpg"]
    rejected = pd.DataFrame({"path": paths, "reason": ["missing", "missing", "empty file"]})
    assert rejected_notes(tmp_path, rejected) == [
        "warning: listed images that cannot be used: 2 missing, 1 empty file, such as "
        "'a.JPG' (nearest: 'a.jpg'), 'absent/a.jpg', 'a.jpg'"
    ]
    assert rejected_notes(tmp_path, rejected[:0]) == []
