"""What an index is to a comparison: a query in, ids out, at settings from cheap to thorough."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import faiss
import numpy as np

from vsa.index.model import Model
from vsa.study.index.float_lists import FloatLists, make_float_lists

Setting = dict[str, Any]
Search = Callable[[np.ndarray, np.ndarray, int, Setting], np.ndarray]


@dataclass(frozen=True)
class Items:
    """What is indexed; item i has id i."""

    features: np.ndarray  # float16 (n, d)
    codes: np.ndarray  # uint8 (n, n_bits / 8)
    model: Model

    @cached_property
    def float_lists(self) -> FloatLists:
        """Of at most as many centroids as the model has lists; made when first asked for."""
        return make_float_lists(self.features, self.model.lists.centroids)

    @property
    def has_float_lists(self) -> bool:
        """Whether they are made."""
        return "float_lists" in vars(self)


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
    # numbers of settings that are doubled past these where they do not suffice, and their limits
    most: Mapping[str, int] = field(default_factory=dict)
    saved_s: float = 0.0  # of its building, which another peer's had done for it


def grid(**values: Sequence[int | str]) -> list[Setting]:
    """All settings with one of the values of each name; the last name changes fastest."""
    return [
        dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())
    ]


def bytes_of(index: faiss.Index | faiss.IndexBinary) -> float:
    """Bytes per item of a faiss index, as its file would have them."""
    written = 0

    def count(block: bytes) -> None:
        nonlocal written
        written += len(block)

    made: Any = faiss  # whose stubs lack it
    writer = made.PyCallbackIOWriter(count)
    if isinstance(index, faiss.IndexBinary):
        faiss.write_index_binary(index, writer)
    else:
        faiss.write_index(index, writer)
    del writer  # its last block is written now
    return written / max(1, index.ntotal)
