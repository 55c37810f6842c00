"""Lists of features, which the peers that keep such lists have in common."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np

from vsa.runtime.seeds import generator

_POINTS = 40  # of a sample, for each centroid: faiss asks for 39 at least
_N_STEPS = 2


@dataclass(frozen=True)
class FloatLists:
    """Found once, and given to each peer, so that all are compared on the same lists."""

    centroids: np.ndarray  # float32 (m, d), unit length
    seconds: float  # that their steps took


def make_float_lists(features: np.ndarray, start: np.ndarray) -> FloatLists:
    """At most n / 40 lists of features, float16 (n, d), from centroids of the index, (m, d).

    Those were found by faiss's k-means, within each category. Peers know no categories, so more
    steps of it over a sample of all features let the centroids go where they serve these best.
    """
    began = time.perf_counter()
    n, d = features.shape
    m = min(len(start), max(1, n // _POINTS))
    first = start[np.linspace(0, len(start) - 1, m).astype(int)]
    sample = np.sort(generator(0, "float lists").choice(n, min(n, _POINTS * m), replace=False))
    kmeans: Any = faiss.Kmeans(d, m, niter=_N_STEPS, spherical=True, min_points_per_centroid=1)
    kmeans.train(features[sample].astype(np.float32), init_centroids=first.astype(np.float32))
    return FloatLists(kmeans.centroids, time.perf_counter() - began)
