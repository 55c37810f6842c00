"""Inverted lists of binary codes, partitioned by category (the coarse filter, paper section 3.3).

Every list belongs to one category and has a centroid, itself a code. An item goes to the list of
its category whose centroid is nearest; a query visits the nearest lists of all categories, or of
those that were predicted for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import faiss
import numpy as np

from vsa.runtime.errors import InputError
from vsa.runtime.seeds import generator

_POINTS_PER_LIST = 48  # of the sample that centroids are trained on
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
            faiss.hammings(
                pointer, faiss.swig_ptr(codes[start:end]), 1, n, size, faiss.swig_ptr(into)
            )
            place += n
    return distances


@dataclass(frozen=True)
class Lists:
    """Centroids and the categories they belong to."""

    centroids: np.ndarray  # uint8 (L, n_bits / 8), sorted by category
    category: np.ndarray  # int64 (L,), codes of names
    names: tuple[str, ...]  # of the categories

    def __len__(self) -> int:
        return len(self.centroids)

    def category_codes(self, categories: Sequence[str]) -> np.ndarray:
        """Names → codes, int64; raises InputError for a category that the lists do not know."""
        lookup = self._lookup
        try:
            return np.array([lookup[name] for name in categories], np.int64)
        except KeyError as error:
            raise InputError(
                f"the index has no category {error.args[0]!r}",
                cure=f"It has {', '.join(map(repr, self.names[:20]))}; others need a new build",
            ) from None

    def assign(self, codes: np.ndarray, categories: np.ndarray) -> np.ndarray:
        """List of each item, int64 (n,), from its code and its category's code, int64 (n,)."""
        found = np.empty(len(codes), np.int64)
        for category in np.unique(categories):
            items = np.flatnonzero(categories == category)
            first, last = np.searchsorted(self.category, [category, category + 1])
            index = faiss.IndexBinaryFlat(8 * self.centroids.shape[1])
            index.add(self.centroids[first:last])
            for start in range(0, len(items), 2**20):
                part = items[start : start + 2**20]
                found[part] = first + index.search(codes[part], 1)[1][:, 0]
        return found

    def probe(
        self, code: np.ndarray, n_probe: int, categories: np.ndarray | None = None
    ) -> np.ndarray:
        """The `n_probe` nearest lists, int64, and those as near as the last; by list number.

        With `categories`, codes of names, only lists of these.
        """
        distances = hamming(code, self.centroids)
        if categories is not None:
            distances[~np.isin(self.category, categories)] = FAR
        return nearest(distances, n_probe)

    @cached_property
    def _lookup(self) -> dict[str, int]:
        return {name: code for code, name in enumerate(self.names)}


def train_lists(
    codes: np.ndarray, categories: np.ndarray, names: Sequence[str], n_lists: int, seed: int
) -> Lists:
    """Centroids by k-means on bits, in each category as many as its share of the items asks for.

    `codes` are packed, uint8 (n, b); `categories` int64 (n,), codes of `names`. Every name gets at
    least one list, so that its items have a place even if there are none yet.
    """
    rng = generator(seed, "lists")
    centroids, owner = [], []
    for category in range(len(names)):
        items = np.flatnonzero(categories == category)
        n_wanted = max(1, round(n_lists * len(items) / max(1, len(codes))))
        if len(items) > _POINTS_PER_LIST * n_wanted:
            items = np.sort(rng.choice(items, _POINTS_PER_LIST * n_wanted, replace=False))
        found = _binary_kmeans(codes[items], n_wanted, int(rng.integers(2**31)))
        centroids.append(found)
        owner.append(np.full(len(found), category))
    return Lists(np.concatenate(centroids), np.concatenate(owner), tuple(names))


def _binary_kmeans(codes: np.ndarray, n_wanted: int, seed: int) -> np.ndarray:
    distinct = np.unique(codes, axis=0) if len(codes) <= n_wanted * 4 else codes
    if len(distinct) <= n_wanted:
        empty = np.zeros((1, codes.shape[1]), np.uint8)
        return distinct if len(distinct) else empty
    bits = 2.0 * np.unpackbits(codes, axis=1).astype(np.float32) - 1
    kmeans = faiss.Kmeans(
        bits.shape[1], n_wanted, niter=10, seed=seed, min_points_per_centroid=1, verbose=False
    )
    kmeans.train(bits)
    return np.unique(np.packbits(kmeans.centroids > 0, axis=1), axis=0)
