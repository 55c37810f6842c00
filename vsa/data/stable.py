"""Choices that depend on names alone: the same on every machine, in any row order, for any seed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pandas as pd


def stable_hash(purpose: str, name: str) -> str:
    """32 hex digits that order names as if at random, independently for each purpose."""
    return hashlib.sha256(f"{purpose}\0{name}".encode()).hexdigest()[:32]


def stable_position(table: pd.DataFrame, strata: Sequence[str], name: str) -> pd.Series:
    """Position of each row among the rows of its stratum, in the order of a stable hash.

    Rows that agree in the columns `strata` form a stratum; missing values agree with each other.
    The hash is taken of column `name`. Returns int64 of shape (n,), counted from 0, with the
    index of `table`.
    """
    hashes = table[name].map(lambda value: stable_hash(",".join(strata), value))
    order = table.assign(_hash=hashes).sort_values("_hash")
    return order.groupby(list(strata), dropna=False).cumcount().reindex(table.index)


def stable_sample(
    table: pd.DataFrame, n_max: int, strata: Sequence[str], name: str
) -> pd.DataFrame:
    """At most `n_max` rows, in their old order, with the strata in their old proportions.

    Every stratum keeps at least one row, so more than `n_max` remain where there are more strata.
    """
    position = stable_position(table, strata, name)
    size = table.groupby(list(strata), dropna=False)[name].transform("size")
    n_strata = int((position == 0).sum())
    # Position 0 has share 0, so the first row of each stratum comes before all others
    share = (position / size).rename("share").to_frame().assign(name=table[name])
    kept = share.sort_values(["share", "name"]).index[: max(n_max, n_strata)]
    return table.loc[table.index.isin(kept)].reset_index(drop=True)
