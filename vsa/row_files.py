"""Rows of an engine's catalogue on the disk: what was built, and each change since.

A part is a file that never changes; its name says which changes it holds, and its checksum:
``00000000-00000000-5f3a9c01.arrow`` is what was built, the next ones are a change each, and
compaction writes one that holds all of them. A change counts once the index has its items; so one
that was interrupted on its way there never happened.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from vsa.rows import Part
from vsa.runtime.checked import CHECKED_AT_OPENING, CURE, cannot_read, file_checksum, flush
from vsa.runtime.errors import InputError
from vsa.runtime.system import not_written

FOLDER = "rows"  # in an engine's
_DRAFT = ".draft.arrow"
_NAME = re.compile(r"(\d{8,})-(\d{8,})-([0-9a-f]{8})\.arrow")
_REMOVED, _FORGOTTEN, _NEXT = b"vsa.removed", b"vsa.forgotten", b"vsa.next"


@dataclass(frozen=True)
class PartFile:
    """A file of rows: changes `first` to `last`; change 0 is what was built."""

    first: int
    last: int
    path: Path


def write_part(engine: Path, first: int, last: int, part: Part) -> Path:
    """Write a part, complete or not at all, and on the disk once this returns.

    Raises InputError when the disk is full.
    """
    folder = engine / FOLDER
    draft = folder / _DRAFT
    facts = {
        _REMOVED: part.removed.tobytes(),
        _FORGOTTEN: json.dumps(part.forgotten).encode(),
        _NEXT: str(part.next_item).encode(),
    }
    table = part.table.replace_schema_metadata(facts)
    try:
        folder.mkdir(exist_ok=True)
        try:
            with draft.open("wb") as stream, pa.ipc.new_file(stream, table.schema) as writer:
                writer.write_table(table, max_chunksize=max(1, len(table)))
            flush(draft)
            name = f"{first:08d}-{last:08d}-{file_checksum(draft):08x}.arrow"
            os.rename(draft, folder / name)
        finally:
            draft.unlink(missing_ok=True)
        flush(folder)
    except OSError as error:
        raise not_written(folder, error) from error
    return folder / name


def read_part(file: PartFile, *, check_all: bool = False) -> Part:
    """Map a part; raises InputError for a damaged one, FileNotFoundError where there is none.

    Contents of files above 64 MiB are read with `check_all` only.
    """
    path = file.path
    try:
        if check_all or path.stat().st_size <= CHECKED_AT_OPENING:
            _check(path)
        with pa.memory_map(str(path)) as mapped:
            table = pa.ipc.open_file(mapped).read_all()
    except FileNotFoundError:
        raise
    except pa.ArrowException:
        raise InputError("the file is damaged", cure=CURE, file=path) from None
    except OSError as error:
        raise cannot_read(path, error) from None
    facts = table.schema.metadata
    removed = np.frombuffer(facts[_REMOVED], np.int64)
    forgotten = tuple(json.loads(facts[_FORGOTTEN]))
    return Part(table.replace_schema_metadata(None), removed, forgotten, int(facts[_NEXT]))


def _check(path: Path) -> None:
    if f"{file_checksum(path):08x}" != path.stem.rpartition("-")[2]:
        raise InputError("the file's checksum is wrong", cure=CURE, file=path)


def part_files(engine: Path) -> list[PartFile]:
    """The files that together hold all changes, in order; others stand for the same and may go.

    Raises InputError where one is missing.
    """
    found = _all_files(engine)
    chain: list[PartFile] = []
    while following := [file for file in found if file.first == _next(chain)]:
        chain.append(max(following, key=lambda file: file.last))
    if not chain or any(file.first > chain[-1].last for file in found):
        raise InputError(
            f"rows of change {_next(chain)} are missing", cure=CURE, file=engine / FOLDER
        )
    return chain


def remove_others(engine: Path, kept: Sequence[PartFile]) -> None:
    """Remove the files of an engine that are none of these."""
    wanted = {file.path.name for file in kept}
    others = [name for name in os.listdir(engine / FOLDER) if name not in wanted]
    for name in others:
        (engine / FOLDER / name).unlink(missing_ok=True)
    if others:
        flush(engine / FOLDER)


def _all_files(engine: Path) -> list[PartFile]:
    try:
        names = os.listdir(engine / FOLDER)
    except (FileNotFoundError, NotADirectoryError):
        return []
    matches = [_NAME.fullmatch(name) for name in names]
    return [
        PartFile(int(match[1]), int(match[2]), engine / FOLDER / match[0])
        for match in matches
        if match
    ]


def _next(chain: Sequence[PartFile]) -> int:
    return chain[-1].last + 1 if chain else 0
