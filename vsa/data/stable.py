"""Choices that depend on names alone: the same on every machine, in any row order, for any seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

_DIGITS = 13  # of a hash: 52 bits, which a float holds as they are


def stable_hash(purpose: str, name: str) -> str:
    """32 hex digits that order names as if at random, independently for each purpose."""
    return hashlib.sha256(f"{purpose}\0{name}".encode()).hexdigest()[:32]


def stable_share(purpose: str, name: str) -> float:
    """A number in [0, 1) that is spread evenly over names, independently for each purpose."""
    return int(stable_hash(purpose, name)[:_DIGITS], 16) / 16**_DIGITS


def product_folds(products: Iterable[str], n_folds: int = 5) -> np.ndarray:
    """Folds of a cross-validation that parts products: each is judged once, by its own fold.

    The fold of a product follows from its id alone: it is the same on every machine, in any row
    order, and whichever other products there are. So all rows of a product are in one fold, and
    folds differ in size as chance has it.

    Parameters
    ----------
    products : n product ids, as text; a product may come several times.
    n_folds : ≥ 2.

    Returns
    -------
    int64 of shape (n,), values in [0, n_folds).

    Raises
    ------
    ValueError for fewer than two folds, or where a product is not known.

    Examples
    --------
    >>> product_folds(["5008", "71", "5008"]).tolist()
    [2, 0, 2]
    """
    if n_folds < 2:
        raise ValueError(f"{n_folds} folds: there must be at least two")
    ids = list(products)
    if not all(isinstance(product, str) for product in ids):
        raise ValueError("folds are of products that are known, by their ids as text")
    shares = [stable_share("fold", product) for product in ids]
    return np.array([int(n_folds * share) for share in shares], np.int64)


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
