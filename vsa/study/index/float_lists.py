"""Centroids of features, which the peers that keep inverted lists of features have in common."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np

from vsa.runtime.seeds import generator

_POINTS = 40  # of a sample, for each centroid: faiss asks for 39 at least
_N_STEPS = 10  # as faiss's inverted lists take


@dataclass(frozen=True)
class FloatLists:
    """Found once, and given to each peer, so that they are compared on the same lists."""

    centroids: np.ndarray  # float32 (m, d), unit length
    seconds: float  # that it took


def make_float_lists(features: np.ndarray, n_lists: int) -> FloatLists:
    """Spherical k-means of a sample of features, float16 (n, d), into at most n / 40 lists."""
    start = time.perf_counter()
    n, d = features.shape
    m = min(n_lists, max(1, n // 40))
    sample = np.sort(generator(0, "float lists").choice(n, min(n, _POINTS * m), replace=False))
    kmeans: Any = faiss.Kmeans(
        d,
        m,
        niter=_N_STEPS,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=_POINTS,
    )
    kmeans.train(features[sample].astype(np.float32))
    return FloatLists(kmeans.centroids, time.perf_counter() - start)
