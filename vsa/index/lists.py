"""Inverted lists, partitioned by category (the coarse filter, paper section 3.3).

Every list belongs to one category and has a centroid. An item goes to the list of its category
whose centroid is most similar; a query visits the most similar lists of all categories, or of those
that were predicted for it. Lists are found as items are: centroids near by code are compared by
feature.

Lists are numbered so that similar ones have near numbers, and stored in that order: what a query
reads lies close together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import faiss
import numpy as np

from vsa.index.codec import STORED, Encoder, words_of
from vsa.runtime.errors import InputError
from vsa.runtime.seeds import generator

Names = Sequence[str] | np.ndarray  # of categories, (n,)
_POINTS_PER_LIST = 48  # of the sample that centroids are trained on
_CHUNK_ROWS = 2**17


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

    def ranges(self, categories: np.ndarray | None = None) -> np.ndarray:
        """First number, and the one after the last, of the lists of categories, int64 (m, 2).

        `categories` are codes of names; None for all.
        """
        if categories is None:
            return self._all
        wanted = np.unique(categories)
        return np.stack([np.searchsorted(self.category, wanted + side) for side in (0, 1)], axis=1)

    @cached_property
    def words(self) -> np.ndarray:
        """Codes of the centroids as items have them, uint64 (n_bits / 64, L)."""
        return np.ascontiguousarray(words_of(self.codes).T)

    @cached_property
    def _all(self) -> np.ndarray:
        return np.array([[0, len(self)]])

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
