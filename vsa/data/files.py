"""Many image files at once: work on each in threads, and a key that changes with them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import PIL
from joblib import cpu_count

from vsa.data import decoding
from vsa.runtime.fingerprint import Versions, key
from vsa.runtime.progress import progress
from vsa.runtime.workers import stand_aside

_S = TypeVar("_S")
_T = TypeVar("_T")


def absolute(root: Path, paths: Sequence[str]) -> list[str]:
    """Where the files of a table lie. As text: there are tens of thousands, and Paths are slow."""
    base = str(root.absolute())
    return [os.path.join(base, path) for path in paths]


def in_threads(
    work: Callable[[_S], _T], files: Sequence[_S], description: str, *, aside: bool = False
) -> Iterator[_T]:
    """``work`` of each file, in order, in as many threads as there are cores.

    Decoders release the interpreter lock, and unlike processes threads need no start-up, no
    pickling and no guarded ``__main__``. With `aside`, other threads go first.
    """
    with ThreadPoolExecutor(cpu_count(), initializer=stand_aside if aside else None) as pool:
        yield from progress(pool.map(work, files), description, len(files))


def fingerprint_files(files: Sequence[str], **parameters: object) -> str:
    """Changes with the files (by path and state) and parameters, with Pillow, and how we decode.

    The state holds the time of its last change too, which nobody can set back.
    """
    states: list[tuple[str | int, ...]] = []
    for file in files:
        try:
            status = os.stat(file)
        except (OSError, ValueError):
            states.append((file,))
        else:
            times = status.st_mtime_ns, status.st_ctime_ns
            states.append((file, status.st_size, *times, status.st_mode))
    versions: Versions = {"decoding": decoding.VERSION, "pillow": PIL.__version__}
    return key(versions, files=states, formats=decoding.FORMATS, **parameters)
