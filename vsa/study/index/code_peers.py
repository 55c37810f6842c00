"""Peers that rank by code: faiss's binary indexes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import faiss
import numpy as np

from vsa.study.index.grids import N_EXAMINED, N_PROBE
from vsa.study.index.method import Items, Method, Setting, bytes_of, grid


def _binary(index: faiss.IndexBinary) -> Callable[[np.ndarray, int], np.ndarray]:
    return lambda code, k: index.search(code[None], k)[1][0]


def binary_flat(items: Items) -> Method:
    """The linear scan of all codes."""
    index = faiss.IndexBinaryFlat(items.model.codec.n_bits)
    index.add(items.codes)
    ask = _binary(index)
    return Method(lambda f, c, k, s: ask(c, k), [{}], bytes_of(index), "codes")


def binary_ivf(items: Items) -> Method:
    """Inverted lists around the codes of the same centroids, which are scanned."""
    quantizer = faiss.IndexBinaryFlat(items.model.codec.n_bits)
    return _lists_of_codes(items, quantizer)


def binary_ivf_hnsw(items: Items) -> Method:
    """The same lists, found through a graph of their centroids."""
    quantizer = faiss.IndexBinaryHNSW(items.model.codec.n_bits, 32)
    return _lists_of_codes(items, quantizer)


def _lists_of_codes(items: Items, quantizer: Any) -> Method:
    """Categories are not used."""
    has_graph = isinstance(quantizer, faiss.IndexBinaryHNSW)
    lists = items.model.lists
    quantizer.add(lists.codes)
    index = faiss.IndexBinaryIVF(quantizer, items.model.codec.n_bits, len(lists))
    index.is_trained = True
    index.add(items.codes)
    ask = _binary(index)

    def search(feature: np.ndarray, code: np.ndarray, k: int, s: Setting) -> np.ndarray:
        del feature
        index.nprobe = min(s["nprobe"], len(lists))
        if has_graph:  # as many centroids are looked at, for each that is wanted
            quantizer.hnsw.efSearch = s["ef"] * index.nprobe
        return ask(code, k)

    settings = grid(**{"ef": N_EXAMINED} if has_graph else {}, nprobe=N_PROBE)
    return Method(search, settings, bytes_of(index), "codes", most={"nprobe": len(lists)})


def binary_hnsw(items: Items) -> Method:
    """A graph over the codes."""
    index = faiss.IndexBinaryHNSW(items.model.codec.n_bits, 16)
    index.hnsw.efConstruction = 80
    index.add(items.codes)
    ask = _binary(index)

    def search(feature: np.ndarray, code: np.ndarray, k: int, s: Setting) -> np.ndarray:
        del feature
        index.hnsw.efSearch = s["efSearch"]
        return ask(code, k)

    settings = [{"efSearch": ef} for ef in (64, 128, 256, 512, 1024)]
    return Method(search, settings, bytes_of(index), "codes", most={"efSearch": index.ntotal})


def binary_multihash(items: Items) -> Method:
    """Hash tables of parts of the codes, probed by flipping bits."""
    n_bits = min(24, max(8, int(np.log2(len(items.codes)))))
    index = faiss.IndexBinaryMultiHash(items.model.codec.n_bits, 8, n_bits)
    index.add(items.codes)
    ask = _binary(index)

    def search(feature: np.ndarray, code: np.ndarray, k: int, s: Setting) -> np.ndarray:
        del feature
        index.nflip = s["nflip"]
        return ask(code, k)

    return Method(
        search,
        [{"nflip": n} for n in (0, 1, 2)],
        bytes_of(index),
        "codes",
        most={"nflip": n_bits},
    )
