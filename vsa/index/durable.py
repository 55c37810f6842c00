"""The items of an index in a folder: a base, and what changed since; every change is on the disk.

Any number of processes may read, one at a time may write.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np

from vsa.index.base import Base, open_base
from vsa.index.live import Changes, Place, Reader, Writer
from vsa.index.model import change_facts, read_model
from vsa.index.request import SearchParams
from vsa.index.view import View, make_view
from vsa.runtime.checked_table import read_checked_table
from vsa.runtime.errors import InputError

_OPENING_ATTEMPTS = 5  # another process may replace the base between two glances


class Durable:
    """A folder that is open: its files are mapped.

    A view holds every change that was acknowledged before it was asked for, by this process or
    another. It stays the index of that folder, whatever becomes the working folder: once it has
    been moved or replaced, changes are refused. After a fork the child may read it, and only the
    parent write to it.
    """

    def __init__(self, folder: str | Path, *, writable: bool, may_claim: bool = False) -> None:
        """Open it; with `may_claim`, the right to write is taken with the first change.

        Raises InputError if there is no index, if it is damaged or of another format, and if
        `writable` cannot be had.
        """
        self._place = Place(folder)
        self.folder = self._place.folder
        self.lock = threading.RLock()  # of whoever decides on a write by what there is
        self._reading = threading.Lock()  # of the reader and the view
        self._compacting = threading.Lock()
        self._writer: Writer | None = None
        self._may_claim = may_claim
        try:
            self.model, self.facts = read_model(self.folder)
            self._reader = Reader(self._place, self.model.codec.dim)
        except BaseException:
            self._place.close()
            raise
        try:
            self._version = self._reader.version()
            self._view, self._last = self._load()
            if writable:
                self._claim()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the files, and of the right to write."""
        # the writer last: whoever is last folds SQLite's log into its file, if it may
        self._reader.close()
        if self._writer is not None:
            self._writer.close()
        self._place.close()

    # Reading -------------------------------------------------------------------------------

    @property
    def params(self) -> SearchParams:
        """What was chosen for this index."""
        return SearchParams(**self.facts["params"])

    @params.setter
    def params(self, params: SearchParams) -> None:
        self.require_writable()
        change_facts(self.folder, params=asdict(params))
        self.facts = self.facts | {"params": asdict(params)}

    def current(self) -> View:
        """The state that a search which starts now must see."""
        with self._reading:
            version = self._reader.version()
            if version != self._version:
                base, changes = self._reader.read(self._last)
                if base == self._view.base.name:
                    self._view, self._last = self._view.after(changes), changes.last
                else:
                    self._view, self._last = self._load()
                self._version = version
            return self._view

    @property
    def sequence(self) -> int:
        """Number of the newest change; 0 before the first."""
        self.current()
        return self._last

    def log(self, after: int = 0) -> tuple[str, Changes]:
        """Name of the base, and the changes on top of it of transactions after one."""
        with self._reading:
            return self._reader.read(after)

    # Writing -------------------------------------------------------------------------------

    def put(
        self, ids: np.ndarray, lists: np.ndarray, features: np.ndarray, removed: np.ndarray
    ) -> None:
        """Add or replace items, and remove others, all or none; durable once this returns."""
        self._require_writer().put(ids, lists, features, removed)

    def remove(self, ids: np.ndarray) -> None:
        """Remove items, all or none; durable once this returns."""
        self._require_writer().remove(ids)

    def compact(self, *, keep_old: bool = False) -> None:
        """Fold all changes into a new base, while searches and writes go on.

        With `keep_old`, the base before stays until `remove_old`, for those who still map it.
        """
        writer = self._require_writer()
        writer.require()
        with self._compacting:
            with self._reading:
                name, changes = self._reader.read()
                base = self._view.base
            if name != base.name:  # nobody else writes
                raise AssertionError("the base was replaced by somebody who may not write")
            if not len(changes):
                return
            target = self.folder / f"base-{int(name.removeprefix('base-')) + 1:08d}"
            make_view(base, changes, self.model).write(target)
            try:
                fresh = open_base(target)
                with self.lock:
                    writer.fold(target.name, changes.last)
            except InputError:
                if self._current_base() != target.name:
                    shutil.rmtree(target, ignore_errors=True)
                raise
            with self._reading:
                self._version = self._reader.version()
                self._view, self._last = self._load(fresh)
            if not keep_old:
                self._remove_others(target.name)

    def remove_old(self) -> None:
        """Remove bases that are no longer the index's own."""
        self._require_writer().require()
        with self._compacting:
            self._remove_others(self.current().base.name)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the right to write for a while; raises InputError if somebody else has it."""
        with self.lock:
            if self._writer is not None:
                yield
                return
            self._claim()
            try:
                yield
            finally:
                assert self._writer is not None
                self._writer.close()
                self._writer = None

    def require_place(self) -> None:
        """Raise InputError if the index was moved, removed or replaced since it was opened."""
        self._place.require()

    def require_writable(self) -> None:
        """Raise InputError unless a change would be accepted now."""
        self._require_writer().require()

    def _require_writer(self) -> Writer:
        with self.lock:
            if self._writer is None and self._may_claim:
                self._claim()
            if self._writer is None:
                raise InputError(
                    "the index was opened for reading", cure="Open it with writable=True"
                )
            return self._writer

    def _claim(self) -> None:
        self._writer = Writer(self._place)
        self._remove_others(self.current().base.name)

    # Files ---------------------------------------------------------------------------------

    def verify(self) -> None:
        """Check every byte of the index; raises InputError for what is damaged or missing."""
        self._place.require()
        _, facts = read_model(self.folder)
        for name in facts.get("tables", ()):
            read_checked_table(self.folder / name)
        with self._reading:
            self._reader.check()
        self._open_base(None, check_all=True)

    def n_bytes(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def _load(self, base: Base | None = None) -> tuple[View, int]:
        base, changes = self._open_base(base)
        return make_view(base, changes, self.model), changes.last

    def _open_base(self, base: Base | None, *, check_all: bool = False) -> tuple[Base, Changes]:
        """The current base, `base` if that is it; another process may replace it meanwhile."""
        name, changes = self._reader.read()
        for _ in range(_OPENING_ATTEMPTS):
            try:
                if base is None or base.name != name:
                    base = open_base(self.folder / name, check_all=check_all)
                self._place.require()  # or it is a base of another index
                return base, changes
            except (InputError, OSError):
                before = name
                name, changes = self._reader.read()
                if name == before:
                    raise
        raise InputError(
            "the base is replaced faster than it can be opened", cure="Try again", file=self.folder
        )

    def _current_base(self) -> str:
        with self._reading:
            return self._reader.read()[0]

    def _remove_others(self, base: str) -> None:
        """Remove drafts and bases that nobody will open any more."""
        for path in (*self.folder.glob("base-*"), *self.folder.glob(".vsa-base-*")):
            if path.name != base:
                shutil.rmtree(path, ignore_errors=True)
