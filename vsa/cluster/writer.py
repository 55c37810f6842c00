"""The writer of a shard: its index, whose log is on the disk, and what replicas are told of it."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from vsa.cluster.messages import Log
from vsa.index.index import Index
from vsa.index.lists import Names


class ShardWriter:
    """Changes a shard, one change at a time; every change may be sent again.

    A change is on the disk when its number is returned, so a writer that is started anew, after
    this one has died, has all that was acknowledged.
    """

    def __init__(self, folder: str | Path) -> None:
        """Open it; raises InputError if another process may write to it, or it is damaged."""
        self._index = Index.open(folder, writable=True)
        self._log = self._index.durable
        self._turn = threading.Lock()
        self._has_changed = threading.Condition()

    @property
    def sequence(self) -> int:
        """Number of the newest change."""
        return self._log.sequence

    @property
    def base(self) -> str:
        """Name of the base."""
        return self._index.current().base.name

    def put(self, features: np.ndarray, ids: np.ndarray, categories: Names | None) -> int:
        """Add items or replace them, all or none: features (n, d), ids int64 (n,).

        Returns the number of the change; raises InputError as `Index.put`.
        """
        with self._turn:
            self._index.put(features, ids, categories)
            return self._told()

    def remove(self, ids: np.ndarray) -> int:
        """Remove those of the items, int64 (n,), that are there; returns the newest number."""
        with self._turn:
            there = ids[self._index.current().contains(ids)]
            if len(there):
                self._index.remove(there)
            return self._told()

    def ids(self) -> np.ndarray:
        """Every item, int64 (n,), in no order."""
        return self._index.current().all_ids()

    def compact(self) -> str:
        """Fold all changes into a new base, beside the one before it; returns its name."""
        self._log.compact(keep_old=True)
        self._told()
        return self.base

    def remove_old(self) -> None:
        """Remove bases before the newest: no replica maps one any more."""
        self._log.remove_old()

    def log(self, base: str, after: int, wait_s: float) -> Log:
        """What a replica at a base and a change does not know; waits until there is something."""
        with self._has_changed:
            self._has_changed.wait_for(lambda: self._is_news(base, after), wait_s)
        if self.base != base:
            after = 0
        name, changes = self._log.log(after)
        if name != base and after:  # it was compacted in between
            name, changes = self._log.log()
        return Log(name, changes, is_whole=name != base)

    def close(self) -> None:
        """Let go of the files, and of the right to write."""
        self._index.close()

    def _is_news(self, base: str, after: int) -> bool:
        return self.base != base or self.sequence > after

    def _told(self) -> int:
        with self._has_changed:
            self._has_changed.notify_all()
        return self.sequence
