"""Graphs of usearch, asked by code or by feature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from usearch.index import Index as UsearchIndex

from vsa.study.index.method import Items, Method, Setting, grid


def usearch_codes(items: Items) -> Method:
    """Usearch's graph over the codes."""
    index = UsearchIndex(ndim=items.model.codec.n_bits, metric="hamming", dtype="b1")
    return _graph(index, items.codes, "codes")


def usearch_features(dtype: str) -> Callable[[Items], Method]:
    """Usearch's graph over features, kept as ``f16`` or ``i8``."""

    def build(items: Items) -> Method:
        index = UsearchIndex(ndim=items.features.shape[1], metric="ip", dtype=dtype)
        return _graph(index, items.features, "features")

    return build


def _graph(index: Any, vectors: np.ndarray, ranks_by: str) -> Method:
    """A graph of usearch over codes or features."""
    index.add(np.arange(len(vectors)), vectors, threads=1)  # with more, no two graphs are equal

    def search(feature: np.ndarray, code: np.ndarray, k: int, s: Setting) -> np.ndarray:
        index.expansion_search = s["expansion"]
        asked = code if ranks_by == "codes" else feature
        return index.search(asked, k, threads=1).keys.astype(np.int64)

    settings = grid(expansion=(64, 96, 128, 192, 256, 384, 512, 1024))
    n_bytes = index.serialized_length / len(vectors)
    return Method(search, settings, n_bytes, ranks_by, most={"expansion": len(vectors)})
