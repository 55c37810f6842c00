"""What an index is to a comparison: a query in, ids out, at settings from cheap to thorough."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from vsa.index.model import Model

Setting = dict[str, Any]
Search = Callable[[np.ndarray, np.ndarray, int, Setting], np.ndarray]


@dataclass(frozen=True)
class Items:
    """What is indexed; item i has id i."""

    features: np.ndarray  # float16 (n, d)
    codes: np.ndarray  # uint8 (n, n_bits / 8)
    model: Model


@dataclass(frozen=True)
class Method:
    """An index that has been built.

    ``search(feature, code, k, setting)`` takes float32 (d,) and uint8 (n_bits / 8,) and returns at
    most k ids, best first; −1 stands where there are fewer.
    """

    search: Search
    settings: Sequence[Setting]  # from cheap to thorough
    bytes_per_item: float  # in memory; what stays in mapped files is not counted
    ranks_by: str  # "codes" or "features"
    name: str = ""  # a peer's is the one it is registered by


def grid(**values: Sequence[int | str]) -> list[Setting]:
    """All settings with one of the values of each name; the last name changes fastest."""
    return [
        dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())
    ]


def bytes_of(index: faiss.Index | faiss.IndexBinary) -> float:
    """Bytes per item of a faiss index, as its file has them."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "index")
        if isinstance(index, faiss.IndexBinary):
            faiss.write_index_binary(index, path)
        else:
            faiss.write_index(index, path)
        return Path(path).stat().st_size / max(1, index.ntotal)
