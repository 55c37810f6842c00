"""Keys of cached products: they are used again only while what made them gives the same results.

A key holds no source text of this package. Each method declares ``VERSION = n`` in its module, and
raises it when its results change, by more than rounding; so a comment, a new name or one more loss
leaves what was made as it is. ``tests/golden`` fails where results change and the version does not.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import mmap
from collections.abc import Collection, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsa.runtime.atomic import atomic_file
from vsa.runtime.digest import Digest

if TYPE_CHECKING:  # slow to import, and few need them here
    import numpy as np
    import torch

_ROWS = 1024
Versions = dict[str, int | str]


def key(versions: Mapping[str, int | str], **parameters: Any) -> str:
    """12 hex digits of a SHA-256 over what a product rests on.

    Parameters
    ----------
    versions : method → its ``VERSION``, of the method itself and of all that it rests on, however
        far up; library → its version, see `libraries`.
    parameters : settings and checksums of the data: plain values, paths, arrays of NumPy, data
        classes of these. Raises TypeError for anything else, which may print differently tomorrow.
    """
    plain = {"versions": dict(versions), "parameters": parameters}
    text = json.dumps(plain, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def libraries(*names: str) -> Versions:
    """Installed packages and their versions; builds of one version (+cpu, +cu128) count as one."""
    found: Versions = {}
    for name in names:
        try:
            found[name] = version(name).split("+")[0]
        except PackageNotFoundError:
            found[name] = "none"
    return found


def _plain(value: object) -> object:

    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if hasattr(value, "tolist"):  # of NumPy, which need not be imported for this
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a key cannot hold a {type(value).__qualname__}: give its version or checksum")


def source_digest(thing: object, own: Collection[str] = ()) -> str:
    """12 hex digits of a SHA-256 over all that somebody's function, class or object rests on.

    That is the source of what is in files and notebooks of theirs, and values: constants, defaults,
    closures, fields, arrays. What is of this package, of Python and of installed packages counts by
    name and fields. Raises InputError for what has no source, or no content that lasts.

    Parameters
    ----------
    own : names of installed packages that count as somebody's files, too.
    """
    return Digest(own)(thing).hex()[:12]


def checksum(array: np.ndarray) -> str:
    """12 hex digits of a SHA-256 over an array's shape, type and values, mapped or not.

    Of a whole file mapped to be read it is noted beside the file, and taken from there while the
    file is the same one and has not changed.
    """
    file = _mapped_file(array)
    if file is None:
        return _checksum(array)
    state = _state(file)  # before its content is read: a change meanwhile makes the note useless
    note = file.with_name(f"{file.name}.checksum.json")
    with suppress(OSError, ValueError, KeyError, TypeError):
        noted = json.loads(note.read_text(encoding="utf-8"))
        if noted["state"] == state:
            return str(noted["checksum"])
    found = _checksum(array)
    with suppress(OSError), atomic_file(note) as draft:  # without it, it is computed again
        draft.write_text(json.dumps({"state": state, "checksum": found}), encoding="utf-8")
    return found


def _mapped_file(array: np.ndarray) -> Path | None:
    """The file that an array maps as a whole, only to read it; None of any other array."""
    is_whole = isinstance(getattr(array, "base", None), mmap.mmap)  # views have arrays as bases
    if not is_whole or getattr(array, "mode", "") != "r":
        return None
    file = Path(str(getattr(array, "filename", "")))
    return file if file.is_file() else None


def _state(file: Path) -> list[int]:
    status = file.stat()
    return [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _checksum(array: np.ndarray) -> str:
    digest = hashlib.sha256(f"{array.shape} {array.dtype}".encode())
    for start in range(0, len(array), _ROWS):
        digest.update(array[start : start + _ROWS].tobytes())
    return digest.hexdigest()[:12]


def state_digest(state: Mapping[str, torch.Tensor]) -> str:
    """12 hex digits of a SHA-256 over the names and values of a network's weights."""
    digest = hashlib.sha256()
    for name, value in state.items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]
