"""Peers that rank by feature: faiss's inverted lists of several codes, refined, and its scan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import faiss
import numpy as np

from vsa.study.index.grids import FACTORS, N_EXAMINED, N_PROBE
from vsa.study.index.method import Items, Method, Setting, bytes_of, grid
from vsa.study.index.timing import K

_CHUNK_ROWS = 2**18
_N_SAMPLE = 2**15  # features that codes are trained by
_N_SCANNED = 2**13  # centroids that many items at once are compared with as fast as by a graph


def ivf_rabitq(
    refinement: str, kind: str = "RaBitQ", quantizer: str = "_HNSW32"
) -> Callable[[Items], Method]:
    """RaBitQ codes in inverted lists, refined by features in memory.

    `refinement` says how these are kept, as ``Refine(SQfp16)``; `kind` is ``RaBitQ``, or
    ``RaBitQfs`` for blocks of 32 codes that are scanned at once; with an empty `quantizer` all
    centroids are compared.
    """

    def build(items: Items) -> Method:
        # RaBitQ counts on a random rotation
        rotation = f"RR{items.features.shape[1]},"
        return _refined(items, f"{rotation}IVF{{}}{quantizer},{kind},{refinement}")

    return build


def ivf_pq(items: Items) -> Method:
    """Product quantisation of 4 bits, scanned in blocks of 32, refined by float32 features."""
    d = items.features.shape[1]
    return _refined(items, f"IVF{{}}_HNSW32,PQ{max(1, d // 2)}x4fs,RFlat")


def _refined(items: Items, spec: str) -> Method:
    """What faiss's factory makes of a description, on the lists that all peers have."""
    saved_s = items.float_lists.seconds if items.has_float_lists else 0.0
    centroids = items.float_lists.centroids
    n, d = items.features.shape
    n_lists = len(centroids)
    index: Any = faiss.index_factory(d, spec.format(n_lists), faiss.METRIC_INNER_PRODUCT)
    lists: Any = faiss.extract_index_ivf(index)
    base: Any = faiss.downcast_index(index.base_index)
    sample = np.linspace(0, n - 1, min(n, _N_SAMPLE)).astype(np.int64)
    trained_by = items.features[sample].astype(np.float32)
    if isinstance(base, faiss.IndexPreTransform):
        chain: Any = base.chain
        rotation: Any = faiss.downcast_VectorTransform(chain.at(0))
        rotation.train(trained_by)
        centroids = rotation.apply(centroids)
    quantizer: Any = faiss.downcast_index(lists.quantizer)
    quantizer.add(centroids)  # so faiss looks for none of its own
    has_graph = isinstance(quantizer, faiss.IndexHNSW)
    if has_graph and n_lists <= _N_SCANNED:  # items are put into the very nearest list
        exact = faiss.IndexFlatIP(d)
        exact.add(centroids)
        lists.quantizer = exact
    index.train(trained_by)
    for start in range(0, n, _CHUNK_ROWS):
        index.add(items.features[start : start + _CHUNK_ROWS].astype(np.float32))
    lists.quantizer = quantizer

    def search(feature: np.ndarray, code: np.ndarray, k: int, s: Setting) -> np.ndarray:
        del code
        lists.nprobe = min(s["nprobe"], n_lists)
        index.k_factor = s["k_factor"]
        if "ef" in s:
            quantizer.hnsw.efSearch = s["ef"] * lists.nprobe
        return index.search(feature[None], k)[1][0]

    def n_bytes(s: Setting) -> float:
        return min(s["nprobe"] / n_lists, 1) * n * d / 8 + s["k_factor"] * K * 2 * d

    settings = grid(**{"ef": N_EXAMINED} if has_graph else {}, nprobe=N_PROBE, k_factor=FACTORS)
    return Method(
        search,
        sorted(settings, key=n_bytes),
        bytes_of(index),
        "features",
        most={"nprobe": n_lists, "k_factor": -(-n // K)},
        saved_s=saved_s,
    )


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
