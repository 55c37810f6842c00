"""All that lies below a folder: its pictures, and what is left out, with the reason."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from vsa.runtime.errors import InputError

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jif"),
    *(".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".avif", ".heic", ".heif"),
)
SKIPPED, UNREADABLE = "skipped", "unreadable"


@dataclass(frozen=True)
class Listing:
    """Every entry below a folder is in one of the two tables, folders by what is in them."""

    folder: Path  # links followed
    pictures: pd.DataFrame  # id (int64), name, stamp, path (Path)
    left_out: pd.DataFrame  # name, what (skipped or unreadable), reason


def list_pictures(folder: str | Path) -> Listing:
    r"""List pictures by their suffix; hidden files and folders are skipped.

    Names are relative to the folder, with ``/``; bytes of a name that are not UTF-8 are written
    as ``\xe9``. Folders that links lead to are listed too, each once. A stamp changes with the
    file: by size, times and place on the disk. Raises InputError if there is no such folder.
    """
    top = Path(os.path.realpath(folder))
    if not top.is_dir():
        raise InputError("there is no such folder", cure="Name a folder of pictures", file=folder)
    pictures, left_out = [], []
    for path, reason, what in _walk(top):
        raw = os.fsencode(path.relative_to(top).as_posix())
        name = as_text(raw)
        if what:
            left_out.append((name, what, reason))
        else:
            number = int(hashlib.sha256(raw).hexdigest()[:15], 16)
            pictures.append((number, name, reason, path))
    found = pd.DataFrame(pictures, columns=["id", "name", "stamp", "path"], dtype=object)
    others = pd.DataFrame(left_out, columns=["name", "what", "reason"], dtype="str")
    return Listing(top, found.astype({"id": "int64", "name": "str", "stamp": "str"}), others)


def as_text(name: bytes) -> str:
    """A name as text; no two names become one."""
    return name.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def _walk(top: Path) -> Iterator[tuple[Path, str, str]]:
    """Each entry: its path; its stamp, or why it is left out; skipped, unreadable or neither."""
    seen: set[tuple[int, int]] = set()
    folders, links = [top], list[Path]()
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)  # links last: other names come first
        try:
            status = os.stat(folder)
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            yield folder, f"the folder cannot be read: {error.strerror}", UNREADABLE
            continue
        if (status.st_dev, status.st_ino) in seen:
            yield folder, "a link to a folder that is listed already", SKIPPED
            continue
        seen.add((status.st_dev, status.st_ino))
        inside = list[Path]()
        for entry in entries:
            if entry.name.startswith("."):
                yield Path(entry.path), "hidden", SKIPPED
            elif not _is_folder(entry):
                yield _file(entry)
            else:
                (links if entry.is_symlink() else inside).append(Path(entry.path))
        folders += reversed(inside)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _file(entry: os.DirEntry[str]) -> tuple[Path, str, str]:
    path = Path(entry.path)
    try:
        status = entry.stat()
    except OSError as error:
        reason = "a link to nothing" if entry.is_symlink() else f"{error.strerror}"
        return path, reason, UNREADABLE
    if not stat.S_ISREG(status.st_mode):
        return path, "not a regular file", SKIPPED
    if path.suffix.lower() not in SUFFIXES:
        suffix = as_text(os.fsencode(path.suffix)) or "no suffix"
        return path, f"not a picture's name ({suffix})", SKIPPED
    state = status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
    return path, " ".join(map(str, state)), ""
