"""Stopping an operation at each of its steps on the disk, by an error or by SIGKILL.

A step is what Python tells its auditors of: opening a file to write, renaming, removing, making
folders, changing rights, connecting to SQLite; and flushing to the disk.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

_STEPS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "sqlite3.connect"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CONTEXT = multiprocessing.get_context("forkserver")


class _Auditor:
    """Counts steps while it is switched on, and calls `at_step` before each."""

    def __init__(self) -> None:
        self.at_step: Callable[[str], None] | None = None

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.at_step is None:
            return
        is_step = event in _STEPS or event == "os.fsync"
        if event == "open":
            path, _, flags = arguments
            is_step = isinstance(path, str | bytes) and bool(flags & _WRITING)
        if is_step:
            self.at_step(event)


_AUDITOR = _Auditor()
sys.addaudithook(_AUDITOR)
_fsync = os.fsync


def _audited_fsync(handle: int) -> None:
    sys.audit("os.fsync", handle)
    _fsync(handle)


@contextmanager
def _audited(at_step: Callable[[str], None]):
    os.fsync = _audited_fsync
    _AUDITOR.at_step = at_step
    try:
        yield
    finally:
        _AUDITOR.at_step, os.fsync = None, _fsync


def steps_of(act: Callable[[], object]) -> list[str]:
    """The steps of an operation that is left to end well."""
    steps: list[str] = []
    with _audited(steps.append):
        act()
    return steps


def fail_at(number: int, act: Callable[[], object]) -> bool:
    """Let step `number` fail as on a full disk; whether the operation failed, too.

    It may be one that the operation can do without, such as clearing away.
    """
    count = iter(range(10**6))

    def at_step(event: str) -> None:
        if next(count) == number:
            raise OSError(errno.ENOSPC, f"injected at {event}")

    with _audited(at_step):
        try:
            act()
        except Exception as error:
            text = f"{error} {error.__cause__} {error.__context__}"
            assert "injected" in text or "No space" in text, text
            return True
    return False


def kill_at(number: int, act: Callable[..., object], *arguments: object) -> None:
    """Do it in a process of its own, which is killed at step `number`."""
    child = CONTEXT.Process(target=_killed_at, args=(number, act, arguments))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL, child.exitcode


def _killed_at(number: int, act: Callable[..., object], arguments: tuple[object, ...]) -> None:
    count = iter(range(10**6))

    def at_step(event: str) -> None:
        del event
        if next(count) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    with _audited(at_step):
        act(*arguments)
