"""Pictures looked at chunk by chunk: by this process, or as tasks of a Ray cluster.

With a folder to keep it, what was found is known by what is in a picture's file; each chunk is on
the disk once it is done, so that work that ended is taken up again.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from vsa.data.files import in_threads
from vsa.runtime.atomic import atomic_file
from vsa.runtime.progress import progress

CHUNK = 1024  # pictures that are in memory at a time
Rows = dict[str, np.ndarray]  # name → an array with a row per picture
Look = Callable[[Sequence[str]], Rows]
_DIGESTS = "digests"


def look_at(
    look: Look, files: Sequence[str], *, keep: Path | None = None, ray: str | None = None
) -> Rows:
    """What `look` finds of files, a row each, in their order.

    Parameters
    ----------
    look : finds the same of a file, whichever others are in its chunk.
    files : absolute paths.
    keep : ``FOLDER/NAME.npz``, where it is kept; beside it, while it grows, ``FOLDER/NAME.parts``.
        Of what is known there by content, nothing is looked at. The name says what `look` is.
    ray : address of a Ray cluster whose nodes look, each at a chunk; None: this process does.

    Raises
    ------
    What `look` raises, and InputError as `vsa.cluster.offline.in_tasks`.
    """
    if keep is None:
        done = dict(_looked(look, _chunks(files), ray))
        return _joined([done[number] for number in range(len(done))])
    digests = list(in_threads(_digest, files, "read pictures"))
    parts = keep.with_suffix(".parts")
    tables = [_read(path) for path in (keep, *sorted(parts.glob("part-*.npz"))) if path.is_file()]
    known = {digest for table in tables for digest in table[_DIGESTS].tolist()}
    missing = {d: file for d, file in zip(digests, files, strict=True) if d not in known}
    if missing or not tables:
        names = _chunks(list(missing))
        for number, rows in _looked(look, _chunks(list(missing.values())), ray):
            table = {_DIGESTS: np.array(names[number], str)} | rows
            _write(parts / f"part-{_name_of(names[number])}.npz", table)
            tables.append(table)
    whole = _joined(tables)
    if len(tables) > 1 or not keep.is_file():
        _write(keep, whole)
        shutil.rmtree(parts, ignore_errors=True)
    place = {digest: row for row, digest in enumerate(whole.pop(_DIGESTS).tolist())}
    order = [place[digest] for digest in digests]
    return {name: array[order] for name, array in whole.items()}


def _looked(look: Look, chunks: list[list[str]], ray: str | None) -> Iterator[tuple[int, Rows]]:
    """Number and result of each chunk, as they come."""
    if ray is None:
        yield from enumerate(map(look, chunks))
        return
    from vsa.cluster.offline import in_tasks  # here: without an address, nothing of Ray is loaded

    yield from progress(in_tasks(look, chunks, ray), "chunks", len(chunks))


def _chunks(names: Sequence[str]) -> list[list[str]]:
    """At least one: what is looked at has columns even if it has no rows."""
    return [list(names[start : start + CHUNK]) for start in range(0, max(1, len(names)), CHUNK)]


def _joined(tables: Sequence[Rows]) -> Rows:
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def _read(path: Path) -> Rows:
    with np.load(path) as kept:
        return dict(kept)


def _write(path: Path, table: Rows) -> None:
    with atomic_file(path) as draft, draft.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **table)


def _digest(file: str) -> str:
    """Of what is in a file; of its name where it cannot be read, which decoding will tell."""
    try:
        return hashlib.blake2b(Path(file).read_bytes(), digest_size=16).hexdigest()
    except OSError:
        return file


def _name_of(digests: Sequence[str]) -> str:
    return hashlib.blake2b("\n".join(digests).encode(), digest_size=8).hexdigest()
