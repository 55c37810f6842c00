"""Git tree hashes: whether a folder holds exactly what was published."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Collection, Mapping
from pathlib import Path

# Litter that file managers leave behind, and a clone's own folder: never part of what was published
LITTER = frozenset({".git", ".DS_Store", "Thumbs.db", "desktop.ini"})


def git_tree_hash(
    folder: Path, exclude: Collection[str] = (), *, executable_bit: bool = True
) -> str:
    """SHA-1 of the git tree object of `folder`, 40 hex digits; what ``git write-tree`` prints.

    Names in `exclude` are left out at every level; folders without files do not count, as in
    git. With ``executable_bit=False`` every file is hashed as mode 100644: drives that know no
    permissions show all files as executable.
    """
    return _tree(folder, frozenset(exclude), executable_bit)[1].hex()


def _tree(folder: Path, exclude: frozenset[str], executable_bit: bool) -> tuple[int, bytes]:
    """Number of entries and digest of one tree."""
    entries: list[tuple[bytes, bytes]] = []  # sort key, record
    with os.scandir(folder) as children:
        for child in children:
            if child.name in exclude:
                continue
            name = sort_key = os.fsencode(child.name)
            if child.is_symlink():
                mode, digest = b"120000", _object(b"blob", os.fsencode(os.readlink(child.path)))
            elif child.is_dir():
                n_entries, digest = _tree(Path(child.path), exclude, executable_bit)
                if n_entries == 0:
                    continue
                mode, sort_key = b"40000", name + b"/"  # git sorts folders as if they ended in /
            elif child.is_file():
                executable = executable_bit and child.stat().st_mode & stat.S_IXUSR
                mode, digest = (b"100755" if executable else b"100644"), _blob(child.path)
            else:  # sockets, pipes, devices: git does not see them either
                continue
            entries.append((sort_key, mode + b" " + name + b"\0" + digest))
    return len(entries), _object(b"tree", b"".join(record for _, record in sorted(entries)))


def _object(kind: bytes, content: bytes) -> bytes:
    header = b"%s %d\0" % (kind, len(content))
    return hashlib.sha1(header + content, usedforsecurity=False).digest()


def _blob(path: str) -> bytes:
    with open(path, "rb") as stream:
        header = b"blob %d\0" % os.fstat(stream.fileno()).st_size
        return hashlib.file_digest(
            stream, lambda: hashlib.sha1(header, usedforsecurity=False)
        ).digest()


def tree_mismatch(folder: Path, trees: Mapping[str, str]) -> str:
    """What distinguishes `folder` from the published trees (sub-folder → git hash); "" if nothing.

    Only names and content are compared: none of the published trees holds executable files.
    """
    for name, expected in trees.items():
        if not (folder / name).is_dir():
            return f"folder {name!r} is missing"
        found = git_tree_hash(folder / name, LITTER, executable_bit=False)
        if found != expected:
            return f"folder {name!r} has git tree {found}, published was {expected}"
    return ""
