"""The data contract: three tables, checked where they cross a boundary.

``catalogue`` (what is for sale), ``queries`` (shoppers' photos) and ``pvlog`` (page views and
clicks). Boxes are fractions of the image's width and height in [0, 1], after EXIF rotation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.errors
import pandera.pandas as pa

from vsa.runtime.errors import InputError

SOURCES = ("main", "sku", "review")
SPLITS = ("train", "val", "test")
BOX = ["x_min", "y_min", "x_max", "y_max"]
RATES = ["conversion_rate", "applause_rate"]
QUALITY = ["sales", *RATES, "price"]

# A column's description says what to write there
_text = pa.Column(str, pa.Check.str_length(min_value=1), coerce=True, description="a name")
_unique_text = pa.Column(
    str,
    pa.Check.str_length(min_value=1),
    unique=True,
    report_duplicates="exclude_first",
    coerce=True,
    description="a name",
)
_perhaps_text = pa.Column(str, nullable=True, coerce=True, description="a name, or nothing")
_share = pa.Column(
    float,
    pa.Check.in_range(0, 1),
    nullable=True,
    coerce=True,
    description="a share between 0 and 1, or nothing",
)
_amount = pa.Column(
    float, pa.Check.ge(0), nullable=True, coerce=True, description="a number ≥ 0, or nothing"
)
_source = pa.Column(
    str, pa.Check.isin(SOURCES), coerce=True, description=f"one of {', '.join(SOURCES)}"
)
_split = pa.Column(
    str, pa.Check.isin(SPLITS), coerce=True, description=f"one of {', '.join(SPLITS)}"
)
_rank = pa.Column(
    int, pa.Check.ge(1), coerce=True, description="a whole number, 1 for the first result"
)
_box_order = [
    pa.Check(
        lambda t: t.x_min.isna() | ((t.x_min < t.x_max) & (t.y_min < t.y_max)),
        name="x_min < x_max and y_min < y_max",
    ),
    pa.Check(
        lambda t: t[BOX].isna().all(axis=1) | t[BOX].notna().all(axis=1),
        name="a box has all four sides or none",
    ),
]

CATALOGUE = pa.DataFrameSchema(
    {
        "image_id": _unique_text,
        "product_id": _text,
        "category": _text,
        "leaf": _text,
        "source": _source,
        "path": _text,
        "sales": _amount,
        **dict.fromkeys(RATES, _share),
        "price": _amount,
        **dict.fromkeys(BOX, _share),
    },
    checks=_box_order,
    strict=True,
    name="catalogue",
)
QUERIES = pa.DataFrameSchema(
    {
        "query_id": _unique_text,
        "path": _text,
        "product_id": _perhaps_text,
        "category": _perhaps_text,
        **dict.fromkeys(BOX, _share),
        "split": _split,
    },
    checks=_box_order,
    strict=True,
    name="queries",
)
PVLOG = pa.DataFrameSchema(
    {
        "session_id": _text,
        "query_id": _text,
        "rank": _rank,
        "image_id": _text,
        "clicked": pa.Column(bool, coerce=True, description="1 or 0, true or false, yes or no"),
        "timestamp": pa.Column("datetime64[us]", coerce=True, description="a time"),
    },
    unique=["session_id", "rank"],
    report_duplicates="exclude_first",
    strict=True,
    name="pvlog",
)


def check(table: pd.DataFrame, schema: pa.DataFrameSchema, file: str | Path) -> pd.DataFrame:
    """Return `table` with the schema's types; raises InputError naming file, row and column.

    Rows are counted as in a CSV file: the header is row 1, the first record row 2.
    """
    try:
        return schema.validate(table.reset_index(drop=True), lazy=True)
    except pandera.errors.SchemaErrors as errors:
        cases = errors.failure_cases
        first = cases.iloc[0]
        row = None if pd.isna(first["index"]) else int(first["index"]) + 2
        n_rows = cases["index"].nunique()
        count = f" ({n_rows} rows have problems)" if n_rows > 1 else ""
        problem, cure = _in_words(first, cases, schema)
        raise InputError(problem + count, cure=cure, file=file, row=row) from None


def _in_words(case: pd.Series, cases: pd.DataFrame, schema: pa.DataFrameSchema) -> tuple[str, str]:
    """Problem and cure of one of pandera's failure cases."""
    column, value, rule = case["column"], case["failure_case"], case["check"]
    layout = f"The {schema.name} table has columns {', '.join(schema.columns)}"
    if rule == "column_in_dataframe":
        return f"column {value!r} is missing", layout
    if rule == "column_in_schema":
        return f"column {value!r} is not part of the {schema.name} table", layout
    if rule in ("field_uniqueness", "multiple_fields_uniqueness"):
        return f"{_values(case, cases)} occurs in an earlier row too", "Keep one of the rows"
    if case["schema_context"] == "DataFrameSchema":
        return f"it does not hold that {rule}", f"Correct {', '.join(BOX)}, or leave all four empty"
    cure = f"Write {schema.columns[column].description}"
    if pd.isna(value) or value == "":
        return f"{column} is empty", cure
    if not isinstance(value, int | float | np.number):
        return f"{column} is {value!r}", cure
    if column in RATES and 1 < value <= 100:
        cure += f"; {value / 100:.12g} if {value:.12g} is a percentage"
    return f"{column} is {value:.12g}", cure


def _values(case: pd.Series, cases: pd.DataFrame) -> str:
    """The values that break a case's rule in its row: ``session_id s1, rank 2``."""
    same = cases[(cases["check"] == case["check"]) & (cases["index"] == case["index"])]
    pairs = zip(same["column"], same["failure_case"], strict=True)
    return ", ".join(f"{column} {value}" for column, value in dict(pairs).items())


def complete(table: pd.DataFrame, schema: pa.DataFrameSchema) -> pd.DataFrame:
    """`table` with the columns that may be left out, in the schema's order, others at the end.

    A column that may be empty is; ``leaf`` is the category, and ``source`` is ``main``.
    """
    absent = {
        name: pd.Series(None, index=table.index, dtype=str(column.dtype))
        for name, column in schema.columns.items()
        if column.nullable and name not in table
    }
    if schema is CATALOGUE and "category" in table:
        absent |= {"leaf": table.category, "source": SOURCES[0]}
    table = table.assign(**{name: cells for name, cells in absent.items() if name not in table})
    known = [name for name in schema.columns if name in table]
    return table[[*known, *(name for name in table if name not in known)]]


def no_rejected() -> pd.DataFrame:
    return pd.DataFrame(columns=["table", "id", "path", "reason"], dtype="str")


@dataclass(frozen=True)
class Dataset:
    """Checked tables and where their images lie.

    ``path`` in the tables is relative to ``root``. ``rejected`` lists images that could not be
    read (columns ``table``, ``id``, ``path``, ``reason``); they are absent from the tables.
    ``simulated`` says in words what was not observed but simulated, ``notes`` what in tables
    without a mistake may still not be meant.
    """

    name: str
    root: Path
    catalogue: pd.DataFrame
    queries: pd.DataFrame
    rejected: pd.DataFrame = field(default_factory=no_rejected)
    pvlog: pd.DataFrame | None = None  # observed clicks; None where they must be simulated
    title: str = ""
    datasheet: str = ""  # Markdown: what it is, how it was made, what a sceptic should distrust
    source: str = ""
    licence: str = ""
    simulated: Sequence[str] = field(default_factory=tuple)
    notes: Sequence[str] = field(default_factory=tuple)
    has_identities: bool = True  # False: every picture is its own product, so no retrieval metrics
    may_show_pictures: bool = True  # False: none may enter a notebook's output or a report

    @cached_property
    def categories(self) -> list[str]:
        """Category names in label order (sorted)."""
        names = pd.concat([self.catalogue.category, self.queries.category.dropna()])
        return sorted(names.unique())

    @cached_property
    def products_disjoint(self) -> bool:
        """Whether no product occurs in the queries of two splits."""
        products = self.queries.dropna(subset="product_id").groupby("product_id").split.nunique()
        return bool((products <= 1).all())

    def labels(self, table: pd.DataFrame) -> np.ndarray:
        """Category codes of a table's rows, int64 of shape (n,); −1 where unknown."""
        return pd.Categorical(table.category, categories=self.categories).codes.astype(np.int64)
