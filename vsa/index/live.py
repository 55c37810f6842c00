"""The live part of an index: what was added and deleted since the base was built, in SQLite.

A change is durable once its transaction is committed (write-ahead log, flushed to the disk), and
every connection, of this process or of another, sees it from then on. A row stands for the latest
word on an item: its feature, or none where it was deleted. Rows hide items of the base.

Beside it lies a file of eight bytes that all processes map, a number that is raised after each
commit: to see that nothing has changed, a search reads it and does not ask SQLite.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import sqlite3
import weakref
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vsa.index.codec import STORED
from vsa.runtime.atomic import settled
from vsa.runtime.errors import InputError
from vsa.runtime.system import explain, not_written

_FILE, _COUNT, _LOCK = "live.sqlite", "live.count", "writer.lock"
_N_BYTES = 8  # of the count
_SCHEMA = """
CREATE TABLE state (base TEXT NOT NULL);
CREATE TABLE changes (
    id INTEGER PRIMARY KEY,
    number INTEGER NOT NULL,   -- of the transaction
    list INTEGER,              -- NULL, with feature: deleted
    feature BLOB,
    crc32 INTEGER NOT NULL
);
CREATE INDEX by_number ON changes (number);
"""
_UPSERT = """
INSERT INTO changes VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
    number = excluded.number, list = excluded.list,
    feature = excluded.feature, crc32 = excluded.crc32
"""


@dataclass(frozen=True)
class Changes:
    """The latest word on some items, each id once."""

    ids: np.ndarray  # int64 (n,)
    deleted: np.ndarray  # bool (n,)
    lists: np.ndarray  # int64 (n,): where each item goes; −1 where deleted
    features: np.ndarray  # float16 (n, d); zero where deleted
    last: int  # number of the newest transaction, folded into a base or not; 0 if there is none

    def __len__(self) -> int:
        return len(self.ids)


def create_live(folder: Path, base: str) -> None:
    """A new live part, without changes, that belongs to a base."""
    (folder / _COUNT).write_bytes(bytes(_N_BYTES))
    connection = _connect(folder / _FILE, "rwc")
    with connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(_SCHEMA)
        connection.execute("INSERT INTO state VALUES (?)", (base,))
    connection.close()


class Place:
    """The folder of an index that is open: resolved once, and known again by its identity.

    Working folders change, and folders are moved, removed and replaced while they are open.
    """

    def __init__(self, folder: str | Path) -> None:
        """Hold on to a folder; raises InputError if there is none."""
        self.folder = settled(Path(folder))
        try:
            # held open, so that no later folder is given its number
            self._handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            raise no_index(self.folder) from None
        except OSError as error:
            raise explain(error) from None
        self.close = weakref.finalize(self, os.close, self._handle)

    def require(self) -> None:
        """Raise InputError if another folder, or none, is where this one was."""
        try:
            if os.path.samestat(os.fstat(self._handle), os.stat(self.folder)):
                return
        except OSError:
            pass
        raise InputError(
            "the index was moved, removed or replaced since it was opened",
            cure="Open it where it is now",
            file=self.folder,
        )


class Count:
    """The number of commits, in a file that is mapped: what one process writes, all others read.

    It stands for nothing else, so it need not be on the disk when a change is acknowledged: whoever
    opens an index reads all of it.
    """

    def __init__(self, folder: Path, *, writable: bool) -> None:
        path, access = folder / _COUNT, mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        try:
            with path.open("r+b" if writable else "rb") as file:
                self._map = mmap.mmap(file.fileno(), _N_BYTES, access=access)
        except (FileNotFoundError, ValueError):  # ValueError: it is shorter
            raise _damaged(path) from None
        except OSError as error:
            raise explain(error) from None
        self._number = memoryview(self._map).cast("Q")

    def read(self) -> int:
        return self._number[0]

    def rise(self) -> None:
        self._number[0] = (self._number[0] + 1) % 2**64

    def close(self) -> None:
        self._number.release()
        self._map.close()


class Reader:
    """One reading connection; its calls may come from any thread, one at a time."""

    def __init__(self, place: Place, dim: int) -> None:
        self._place, self._path, self._dim = place, place.folder / _FILE, dim
        self._count = Count(place.folder, writable=False)
        self._open()

    @property
    def _connection(self) -> sqlite3.Connection:
        """One of this process: SQLite's connections may not be used after a fork."""
        if self._process != os.getpid():
            _INHERITED.append(self._opened)
            self._place.require()  # or it is another index that is opened
            self._open()
        return self._opened

    def _open(self) -> None:
        folder = self._path.parent
        if not self._path.is_file():
            raise _damaged(self._path)
        self._process = os.getpid()
        try:
            self._opened = _connect(self._path, "ro")
            self._opened.execute("SELECT base FROM state").fetchone()
        except sqlite3.OperationalError as error:
            if not os.statvfs(folder).f_flag & os.ST_RDONLY and os.access(folder, os.W_OK):
                raise _cannot_read(self._path, error) from None
            # a write-ahead log needs a place for its index
            log = self._path.with_name(f"{_FILE}-wal")
            if log.is_file() and log.stat().st_size:
                raise InputError(
                    "the index was not closed when it was last written",
                    cure="Open it once where it may be written, then copy it",
                    file=folder,
                ) from None
            self._opened = _connect(self._path, "ro&immutable=1")
        except sqlite3.DatabaseError as error:
            raise _cannot_read(self._path, error) from None

    def version(self) -> tuple[int, int]:
        """Differs from the last one if a change was acknowledged since, or in another process."""
        try:
            return os.getpid(), self._count.read()
        except ValueError:  # its file is mapped no longer
            raise InputError(
                "the index was closed", cure="Open it again", file=self._path.parent
            ) from None

    def read(self, after: int = 0) -> tuple[str, Changes]:
        """The base's name and the changes of transactions after one, of one moment."""
        try:
            with self._connection:
                self._connection.execute("BEGIN")
                (base,) = self._connection.execute("SELECT base FROM state").fetchone()
                rows = self._connection.execute(
                    "SELECT id, number, list, feature, crc32 FROM changes"
                    " WHERE number > ? ORDER BY number, id",
                    (after,),
                ).fetchall()
                (folded,) = self._connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.DatabaseError as error:
            raise _cannot_read(self._path, error) from None
        return base, self._unpack(rows, max(after, folded))

    def _unpack(self, rows: list[tuple], least: int) -> Changes:
        ids, numbers, lists, blobs, sums = zip(*rows, strict=True) if rows else ([],) * 5
        blank = bytes(self._dim * STORED().itemsize)
        for id_, list_, blob, checksum in zip(ids, lists, blobs, sums, strict=True):
            whole = blob is None or len(blob) == len(blank)
            if not whole or _checksum(id_, list_, blob) != checksum:
                raise _damaged(self._path)
        features = np.frombuffer(b"".join(blob or blank for blob in blobs), STORED)
        return Changes(
            np.array(ids, np.int64),
            np.array([blob is None for blob in blobs], bool),
            np.array([-1 if number is None else number for number in lists], np.int64),
            features.reshape(-1, self._dim),
            max(numbers, default=least),
        )

    def check(self) -> None:
        """Let SQLite check the whole file; raises InputError if it is damaged."""
        try:
            answer = self._connection.execute("PRAGMA integrity_check").fetchone()[0]
            page_size = self._connection.execute("PRAGMA page_size").fetchone()[0]
        except sqlite3.DatabaseError as error:
            raise _cannot_read(self._path, error) from None
        if answer != "ok" or self._path.stat().st_size % page_size:
            raise _damaged(self._path)

    def close(self) -> None:
        self._count.close()
        if self._process == os.getpid():
            self._opened.close()
        else:
            _INHERITED.append(self._opened)


class WritersLock:
    """The right to write to an index, which one process has at a time."""

    def __init__(self, folder: Path) -> None:
        """Take it; raises InputError if somebody else has it, or if nobody may write there."""
        if not os.access(folder, os.W_OK):
            raise InputError(
                "the index is read-only", cure="Copy it to where you may write", file=folder
            )
        try:
            self._file = (folder / _LOCK).open("w")
        except OSError as error:
            raise not_written(folder / _LOCK, error) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise InputError(
                "another writer has the index open",
                cure="Wait until it has finished, or write through it",
                file=folder,
            ) from None
        self.is_inherited = False  # by a process that was forked from the one that took it
        _LOCKS.add(self)

    def release(self) -> None:
        if not self._file.closed:
            fcntl.flock(self._file, fcntl.LOCK_UN)  # also where a child has a copy of the file
        self._file.close()

    def leave_to_parent(self) -> None:
        """In a forked process: a copy of the file would keep the lock when the parent lets go."""
        self._file.close()
        self.is_inherited = True


_LOCKS: weakref.WeakSet[WritersLock] = weakref.WeakSet()
_INHERITED: list[sqlite3.Connection] = []  # kept from being closed: their owner is the parent


def _leave_locks_to_parent() -> None:
    for lock in _LOCKS:
        lock.leave_to_parent()


os.register_at_fork(after_in_child=_leave_locks_to_parent)


class Writer:
    """The one writing connection: a second one, in whatever process, is refused."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._writers_lock = WritersLock(place.folder)
        try:
            place.require()  # it may have been replaced while its lock was waited for
            self._connection = _connect(place.folder / _FILE, "rw")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._count = Count(place.folder, writable=True)
            self._count.rise()  # the last writer may have been killed between a commit and this
        except BaseException:
            self._writers_lock.release()
            raise

    def put(
        self, ids: np.ndarray, lists: np.ndarray, features: np.ndarray, removed: np.ndarray
    ) -> None:
        """Add or replace items, and delete others, all or none; durable once this returns."""
        blobs = [feature.tobytes() for feature in np.ascontiguousarray(features, STORED)]
        gone = [(id_, None, None) for id_ in removed.tolist()]
        self._write([*gone, *zip(ids.tolist(), lists.tolist(), blobs, strict=True)])

    def remove(self, ids: np.ndarray) -> None:
        """Delete items, all or none; durable once this returns."""
        self._write([(id_, None, None) for id_ in ids.tolist()])

    def fold(self, base: str, last: int) -> None:
        """A new base holds all changes up to transaction `last`: switch to it, drop these."""
        with self._transaction():
            self._connection.execute("UPDATE state SET base = ?", (base,))
            self._connection.execute("DELETE FROM changes WHERE number <= ?", (last,))
            # numbers must go on ascending when all changes are gone
            self._connection.execute(f"PRAGMA user_version = {last}")

    def require(self) -> None:
        """Raise InputError unless this process may write, and the index is where it was."""
        if self._writers_lock.is_inherited:
            raise InputError(
                "the index was opened for writing by the process that this one was forked from",
                cure="Open it for writing in one process",
                file=self._place.folder,
            )
        self._place.require()

    def close(self) -> None:
        if self._writers_lock.is_inherited:
            _INHERITED.append(self._connection)
            return
        self._connection.close()
        self._count.close()
        self._writers_lock.release()

    def _write(self, rows: Sequence[tuple[int, int | None, bytes | None]]) -> None:
        with self._transaction():
            newest = self._connection.execute("SELECT max(number) FROM changes").fetchone()[0] or 0
            folded = self._connection.execute("PRAGMA user_version").fetchone()[0]
            number = max(newest, folded) + 1
            self._connection.executemany(
                _UPSERT,
                (
                    (id_, number, list_, blob, _checksum(id_, list_, blob))
                    for id_, list_, blob in rows
                ),
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self.require()
        try:
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                yield
                self._place.require()
            self._count.rise()
        except (sqlite3.OperationalError, sqlite3.DatabaseError) as error:
            raise InputError(
                f"the change could not be written ({error})",
                cure="Free some space on that disk, or see whether it is read-only; "
                "what was there before is untouched",
                file=self._place.folder,
            ) from error


def no_index(folder: Path) -> InputError:
    """What to say where there is none."""
    return InputError(
        "there is no index here", cure="Build one with `vsa index build`", file=folder
    )


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    # transactions are begun by hand
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=30,
    )


def _cannot_read(path: Path, error: sqlite3.Error) -> InputError:
    if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return _damaged(path)
    if "no such table" in str(error):
        return _damaged(path)
    return InputError(
        f"the file cannot be read ({error})", cure="Wait, free space, or see who owns it", file=path
    )


def _damaged(path: Path) -> InputError:
    return InputError(
        "the file is damaged", cure="Restore it from a copy, or build the index again", file=path
    )


def _checksum(id_: int, list_: int | None, blob: bytes | None) -> int:
    return zlib.crc32(blob or b"", zlib.crc32(f"{id_} {list_}".encode()))
