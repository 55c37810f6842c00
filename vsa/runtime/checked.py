"""Files that say themselves whether they are whole: JSON, and folders with a manifest."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vsa.runtime.errors import InputError

MANIFEST = "checksums.json"
INDEX = "index.json"  # in an index's folder, which changes while it is used and checks itself …
CHANGING = ("rows",)  # … as do these folders
CHECKED_AT_OPENING = 2**26  # bytes; larger files are checked by `verify` only
CURE = "Make it again, or restore it from a copy"


def file_checksum(path: Path) -> int:
    """CRC-32 of a file's content."""
    value = 0
    with path.open("rb") as stream:
        while chunk := stream.read(2**22):
            value = zlib.crc32(chunk, value)
    return value


def flush(path: Path) -> None:
    """Make sure that a file, or a folder's list of files, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_facts(path: Path) -> dict[str, int]:
    """Bytes and CRC-32 of a file, as manifests have them."""
    return {"bytes": path.stat().st_size, "crc32": file_checksum(path)}


def check_file(path: Path, facts: dict[str, int], *, check_all: bool) -> None:
    """Raise InputError unless the file is the one that `file_facts` described.

    Its content is read if `check_all` is set, or if it is at most 64 MiB long.
    """
    if not path.is_file() or path.stat().st_size != facts["bytes"]:
        raise InputError("the file is missing or truncated", cure=CURE, file=path)
    if check_all or facts["bytes"] <= CHECKED_AT_OPENING:
        try:
            is_same = file_checksum(path) == facts["crc32"]
        except OSError as error:
            raise cannot_read(path, error) from None
        if not is_same:
            raise InputError("the file's checksum is wrong", cure=CURE, file=path)


def cannot_read(path: Path, error: OSError) -> InputError:
    """What to say of a file that is there, and that the system does not give."""
    return InputError(
        f"the file cannot be read ({error.strerror or error})",
        cure="See who owns it, and how many files are open",
        file=path,
    )


# JSON ------------------------------------------------------------------------------------------


def write_checked_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON beside its own checksum."""
    text = json.dumps(content, sort_keys=True)
    path.write_text(json.dumps({"crc32": zlib.crc32(text.encode()), "content": content}, indent=1))


def read_checked_json(path: Path) -> dict[str, Any]:
    """Read what `write_checked_json` wrote; raises InputError if that is not what is there."""
    try:
        both = json.loads(path.read_text(encoding="utf-8"))
        content = both["content"]
        if zlib.crc32(json.dumps(content, sort_keys=True).encode()) == both["crc32"]:
            return content
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        pass
    except OSError as error:  # it is there: whoever is told that it is not makes it anew
        raise cannot_read(path, error) from None
    raise InputError("the file is missing or damaged", cure=CURE, file=path)


# Folders ---------------------------------------------------------------------------------------


def write_manifest(folder: Path, target: Path | None = None) -> None:
    """Note size and checksum of all files below a folder, but hidden files and what changes in it.

    It goes into the folder, or to `target`.
    """
    files = {name: file_facts(folder / name) for name in sorted(_files(folder))}
    indexes = sorted(path.parent.name for path in folder.glob(f"*/{INDEX}"))
    write_checked_json(target or folder / MANIFEST, {"files": files, "indexes": indexes})


def check_manifest(folder: Path, *, check_all: bool = False) -> int:
    """The number of files in a folder's manifest, each of which is whole.

    Contents of files above 64 MiB are read with `check_all` only. Raises InputError for the
    first file, the manifest too, that is missing, truncated or changed.
    """
    content = read_checked_json(folder / MANIFEST)
    for name, facts in content["files"].items():
        check_file(folder / name, facts, check_all=check_all)
    for name in content["indexes"]:
        if not (folder / name / INDEX).is_file():
            raise InputError("there is no index here any more", cure=CURE, file=folder / name)
    return len(content["files"])


def _changes(folder: Path) -> bool:
    return folder.name in CHANGING or (folder / INDEX).is_file()


def _files(folder: Path) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        if Path(place) == folder:
            folders[:] = [name for name in folders if not _changes(folder / name)]
        for name in names:
            relative = (Path(place) / name).relative_to(folder).as_posix()
            if relative != MANIFEST and not name.startswith("."):
                yield relative
