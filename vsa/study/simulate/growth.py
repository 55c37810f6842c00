"""A catalogue grown to any size from the features of a trained network.

No public catalogue has ten million pictures. So items are drawn from a smoothed bootstrap of real
features: one of them, moved at random within the span of its 16 nearest neighbours of the same
category, and brought back to unit length. What this keeps, and notebook 04 shows, is what an index
feels: how similar a photo's nearest neighbours are, how fast similarity falls with rank, and the
local dimension of the data. What it cannot keep is what a larger world would add: new products.
"""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np

from vsa.index.codec import STORED
from vsa.runtime.seeds import generator

VERSION = 1
N_NEIGHBOURS = 16
SPREAD = 0.7  # with it, grown features have the local dimension of real ones


@dataclass(frozen=True)
class Growth:
    """A source of items; make it with `make_growth`."""

    features: np.ndarray  # float32 (n, d), unit length
    categories: np.ndarray  # str (n,)
    neighbours: np.ndarray  # int64 (n, 16)
    seed: int

    def draw(self, number: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """The `number`-th part of a catalogue: features, float16 (size, d), and categories.

        Depends on seed, number and size alone, so parts can be made in any order, and again.
        """
        rng = generator(self.seed, "growth", number)
        source = np.sort(rng.integers(0, len(self.features), size))
        weights = rng.standard_normal((size, self.neighbours.shape[1]), np.float32)
        weights *= SPREAD / np.sqrt(self.neighbours.shape[1])
        features = np.empty((size, self.features.shape[1]), STORED)
        items, starts = np.unique(source, return_index=True)
        for item, start, end in zip(items, starts, [*starts[1:], size], strict=True):
            origin = self.features[item]
            directions = self.features[self.neighbours[item]] - origin
            moved = origin + weights[start:end] @ directions
            features[start:end] = moved / np.linalg.norm(moved, axis=1, keepdims=True)
        order = rng.permutation(size)
        return features[order], self.categories[source[order]]

    def catalogue(self, n: int, part_size: int = 2**20) -> tuple[np.ndarray, np.ndarray]:
        """Features, float16 (n, d), and categories of a whole catalogue of parts."""
        features = np.empty((n, self.features.shape[1]), STORED)
        categories = np.empty(n, self.categories.dtype)
        for number, start in enumerate(range(0, n, part_size)):
            rows = slice(start, min(start + part_size, n))
            features[rows], categories[rows] = self.draw(number, rows.stop - start)
        return features, categories


def make_growth(features: np.ndarray, categories: np.ndarray, seed: int) -> Growth:
    """Grow from features, float32 (n, d) of unit length, and their categories, str (n,).

    In a category of fewer than 17 items, neighbours repeat.
    """
    features = np.ascontiguousarray(features, np.float32)
    neighbours = np.empty((len(features), N_NEIGHBOURS), np.int64)
    for category in np.unique(categories):
        items = np.flatnonzero(categories == category)
        k = min(N_NEIGHBOURS + 1, len(items))
        found = faiss.knn(features[items], features[items], k, faiss.METRIC_INNER_PRODUCT)[1]
        others = found[:, 1:] if k > 1 else found
        neighbours[items] = items[np.resize(others.T, (N_NEIGHBOURS, len(items))).T]
    return Growth(features, categories, neighbours, seed)


def local_dimension(queries: np.ndarray, features: np.ndarray, k: int = 20) -> float:
    """Median maximum-likelihood estimate of the dimension around queries (Levina and Bickel 2004).

    Both are float32 of unit length, (n, d) and (m, d), and have no item in common.
    """
    similarity = faiss.knn(queries, features, k, faiss.METRIC_INNER_PRODUCT)[0]
    distances = np.sqrt(np.maximum(2 - 2 * similarity, 1e-9))
    return float(np.median(1 / np.log(distances[:, -1:] / distances[:, :-1]).mean(axis=1)))


def neighbour_similarity(queries: np.ndarray, features: np.ndarray, k: int = 60) -> np.ndarray:
    """Mean similarity of the nearest, second nearest, … of queries, float32 (k,)."""
    return faiss.knn(queries, features, k, faiss.METRIC_INNER_PRODUCT)[0].mean(axis=0)
