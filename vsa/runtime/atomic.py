"""Folders and files that are replaced as a whole: whatever interrupts it, the old one or the new.

A draft is made beside the target and takes its place in one step. Where the system cannot exchange
two folders in one step (Linux can, on local disks), the old one is moved aside and, on any failure,
back; `settled` moves it back for whoever comes after a process that was killed in between.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vsa.runtime.checked import write_manifest
from vsa.runtime.errors import InputError

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of Linux's renameat2
_NAME_CHARACTERS = 40  # of the target's name in its draft's: names end at 255 bytes
_YOUNG_S = 60


@contextmanager
def atomic_dir(
    target: Path,
    *,
    marker: str | None = None,
    manifest: bool = True,
    make_parents: bool = True,
) -> Iterator[Path]:
    """Yield an empty folder beside `target`; it replaces `target` on success, else it goes.

    Parameters
    ----------
    target : a link is followed: what it leads to is replaced.
    marker : a file that every such folder has; one without it is somebody else's, and stays.
    manifest : note checksums of all files, as `checked.check_manifest` expects them.
    make_parents : make the folders that lead to it, too.

    Raises
    ------
    InputError, before anything is done, for a target that cannot be replaced (see
    `require_replaceable`); OSError if the new folder cannot take its place, and the old one is
    then what it was.
    """
    target = require_replaceable(target, marker)
    if make_parents:
        target.parent.mkdir(parents=True, exist_ok=True)
    settled(target)
    _remove_abandoned(target)
    draft = Path(tempfile.mkdtemp(prefix=_prefix(target), dir=target.parent))
    try:
        with _claimed(draft, os.O_RDONLY):
            yield draft
            if manifest:
                write_manifest(draft)
            draft.chmod(0o755)
            replace_dir(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def atomic_file(target: Path, *, make_parents: bool = True) -> Iterator[Path]:
    """Yield a path beside `target`; it replaces `target` on success, else it goes.

    A link is followed. Raises OSError if the new file cannot take its place; the old one is then
    what it was.
    """
    target = Path(os.path.realpath(target))
    if make_parents:
        target.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(target)
    handle, name = tempfile.mkstemp(prefix=_prefix(target), suffix=target.suffix, dir=target.parent)
    os.close(handle)
    draft = Path(name)
    try:
        with _claimed(draft, os.O_RDWR):
            yield draft
            draft.chmod(0o644)
            os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)


def require_replaceable(folder: Path, marker: str | None = None) -> Path:
    """The folder that would be replaced, links followed and names resolved.

    Raises InputError, with the true reason, if another folder cannot take its place: it is no
    folder, a mount point, where somebody stands, in a folder that may not be written to, or it
    holds things and lacks the file `marker`.
    """
    target = Path(os.path.realpath(folder))
    here = _current_folder()
    if os.path.lexists(target) and (os.path.islink(target) or not target.is_dir()):
        raise InputError("this is not a folder", cure="Name another one", file=folder)
    if here is not None and (target == here or target in here.parents):
        raise InputError(
            "this is the folder you are in, or above it, and would be replaced",
            cure="Name a folder of its own",
            file=folder,
        )
    if _is_mount_point(target):
        raise InputError(
            "this is a mount point, which no other folder can take the place of",
            cure=f"Name a folder in it, such as {target / 'new'}",
            file=folder,
        )
    is_known = marker is None or (target / marker).is_file()
    if not is_known and target.is_dir() and any(target.iterdir()):
        raise InputError(
            f"this folder holds other things (it has no {marker}), which would be lost",
            cure="Name a folder that does not exist yet",
            file=folder,
        )
    parent = next(parent for parent in target.parents if os.path.lexists(parent))
    if not parent.is_dir():
        raise InputError(f"{parent} is not a folder", cure="Name another one", file=folder)
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(
            f"{parent} may not be written to", cure="See who owns it, or name another folder"
        )
    return target


def replace_dir(draft: Path, target: Path) -> None:
    """Let a complete folder take the place of another, or of none, on the same disk.

    Raises OSError if that is not possible; `target` is then what it was, and `draft` is left.
    """
    if not os.path.lexists(target):
        os.rename(draft, target)
    elif _exchange(draft, target):
        shutil.rmtree(draft, ignore_errors=True)  # it is the old one now
    else:
        _replace_in_two_steps(draft, target)


def _replace_in_two_steps(draft: Path, target: Path) -> None:
    aside = _aside(target)
    shutil.rmtree(aside, ignore_errors=True)  # of somebody who was killed while clearing away
    for attempts_left in (2, 1, 0):
        os.rename(target, aside)
        try:
            os.rename(draft, target)
            break
        except BaseException as error:
            with suppress(FileNotFoundError):  # who opened it meanwhile has moved it back
                os.rename(aside, target)
            if not attempts_left or not isinstance(error, OSError):
                raise
    shutil.rmtree(aside, ignore_errors=True)


def settled(target: Path) -> Path:
    """`target`, moved back if the process that was replacing it was killed half way."""
    target = Path(os.path.realpath(target))
    aside = _aside(target)
    if aside.is_dir() and not os.path.lexists(target):
        with suppress(OSError):  # somebody else moved it back, or nobody may
            os.rename(aside, target)
    return target


def _current_folder() -> Path | None:
    try:
        return Path(os.getcwd())
    except FileNotFoundError:  # it was removed
        return None


def _aside(target: Path) -> Path:
    return target.with_name(f"{_prefix(target)}before")


def _prefix(target: Path) -> str:
    """Of names beside the target that nobody else gives: the beginning of its own, and a hash."""
    whole = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:8]
    return f".vsa-{target.name[:_NAME_CHARACTERS]}-{whole}-"


@contextmanager
def _claimed(draft: Path, flags: int) -> Iterator[bool]:
    """Let others see that this draft is being worked on, until the end of this process at most.

    Yields whether it could be claimed: somebody else may have, and not every disk has locks.
    """
    handle = os.open(draft, flags)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = True
        except OSError:
            is_ours = False
        yield is_ours
    finally:
        os.close(handle)


def _remove_abandoned(target: Path) -> None:
    """Remove drafts of this target whose makers were killed."""
    prefix, suffix = _prefix(target), target.suffix
    try:
        names = [name for name in os.listdir(target.parent) if name.startswith(prefix)]
    except OSError:
        return
    for name in names:
        # mkdtemp and mkstemp put eight characters of their own behind the prefix
        if len(name.removesuffix(suffix)) - len(prefix) != 8 and len(name) - len(prefix) != 8:
            continue
        draft = target.parent / name
        flags = os.O_RDONLY if draft.is_dir() else os.O_RDWR
        with suppress(OSError), _claimed(draft, flags) as is_abandoned:
            # a young one may be claimed in a moment
            is_young = time.time() - draft.stat().st_mtime < _YOUNG_S
            if is_young or not is_abandoned:
                continue
            if draft.is_dir():
                shutil.rmtree(draft, ignore_errors=True)
            else:
                draft.unlink()


def _exchange(first: Path, second: Path) -> bool:
    """Let two folders take each other's places in one step; False where that is not to be had."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    sys.audit("os.rename", first, second, -1, -1)  # as os.rename does
    names = os.fsencode(first), os.fsencode(second)
    if renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM):
        return False
    raise OSError(number, os.strerror(number), str(second))


def _is_mount_point(folder: Path) -> bool:
    if os.path.ismount(folder):
        return True
    try:  # a folder mounted upon another of the same disk looks like any other
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as stream:
            places = {line.split(" ")[4] for line in stream}
    except OSError:
        return False
    escaped = str(folder).replace("\\", r"\134").replace(" ", r"\040").replace("\t", r"\011")
    return escaped.replace("\n", r"\012") in places
