"""The items of an index that is not saved yet: arrays of this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from vsa.index.live import Changes
from vsa.index.model import Model
from vsa.index.request import SearchParams
from vsa.index.view import View, empty_view, no_changes
from vsa.runtime.errors import InputError

_FEW = 4096  # changed items that may lie beside the base, where each query looks at all of them


class Memory:
    """As `vsa.index.durable.Durable`, without a folder: gone with the process.

    Items lie as they do in a folder, so that the very same search finds them; whenever those
    beside the base outnumber half of it, all are folded into a new one.
    """

    folder = None

    def __init__(self, model: Model, params: SearchParams) -> None:
        self.model, self.params = model, params
        self.lock = threading.Lock()  # of whoever decides on a write by what there is
        self._view = empty_view(model)

    def current(self) -> View:
        """The state that a search which starts now must see."""
        return self._view

    def put(
        self, ids: np.ndarray, lists: np.ndarray, features: np.ndarray, removed: np.ndarray
    ) -> None:
        """Add or replace items, and remove others, all or none."""
        n_gone, dtype = len(removed), no_changes(self.model).features.dtype
        self._change(
            Changes(
                np.concatenate([removed, ids]),
                np.arange(n_gone + len(ids)) < n_gone,
                np.concatenate([np.full(n_gone, -1), lists]),
                np.concatenate([np.zeros((n_gone, self.model.codec.dim), dtype), features]),
                0,
            )
        )

    def remove(self, ids: np.ndarray) -> None:
        """Remove items, all or none."""
        blank = np.zeros((len(ids), self.model.codec.dim), no_changes(self.model).features.dtype)
        self._change(Changes(ids, np.ones(len(ids), bool), np.full(len(ids), -1), blank, 0))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """As in a folder; nobody else could write here."""
        yield

    def compact(self) -> None:
        """Fold all changes into the base."""
        with self.lock:
            self._view = self._view.folded()

    def require_writable(self) -> None:
        """It always is."""

    def require_place(self) -> None:
        """It has none to lose."""

    def verify(self) -> None:
        """Raise InputError: nothing is on a disk that could be damaged."""
        raise InputError("the index is in memory", cure="Save it first: index.save(folder)")

    def n_bytes(self) -> int:
        """Bytes on disk."""
        return 0

    def close(self) -> None:
        """Nothing to let go of."""

    def _change(self, changes: Changes) -> None:
        view = self._view.after(changes)
        n_beside = len(view.ids) + len(view.hidden)
        self._view = view.folded() if n_beside > max(_FEW, len(view.base) // 2) else view
