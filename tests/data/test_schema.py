import pandas as pd
import pytest

from vsa.data.schema import BOX, CATALOGUE, PVLOG, QUALITY, check
from vsa.runtime.errors import InputError


def catalogue(**columns: object) -> pd.DataFrame:
    """Three listings without quality or boxes, but for `columns`."""
    table = pd.DataFrame({"image_id": ["a", "b", "c"], "product_id": ["1", "2", "3"]})
    table = table.assign(category="x", leaf="x", source="main", path="p.jpg")
    return table.assign(**dict.fromkeys([*QUALITY, *BOX], float("nan")))[
        list(CATALOGUE.columns)
    ].assign(**columns)


def refused(table: pd.DataFrame, schema=CATALOGUE) -> InputError:
    with pytest.raises(InputError) as caught:
        check(table, schema, "shop.csv")
    return caught.value


@pytest.mark.parametrize(
    ("columns", "row", "problem", "cure"),
    [
        ({"price": [1, 2, -3]}, 4, "price is -3", "Write a number ≥ 0, or nothing"),
        (
            {"price": [-1234567.5, 2, -3]},
            2,
            "price is -1234567.5 (2 rows have problems)",
            "Write a number ≥ 0, or nothing",
        ),
        (
            {"conversion_rate": [0.5, 85, 1]},
            3,
            "conversion_rate is 85",
            "Write a share between 0 and 1, or nothing; 0.85 if 85 is a percentage",
        ),
        (
            {"applause_rate": [0.5, 185, 1]},
            3,
            "applause_rate is 185",
            "Write a share between 0 and 1, or nothing",
        ),
        (
            {"source": ["main", "blog", "sku"]},
            3,
            "source is 'blog'",
            "Write one of main, sku, review",
        ),
        ({"price": [1, "many", 2]}, 3, "price is 'many'", "Write a number ≥ 0, or nothing"),
        ({"product_id": ["1", None, "3"]}, 3, "product_id is empty", "Write a name"),
        ({"leaf": ["1", "2", ""]}, 4, "leaf is empty", "Write a name"),
        (
            {"image_id": ["a", "b", "b"]},
            4,
            "image_id b occurs in an earlier row too",
            "Keep one of the rows",
        ),
        (
            dict(zip(BOX, [0.5, 0.1, [0.6, 0.4, 0.6], 0.9], strict=True)),
            3,
            "it does not hold that x_min < x_max and y_min < y_max",
            "Correct x_min, y_min, x_max, y_max, or leave all four empty",
        ),
    ],
)
def test_mistakes_are_told_by_column_row_and_value(columns, row, problem, cure):
    error = refused(catalogue(**columns))
    assert (error.problem, error.cure, error.row) == (problem, cure, row)


def test_columns_that_are_missing_or_unknown_are_named():
    layout = f"The catalogue table has columns {', '.join(CATALOGUE.columns)}"
    error = refused(catalogue().drop(columns="price"))
    assert (error.problem, error.cure, error.row) == ("column 'price' is missing", layout, None)
    error = refused(catalogue(colour="red"))
    assert error.problem == "column 'colour' is not part of the catalogue table"


@pytest.mark.parametrize("schema", [CATALOGUE, PVLOG])
def test_every_column_says_what_to_write(schema):
    assert all(column.description for column in schema.columns.values())
