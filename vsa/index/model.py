"""What an index keeps through all updates: its codec, its lists, and facts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vsa.index.base import READING
from vsa.index.codec import Codec, Encoder, words_of
from vsa.index.lists import Lists
from vsa.index.live import no_index
from vsa.runtime.atomic import atomic_file
from vsa.runtime.checked import (
    INDEX,
    file_checksum,
    flush,
    read_checked_json,
    write_checked_json,
)
from vsa.runtime.errors import InputError

FORMAT = 4
_ARRAYS = "model.npz"
_CHUNK_ROWS = 2**16
_OF_LISTS = ("centroids", "codes", "category", "names")


@dataclass(frozen=True)
class Model:
    """How codes are made, and which lists they go to."""

    codec: Encoder
    lists: Lists

    @property
    def n_words(self) -> int:
        """Words of 64 bits that stand for an item: its code, and its factors if it has some."""
        return self.codec.n_bits // 64 + self.is_of_differences

    @property
    def is_of_differences(self) -> bool:
        """Whether codes are of what features differ from the centroids of their lists by."""
        return isinstance(self.codec, Codec) and self.codec.of_differences

    def words(self, features: np.ndarray, lists: np.ndarray) -> np.ndarray:
        """What stands for items, uint64 (n, n_words): of features as stored, in their lists."""
        if not self.is_of_differences:
            return words_of(self.codec.encode(features))
        assert isinstance(self.codec, Codec)
        words = np.empty((len(features), self.n_words), np.uint64)
        for start in range(0, len(features), _CHUNK_ROWS):
            part = slice(start, start + _CHUNK_ROWS)
            centroids = self.lists.centroids[lists[part]]
            codes, factors = self.codec.encode_differences(features[part], centroids)
            words[part] = np.hstack([words_of(codes), factors.view(np.uint64)])
        return words

    @property
    def codec_map(self) -> tuple[np.ndarray, np.ndarray]:
        """The codec's weight, float32 (n_bits, d), and bias (n_bits,); empty if it has none."""
        if isinstance(self.codec, Codec):
            weight, bias = self.codec.weight, self.codec.bias
        else:
            weight, bias = np.empty((0, self.codec.dim)), np.empty(0)
        return np.ascontiguousarray(weight, np.float32), np.ascontiguousarray(bias, np.float32)


def are_equal(first: Model, second: Model) -> bool:
    """Whether all items get the same codes, in the same lists."""
    pairs = [(getattr(first.lists, name), getattr(second.lists, name)) for name in _OF_LISTS]
    if first.is_of_differences != second.is_of_differences:
        return False
    if isinstance(first.codec, Codec) and isinstance(second.codec, Codec):
        pairs += [(getattr(first.codec, n), getattr(second.codec, n)) for n in ("weight", "bias")]
    elif first.codec is not second.codec:
        return False
    return all(np.array_equal(a, b) for a, b in pairs)


def require_storable(codec: Encoder) -> Codec:
    """The codec, if a folder can keep it: as numbers, that any machine can open.

    Raises InputError for one that is no `Codec`: its code would be needed to open the index.
    """
    if isinstance(codec, Codec):
        return codec
    raise InputError(
        "this index's codec is code of somebody's own, which no folder can keep",
        cure="Return a vsa.index.codec.Codec(weight, bias) if its bits are signs of a linear map; "
        "otherwise keep the index in memory",
    )


def write_model(folder: Path, model: Model, facts: dict[str, Any]) -> None:
    """Write both files of a new index."""
    codec, lists = require_storable(model.codec), model.lists
    np.savez(
        folder / _ARRAYS,
        weight=codec.weight,
        bias=codec.bias,
        of_differences=codec.of_differences,
        centroids=lists.centroids,
        centroid_codes=lists.codes,
        category=lists.category,
    )
    _write_facts(folder, facts, list(lists.names))


def read_model(folder: Path) -> tuple[Model, dict[str, Any]]:
    """Model and facts; raises InputError if there is no index here, or if it is damaged."""
    if not (folder / INDEX).is_file():
        raise no_index(folder)
    content = read_checked_json(folder / INDEX)
    if content.get("format") != FORMAT:
        raise InputError(
            f"the index has format {content.get('format')!r}, not {FORMAT}",
            cure="Build it again with this version of vsa",
            file=folder,
        )
    path = folder / _ARRAYS
    if not path.is_file() or file_checksum(path) != content["arrays_crc32"]:
        raise InputError(
            "the file is missing or damaged",
            cure="Build the index again, or restore it from a copy",
            file=path,
        )
    with READING, np.load(path) as arrays:
        codec = Codec(arrays["weight"], arrays["bias"], bool(arrays["of_differences"]))
        names = tuple(content["categories"])
        lists = Lists(arrays["centroids"], arrays["centroid_codes"], arrays["category"], names)
    return Model(codec, lists), content["facts"]


def change_facts(folder: Path, **changes: Any) -> None:
    """Replace some facts of an index."""
    model, facts = read_model(folder)
    _write_facts(folder, facts | changes, list(model.lists.names))


def _write_facts(folder: Path, facts: dict[str, Any], categories: list[str]) -> None:
    content = {
        "format": FORMAT,
        "facts": facts,
        "categories": categories,
        "arrays_crc32": file_checksum(folder / _ARRAYS),
    }
    with atomic_file(folder / INDEX, make_parents=False) as draft:
        write_checked_json(draft, content)
        flush(draft)
    flush(folder)
