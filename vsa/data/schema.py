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
QUALITY = ["sales", "conversion_rate", "applause_rate", "price"]

_text = pa.Column(str, pa.Check.str_length(min_value=1), coerce=True)
_unique_text = pa.Column(str, pa.Check.str_length(min_value=1), unique=True, coerce=True)
_fraction = pa.Column(float, pa.Check.in_range(0, 1), nullable=True, coerce=True)
_amount = pa.Column(float, pa.Check.ge(0), nullable=True, coerce=True)
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
        "source": pa.Column(str, pa.Check.isin(SOURCES), coerce=True),
        "path": _text,
        "sales": _amount,
        "conversion_rate": _fraction,
        "applause_rate": _fraction,
        "price": _amount,
        **dict.fromkeys(BOX, _fraction),
    },
    checks=_box_order,
    strict=True,
    name="catalogue",
)
QUERIES = pa.DataFrameSchema(
    {
        "query_id": _unique_text,
        "path": _text,
        "product_id": pa.Column(str, nullable=True, coerce=True),
        "category": pa.Column(str, nullable=True, coerce=True),
        **dict.fromkeys(BOX, _fraction),
        "split": pa.Column(str, pa.Check.isin(SPLITS), coerce=True),
    },
    checks=_box_order,
    strict=True,
    name="queries",
)
PVLOG = pa.DataFrameSchema(
    {
        "session_id": _text,
        "query_id": _text,
        "rank": pa.Column(int, pa.Check.ge(1), coerce=True),  # 1 = top of the page
        "image_id": _text,
        "clicked": pa.Column(bool, coerce=True),
        "timestamp": pa.Column("datetime64[us]", coerce=True),
    },
    unique=["session_id", "rank"],
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
        first = errors.failure_cases.iloc[0]
        row = None if pd.isna(first["index"]) else int(first["index"]) + 2
        what = f"{first['check']}"
        if first["check"] == "column_in_dataframe":
            problem = f"column {first['failure_case']!r} is missing"
        elif first["check"] == "column_in_schema":
            problem = f"column {first['failure_case']!r} is not part of the {schema.name} table"
        else:
            problem = (
                f"column {first['column']!r} holds {first['failure_case']!r}, violating {what}"
            )
        n_more = len(errors.failure_cases) - 1
        more = f" ({n_more} more problems follow)" if n_more else ""
        columns = ", ".join(schema.columns)
        raise InputError(
            problem + more,
            cure=f"The {schema.name} table has columns {columns}",
            file=file,
            row=row,
        ) from None


@dataclass(frozen=True)
class Dataset:
    """Checked tables and where their images lie.

    ``path`` in the tables is relative to ``root``. ``rejected`` lists images that could not be
    read (columns ``table``, ``id``, ``path``, ``reason``); they are absent from the tables.
    ``simulated`` says in words what was not observed but simulated.
    """

    name: str
    root: Path
    catalogue: pd.DataFrame
    queries: pd.DataFrame
    rejected: pd.DataFrame
    pvlog: pd.DataFrame | None = None  # observed clicks; None where they must be simulated
    title: str = ""
    datasheet: str = ""  # Markdown: what it is, how it was made, what a sceptic should distrust
    source: str = ""
    licence: str = ""
    simulated: Sequence[str] = field(default_factory=tuple)
    has_identities: bool = True  # False: every picture is its own product, so no retrieval metrics

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
