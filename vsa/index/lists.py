"""Inverted lists, partitioned by category (the coarse filter, paper section 3.3).

Every list belongs to one category and has a centroid. An item goes to the list of its category
whose centroid is most similar; a query visits the most similar lists of all categories, or of those
that were predicted for it. Lists are found as items are: centroids near by code are compared by
feature.

Lists are numbered so that similar ones have near numbers, and stored in that order. The lists that
a query visits then form a few runs, each scanned in one call, and short gaps are scanned with them:
that costs less than another call, and may find something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import faiss
import numpy as np

from vsa.index.codec import STORED, Encoder
from vsa.runtime.errors import InputError
from vsa.runtime.seeds import generator

Names = Sequence[str] | np.ndarray  # of categories, (n,)
_POINTS_PER_LIST = 48  # of the sample that centroids are trained on
_SHORT_LIST = 8  # centroids compared by feature, for each that is wanted
_GAP = 4  # lists between two that are visited; longer gaps are left out
_CHUNK_ROWS = 2**17
_hammings: Any = faiss.hammings  # type: ignore[attr-defined]
FAR = 2**13  # more than any Hamming distance


def nearest(distances: np.ndarray, n: int) -> np.ndarray:
    """Positions, ascending, of the `n` smallest Hamming distances, and of all equal to the last.

    `FAR` marks what must not be chosen, however few there are.
    """
    limit = FAR - 1
    if len(distances) > n:
        at_most = np.bincount(distances).cumsum()
        limit = min(limit, int(np.searchsorted(at_most, n)))
    return np.flatnonzero(distances <= limit)


def hamming(code: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Hamming distances, int32 (n,), of one packed code (b,) to contiguous codes (n, b)."""
    return hamming_of_runs(code, codes, [(0, len(codes))])


def hamming_of_runs(
    code: np.ndarray, codes: np.ndarray, runs: Sequence[tuple[int, int]], n_more: int = 0
) -> np.ndarray:
    """Hamming distances of a code to runs of contiguous codes, one run after the other.

    `runs` are pairs of first row and row after the last. The result, int32, has room for `n_more`
    distances at its end.
    """
    distances = np.empty(sum(end - start for start, end in runs) + n_more, np.int32)
    pointer, size, place = faiss.swig_ptr(code), len(code), 0
    for start, end in runs:
        if n := end - start:
            into = distances[place : place + n]
            _hammings(pointer, faiss.swig_ptr(codes[start:end]), 1, n, size, faiss.swig_ptr(into))
            place += n
    return distances


@dataclass(frozen=True)
class Lists:
    """Centroids and the categories they belong to."""

    centroids: np.ndarray  # float32 (L, d), unit length, sorted by category
    codes: np.ndarray  # uint8 (L, n_bits / 8), of the centroids
    category: np.ndarray  # int64 (L,), codes of names
    names: tuple[str, ...]  # of the categories

    def __len__(self) -> int:
        return len(self.centroids)

    def category_codes(self, categories: Names) -> np.ndarray:
        """Names → codes, int64; raises InputError for a category that the lists do not know."""
        lookup = self._lookup
        try:
            return np.array([lookup[name] for name in categories], np.int64)
        except KeyError as error:
            raise InputError(
                f"the index has no category {error.args[0]!r}",
                cure=f"It has {', '.join(map(repr, self.names[:20]))}; others need a new build",
            ) from None

    def assign(self, features: np.ndarray, categories: np.ndarray) -> np.ndarray:
        """List of each item, int64 (n,), from its feature (n, d) and its category's code (n,).

        Features count as they are stored, so that an item goes where it went before.
        """
        found = np.empty(len(features), np.int64)
        for category in np.unique(categories):
            items = np.flatnonzero(categories == category)
            first, last = np.searchsorted(self.category, [category, category + 1])
            index = faiss.IndexFlatIP(self.centroids.shape[1])
            index.add(self.centroids[first:last])
            for start in range(0, len(items), _CHUNK_ROWS):
                part = items[start : start + _CHUNK_ROWS]
                stored = features[part].astype(STORED).astype(np.float32)
                nearest_one = index.search(stored, 1)[1][:, 0]
                found[part] = first + nearest_one
        return found

    def probe(
        self,
        feature: np.ndarray,
        code: np.ndarray,
        n_probe: int,
        categories: np.ndarray | None = None,
    ) -> np.ndarray:
        """The `n_probe` lists most similar to a feature, float32 (d,), with its code, as runs.

        With `categories`, codes of names, only lists of these. Returns int64 (m, 2): number of the
        first list of each run, and of the one after its last; runs include gaps of up to 4 lists.
        """
        distances = hamming(code, self.codes)
        if categories is not None:
            distances[~np.isin(self.category, categories)] = FAR
        short = nearest(distances, _SHORT_LIST * n_probe)
        if len(short) > n_probe:
            similarity = self.centroids.take(short, axis=0) @ feature
            short = np.sort(short[np.argsort(-similarity, kind="stable")[:n_probe]])
        if not len(short):
            return np.empty((0, 2), np.int64)
        gap = np.diff(short) - 1
        other = np.diff(self.category[short]) != 0
        breaks = np.flatnonzero((gap > _GAP) | (other & (gap > 0)))
        runs = np.empty((len(breaks) + 1, 2), np.int64)
        runs[0, 0], runs[1:, 0] = short[0], short[breaks + 1]
        runs[-1, 1], runs[:-1, 1] = short[-1] + 1, short[breaks] + 1
        return runs

    @cached_property
    def _lookup(self) -> dict[str, int]:
        return {name: code for code, name in enumerate(self.names)}


def train_lists(
    features: np.ndarray,
    categories: np.ndarray,
    names: Sequence[str],
    codec: Encoder,
    n_lists: int,
    seed: int,
) -> Lists:
    """Centroids by k-means, in each category as many as its share of the items asks for.

    `features` are floating (n, d); `categories` int64 (n,), codes of `names`. Every name gets at
    least one list, so that its items have a place even if there are none yet.
    """
    rng = generator(seed, "lists")
    centroids, owner = [], []
    for category in range(len(names)):
        items = np.flatnonzero(categories == category)
        n_wanted = max(1, round(n_lists * len(items) / max(1, len(features))))
        if len(items) > _POINTS_PER_LIST * n_wanted:
            items = np.sort(rng.choice(items, _POINTS_PER_LIST * n_wanted, replace=False))
        found = _kmeans(features[items].astype(np.float32), n_wanted, int(rng.integers(2**31)))
        centroids.append(found[_similar_order(found, np.arange(len(found)))])
        owner.append(np.full(len(found), category))
    joined = np.concatenate(centroids)
    return Lists(joined, codec.encode(joined), np.concatenate(owner), tuple(names))


def _kmeans(features: np.ndarray, n_wanted: int, seed: int) -> np.ndarray:
    if len(features) <= n_wanted:
        return features if len(features) else np.zeros((1, features.shape[1]), np.float32)
    kmeans = faiss.Kmeans(
        features.shape[1], n_wanted, niter=10, seed=seed, spherical=True, min_points_per_centroid=1
    )
    kmeans.train(features)
    # of equal items, k-means makes centroids that differ by a trifle: one of them gets all
    used = np.unique(kmeans.assign(features)[1])
    return np.asarray(kmeans.centroids)[used]


def _similar_order(centroids: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows in an order that keeps similar centroids together: split by the first component."""
    if len(rows) <= 2:
        return rows
    centred = centroids[rows] - centroids[rows].mean(axis=0)
    direction = np.linalg.svd(centred, full_matrices=False)[2][0]
    order = rows[np.argsort(centred @ direction, kind="stable")]
    halves = np.split(order, [len(order) // 2])
    return np.concatenate([_similar_order(centroids, half) for half in halves])
