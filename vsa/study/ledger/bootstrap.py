"""Confidence intervals by the bootstrap: over queries (or products) and over training seeds.

And of shares that are nearly all or nothing, which a bootstrap gives no width, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from vsa.runtime.seeds import generator

_CHUNK_CELLS = 1_000_000  # resamples × units held at once: some 30 MB


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval; ``n`` is the number of queries behind it."""

    value: float
    low: float
    high: float
    n: int

    def shifted(self, by: float) -> Interval:
        """The same interval, moved: a claim's effect is what is left beyond its threshold."""
        return Interval(self.value + by, self.low + by, self.high + by, self.n)


def mean_interval(
    values: npt.ArrayLike,
    n_resamples: int,
    seed: int,
    level: float = 0.95,
    groups: npt.ArrayLike | None = None,
) -> Interval:
    """Mean of per-query values with a percentile bootstrap interval.

    Queries and seeds are crossed (each seed's model answers every query), so each resample
    draws queries and, independently, seeds, with replacement: the pigeonhole bootstrap of Owen
    (2007). With S seeds it understates the variance between seeds by a factor of (S − 1)/S, and
    with one seed it leaves it out: with few seeds, read the interval as a lower bound on
    the uncertainty. Where all values are equal the interval has no width.

    Parameters
    ----------
    values : (n,) or (n_seeds, n) finite numbers, such as hits of `metrics.accuracy_at_k`.
    n_resamples : number of bootstrap resamples.
    seed : of the resampling; the same seed gives the same interval.
    level : coverage, in (0, 1).
    groups : (n,) labels, such as products; whole groups are then resampled in place of single
        queries, because photos of one product are not independent.

    Raises
    ------
    ValueError for an empty array, a value that is not finite, or shapes that do not fit.
    """
    table = _table(values)
    means = _resampled_means([table], n_resamples, seed, groups)[0]
    return _interval(float(table.mean()), means, level, table.shape[1])


def share_interval(hits: npt.ArrayLike, level: float = 0.95) -> Interval:
    """Share of trials that succeed, bool (n,), with the interval of Clopper and Pearson (1934).

    It has a width even where all trials came out alike: of n successes in n, the lower end is
    about 1 − 3.7 / n. Trials count as independent. Raises ValueError where there are none.
    """
    flags = np.asarray(hits, bool)
    if flags.ndim != 1 or not len(flags):
        raise ValueError(f"trials must be (n,) and not empty, not {flags.shape}")
    found = binomtest(int(flags.sum()), len(flags)).proportion_ci(level)
    return Interval(float(flags.mean()), float(found.low), float(found.high), len(flags))


def equality_interval(
    same: npt.ArrayLike, n_resamples: int, seed: int, groups: npt.ArrayLike | None = None
) -> Interval:
    """Share of queries that came out the same, bool (n,), with its 95 % interval.

    Where all did, resampling says nothing of those that were not asked, and `share_interval` does.
    Groups as in `mean_interval`: of photos of one product, one counts.
    """
    values = np.asarray(same, dtype=np.float64)
    if not values.all():
        return mean_interval(values, n_resamples, seed, groups=groups)
    n_alone = len(values) if groups is None else len(np.unique(np.asarray(groups)))
    return replace(share_interval(np.ones(n_alone, bool)), n=len(values))


def paired_difference(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    n_resamples: int,
    seed: int,
    level: float = 0.95,
    groups: npt.ArrayLike | None = None,
) -> Interval:
    """Mean of a − b with its interval, both (n,) or (n_seeds, n) over the same queries and seeds.

    Both sides see the same resampled queries and seeds, so what makes a query hard for both
    cancels. Parameters and raises as in `mean_interval`.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"paired arrays must have one shape, not {first.shape}, {second.shape}")
    return mean_interval(first - second, n_resamples, seed, level, groups)


def paired_ratio(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    n_resamples: int,
    seed: int,
    level: float = 0.95,
    groups: npt.ArrayLike | None = None,
) -> Interval:
    """Mean of a over mean of b with its interval, both (n,) or (n_seeds, n), resampled together.

    Where b's mean comes close to zero the interval is wide, or not finite: then there is no
    ratio to speak of. Parameters and raises as in `mean_interval`.
    """
    first, second = _table(a), _table(b)
    if first.shape != second.shape:
        raise ValueError(f"paired arrays must have one shape, not {first.shape}, {second.shape}")
    tops, bottoms = _resampled_means([first, second], n_resamples, seed, groups)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = float(np.divide(first.mean(), second.mean()))
        return _interval(ratio, np.divide(tops, bottoms), level, first.shape[1])


def _table(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Values as (n_seeds, n), checked."""
    table = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if table.ndim != 2 or table.size == 0:
        raise ValueError(f"values must be (n,) or (n_seeds, n) and not empty, not {table.shape}")
    if not np.isfinite(table).all():
        raise ValueError("values must be finite")
    return table


def _interval(value: float, resampled: np.ndarray, level: float, n: int) -> Interval:
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), n)


def _resampled_means(
    tables: list[npt.NDArray[np.float64]],
    n_resamples: int,
    seed: int,
    groups: npt.ArrayLike | None,
) -> npt.NDArray[np.float64]:
    """Resampled means of (S, n) tables under the same draws, (n_tables, n_resamples)."""
    sums, sizes = _by_group(np.concatenate(tables), groups)  # (n_tables · S, n_units)
    rng = generator(seed, "bootstrap")
    n_seeds, n_units = len(tables[0]), sums.shape[1]
    means = np.empty((len(tables), n_resamples))
    chunk = max(1, _CHUNK_CELLS // n_units)
    for start in range(0, n_resamples, chunk):
        size = min(chunk, n_resamples - start)
        units = _draw_counts(rng, size, n_units)  # (size, n_units)
        per_seed = (units @ sums.T) / (units @ sizes)[:, None]  # (size, n_tables · S)
        seeds = _draw_counts(rng, size, n_seeds) / n_seeds
        weighted = per_seed.reshape(size, len(tables), n_seeds) * seeds[:, None]
        means[:, start : start + size] = weighted.sum(axis=2).T
    return means


def _by_group(
    table: npt.NDArray[np.float64], groups: npt.ArrayLike | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Sums of values (S, n_units) and numbers of queries (n_units,) of what is resampled."""
    if groups is None:
        return table, np.ones(table.shape[1])
    names = np.asarray(groups)
    if names.shape != table.shape[1:]:
        raise ValueError(f"groups {names.shape} do not fit values {table.shape}")
    _, codes = np.unique(names, return_inverse=True)
    return np.stack([np.bincount(codes, row) for row in table]), np.bincount(codes).astype(float)


def _draw_counts(rng: np.random.Generator, size: int, n: int) -> npt.NDArray[np.float64]:
    """How often each of n units occurs in each of `size` draws with replacement, (size, n)."""
    cells = rng.integers(n, size=(size, n)) + n * np.arange(size)[:, None]
    return np.bincount(cells.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)
