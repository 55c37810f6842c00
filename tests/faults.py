"""Stopping an operation at each of its steps on the disk, by an error or by SIGKILL.

A process that is killed leaves what is on the disk at that moment, and no lock. So one run of an
operation shows what kills at all of its steps leave; that it is so, real ones show.

A step is what Python tells its auditors of: opening a file to write, renaming, removing, making
folders, changing rights, connecting to SQLite; and flushing to the disk.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_STEPS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "sqlite3.connect"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


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


def left_by_kills(act: Callable[[], object], place: Path, kept: Path) -> list[Path]:
    """What a kill at each step leaves of a place: copies in `kept`, one for steps that leave alike.

    The operation itself is left to end well.
    """
    copies: dict[str, Path] = {}
    left: list[Path] = []

    def at_step(event: str) -> None:
        del event
        _AUDITOR.at_step = None  # copying takes steps, too
        content = _digest(place)
        if content not in copies:
            copies[content] = kept / str(len(copies))
            shutil.copytree(place, copies[content], symlinks=True)
        left.append(copies[content])
        _AUDITOR.at_step = at_step

    with _audited(at_step):
        act()
    return left


def _digest(folder: Path) -> str:
    """Of all names, kinds, rights and contents below a folder."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        found.update(f"{path.relative_to(folder)}\0{mode}\0".encode())
        if path.is_symlink():
            found.update(os.fsencode(path.readlink()))
        elif path.is_file():
            found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


class Killer:
    """A process that has imported all, and lets copies of itself be killed at work."""

    def __init__(self) -> None:
        here = str(Path(__file__).parent)
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([here, *sys.path])}
        environment["OMP_NUM_THREADS"] = "1"  # threads do not outlive a fork, and are waited for
        self._server = subprocess.Popen(
            [sys.executable, __file__],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def kill_at(self, number: int, name: str, place: Path, state: int) -> None:
        """Let an operation of `operations` be killed at step `number`."""
        assert self._ask("kill", number, name, place, state) == -signal.SIGKILL

    def fill_at(self, size: int, name: str, place: Path, state: int) -> None:
        """Let it happen, or not, where no file can have more than `size` bytes."""
        assert self._ask("fill", size, name, place, state) == 0

    def _ask(self, how: str, number: int, name: str, place: Path, state: int) -> int:
        self._server.stdin.write(json.dumps([how, number, name, str(place), state]) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def close(self) -> None:
        self._server.stdin.close()
        self._server.stdout.close()
        self._server.wait()


def _serve() -> None:
    import operations  # which loads all that is to be loaded; it starts no thread

    operations.load_search()
    for line in sys.stdin:
        how, number, name, place, state = json.loads(line)
        child = os.fork()
        if not child:
            stop = {"kill": _killed_at, "fill": _full_at}[how]
            stop(number, lambda: operations.act(name, Path(place), state))  # noqa: B023
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        print(os.waitstatus_to_exitcode(status), flush=True)


def _killed_at(number: int, act: Callable[[], object]) -> None:
    count = iter(range(10**6))

    def at_step(event: str) -> None:
        del event
        if next(count) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    with _audited(at_step):
        act()


def _full_at(size: int, act: Callable[[], object]) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    with suppress(Exception):
        act()


if __name__ == "__main__":
    _serve()
