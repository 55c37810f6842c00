"""A base: the immutable part of an index, in files that are mapped into memory and not read.

Items are sorted by list, then by id, so a list is a run of rows: its codes are scanned in one go,
and the features of its candidates lie close together on disk. Codes are scanned for every query
and belong in memory; features are touched only for candidates, and may stay on disk. Of all codes
the first 64 bits come first, then the next 64: so one instruction compares several items.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from vsa.index.codec import STORED
from vsa.runtime.atomic import atomic_dir
from vsa.runtime.checked import check_file, file_facts, flush, read_checked_json, write_checked_json
from vsa.runtime.errors import InputError
from vsa.runtime.system import not_written

FORMAT = 2
_ARRAYS = ("codes", "features", "ids", "offsets", "by_id")
FILES = ("manifest.json", *(f"{name}.npy" for name in _ARRAYS))
_CHUNK_ROWS = 2**17
# np.load parses a file's header as Python, which early 3.11 cannot do in two threads at once
# (python/cpython#106905).
READING = threading.Lock()


@dataclass(frozen=True)
class Base:
    """N items in L lists; arrays of a base on disk are mapped."""

    name: str  # of its folder; empty in memory
    codes: np.ndarray  # uint64 (n_words, N)
    features: np.ndarray  # float16 (N, d)
    ids: np.ndarray  # int64 (N,)
    offsets: np.ndarray  # int64 (L + 1,): list l is rows offsets[l] to offsets[l + 1]
    by_id: np.ndarray  # uint32 (N,): rows in the order of their ids

    def __len__(self) -> int:
        return len(self.ids)

    def rows_of(self, ids: np.ndarray) -> np.ndarray:
        """Row of each id, int64; −1 where the base does not have it."""
        if not len(self):
            return np.full(len(ids), -1)
        # halved by hand: np.searchsorted would widen `by_id`, all of it, at every call
        place, step = np.zeros(len(ids), np.int64), 1 << len(self).bit_length()
        while step > 1:
            step //= 2
            further = np.minimum(place + step, len(self))
            place = np.where(self.ids[self.by_id[further - 1]] < ids, further, place)
        rows = self.by_id[np.minimum(place, len(self) - 1)].astype(np.int64)
        return np.where(self.ids[rows] == ids, rows, -1)


def base_in_memory(
    ids: np.ndarray,
    lists: np.ndarray,
    n_lists: int,
    rows_of: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
) -> Base:
    """As `write_base`, in arrays of this process."""
    order, by_id, offsets = _arranged(ids, lists, n_lists)
    codes, features = rows_of(order)
    return Base("", np.ascontiguousarray(codes.T), features, ids[order], offsets, by_id)


def write_base(
    folder: Path,
    ids: np.ndarray,
    lists: np.ndarray,
    n_lists: int,
    rows_of: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
) -> None:
    """Write a base that is complete or absent, and on the disk once this returns.

    `ids` and `lists`, int64 (n,), say what there is and where it goes; `rows_of` returns codes,
    uint64 (m, n_words), and features of the items at the given positions, and is asked for a
    chunk at a time. The folder
    around it must exist. Raises InputError when the disk is full, having removed what was written.
    """
    try:
        with atomic_dir(folder, manifest=False, make_parents=False) as draft:
            _write_arrays(draft, ids, lists, n_lists, rows_of)
            manifest = {
                "format": FORMAT,
                "n_items": len(ids),
                "files": {name: file_facts(draft / f"{name}.npy") for name in _ARRAYS},
            }
            write_checked_json(draft / "manifest.json", manifest)
            for path in (*draft.iterdir(), draft):
                flush(path)
    except OSError as error:
        raise not_written(folder, error) from error
    flush(folder.parent)


def _arranged(
    ids: np.ndarray, lists: np.ndarray, n_lists: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Items sorted by list, then id; `Base.by_id`; `Base.offsets`."""
    order = np.lexsort((ids, lists))
    by_id = np.argsort(ids[order], kind="stable").astype(np.uint32)
    offsets = np.zeros(n_lists + 1, np.int64)
    np.cumsum(np.bincount(lists, minlength=n_lists), out=offsets[1:])
    return order, by_id, offsets


def _write_arrays(
    draft: Path,
    ids: np.ndarray,
    lists: np.ndarray,
    n_lists: int,
    rows_of: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
) -> None:
    n = len(ids)
    order, by_id, offsets = _arranged(ids, lists, n_lists)
    np.save(draft / "ids.npy", np.asarray(ids, np.int64)[order])
    np.save(draft / "by_id.npy", by_id)
    np.save(draft / "offsets.npy", offsets)
    # written, not mapped: a full disk is an error here and would be a crash there
    with (draft / "codes.npy").open("wb") as words, (draft / "features.npy").open("wb") as rows:
        for start in range(0, max(n, 1), _CHUNK_ROWS):
            codes, features = rows_of(order[start : start + _CHUNK_ROWS])
            if not start:
                _write_header(words, np.uint64, (codes.shape[1], n))
                _write_header(rows, STORED, (n, features.shape[1]))
                first = words.tell()
            for word, column in enumerate(np.ascontiguousarray(codes.T, np.uint64)):
                words.seek(first + 8 * (word * n + start))
                words.write(column.tobytes())
            rows.write(np.ascontiguousarray(features, STORED).tobytes())


def _write_header(stream: BinaryIO, dtype: type, shape: tuple[int, ...]) -> None:
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)


def open_base(folder: Path, *, check_all: bool = False) -> Base:
    """Map the files of a base.

    Sizes are checked always, contents of files up to 64 MiB at once and of all with `check_all`.
    Raises InputError for a file that is missing, truncated, changed, or of another format.
    """
    manifest = read_checked_json(folder / "manifest.json")
    if manifest.get("format") != FORMAT:
        raise InputError(
            f"the index has format {manifest.get('format')!r}, not {FORMAT}",
            cure="Build it again with this version of vsa",
            file=folder,
        )
    arrays = {}
    for name in _ARRAYS:
        path = folder / f"{name}.npy"
        check_file(path, manifest["files"][name], check_all=check_all)
        empty = manifest["n_items"] == 0 and name != "offsets"  # nothing to map
        with READING:
            arrays[name] = np.load(path, mmap_mode=None if empty else "r").view(np.ndarray)
    return Base(folder.name, **arrays)
