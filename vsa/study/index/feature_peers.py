"""Peers that rank by feature: faiss's inverted lists of several codes, refined, and its scan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import faiss
import numpy as np

from vsa.study.index.method import Items, Method, Setting, bytes_of, grid
from vsa.study.index.timing import K

_CHUNK_ROWS = 2**18
_N_PROBE = (4, 8, 16, 24, 32, 48, 64, 128)
_FACTORS = (4, 8, 16, 24, 32, 48, 64)


def ivf_rabitq(
    refinement: str, kind: str = "RaBitQ", quantizer: str = "_HNSW32"
) -> Callable[[Items], Method]:
    """RaBitQ codes in inverted lists, refined by features in memory.

    `refinement` says how these are kept, as ``Refine(SQfp16)``; `kind` is ``RaBitQ``, or
    ``RaBitQfs`` for blocks of 32 codes that are scanned at once; with an empty `quantizer` all
    centroids are compared.
    """

    def build(items: Items) -> Method:
        d, n_lists = items.features.shape[1], _n_lists(items)
        # RaBitQ counts on a random rotation
        return _refined(items, f"RR{d},IVF{n_lists}{quantizer},{kind},{refinement}")

    return build


def ivf_pq(items: Items) -> Method:
    """Product quantisation of 4 bits, scanned in blocks of 32, refined by float32 features."""
    d = items.features.shape[1]
    return _refined(items, f"IVF{_n_lists(items)}_HNSW32,PQ{max(1, d // 2)}x4fs,RFlat")


def _n_lists(items: Items) -> int:
    return min(len(items.model.lists), max(1, len(items.features) // 40))


def _refined(items: Items, spec: str) -> Method:
    """What faiss's factory makes of a description, trained by a sample of the features."""
    n, d = items.features.shape
    index: Any = faiss.index_factory(d, spec, faiss.METRIC_INNER_PRODUCT)
    rng, n_lists = np.random.default_rng(0), _n_lists(items)
    sample = np.sort(rng.choice(n, min(n, 64 * n_lists), replace=False))
    index.train(items.features[sample].astype(np.float32))
    for start in range(0, n, _CHUNK_ROWS):
        index.add(items.features[start : start + _CHUNK_ROWS].astype(np.float32))
    lists = faiss.extract_index_ivf(index)

    def search(feature: np.ndarray, code: np.ndarray, k: int, s: Setting) -> np.ndarray:
        del code
        lists.nprobe = min(s["nprobe"], n_lists)
        index.k_factor = s["k_factor"]
        return index.search(feature[None], k)[1][0]

    def n_bytes(s: Setting) -> float:
        return min(s["nprobe"] / n_lists, 1) * n * d / 8 + s["k_factor"] * K * 2 * d

    settings = sorted(grid(nprobe=_N_PROBE, k_factor=_FACTORS), key=n_bytes)
    return Method(search, settings, bytes_of(index), "features")


def flat(items: Items) -> Method:
    """The linear scan of all features, in float32."""
    index = faiss.IndexFlatIP(items.features.shape[1])
    for start in range(0, len(items.features), _CHUNK_ROWS):
        index.add(items.features[start : start + _CHUNK_ROWS].astype(np.float32))
    return Method(
        lambda f, c, k, s: index.search(f[None], k)[1][0],
        [{}],
        4.0 * index.d,
        "features",
    )
