"""One state of an index: a base, and the changes on top of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vsa.index.base import Base, base_in_memory, write_base
from vsa.index.codec import STORED
from vsa.index.lists import FAR, hamming, hamming_of_runs, nearest
from vsa.index.live import Changes
from vsa.index.model import Model


@dataclass(frozen=True)
class Scan:
    """Hamming distances of the items in some lists: first runs of the base, then changed items."""

    view: View
    distances: np.ndarray  # int32 (n,); FAR for what the base has and the index no longer
    starts: np.ndarray  # int64 (m,): where in the base each run begins …
    ends: np.ndarray  # int64 (m,): … and where in `distances` it ends
    live: np.ndarray  # int64: rows of the view's changed items

    def nearest_ids(self, k: int) -> np.ndarray:
        """Ids of the `k` nearest by Hamming distance, int64; ties go to the lower id."""
        chosen = nearest(self.distances, k)
        rows, live = self._rows(chosen)
        ids = np.concatenate([self.view.base.ids[rows], self.view.ids[live]])
        return ids[np.lexsort((ids, self.distances[chosen]))[:k]]

    def items(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ids, int64 (n,), and features, float16 (n, d), at ascending places in `distances`."""
        view = self.view
        rows, live = self._rows(chosen)
        # take copies whole rows, where indexing by an array copies number by number
        ids, features = view.base.ids.take(rows), view.base.features.take(rows, axis=0)
        if len(live):
            ids = np.concatenate([ids, view.ids.take(live)])
            features = np.concatenate([features, view.features.take(live, axis=0)])
        return ids, features

    def _rows(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the base, then of the changed items."""
        n_base = int(self.ends[-1]) if len(self.ends) else 0
        split = np.searchsorted(chosen, n_base)
        first, rest = chosen[:split], chosen[split:]
        begins = self.ends - np.diff(self.ends, prepend=0)
        run = np.searchsorted(self.ends, first, side="right")
        return first + (self.starts - begins)[run], self.live[rest - n_base]


@dataclass(frozen=True)
class View:
    """A state of the index. It never changes; later ones share its growing arrays."""

    model: Model
    base: Base
    hidden: np.ndarray  # int64, sorted: rows of the base that changed since
    ids: np.ndarray  # int64 (n,): the changed items …
    codes: np.ndarray  # uint8 (n, n_bits / 8)
    features: np.ndarray  # float16 (n, d)
    lists: np.ndarray  # int64 (n,)
    dead: np.ndarray  # bool (n,): … less those that changed again
    place: dict[int, int]  # id → row of the above; kept up to date for the newest view only

    def __len__(self) -> int:
        return len(self.base) - len(self.hidden) + int((~self.dead).sum())

    def contains(self, ids: np.ndarray) -> np.ndarray:
        """Whether each item is there, bool (n,); to be asked of the newest view."""
        rows = self.base.rows_of(ids)
        in_base = (rows >= 0) & ~np.isin(rows, self.hidden)
        return in_base | np.array([int(id_) in self.place for id_ in ids], bool)

    def scan(self, code: np.ndarray, probed: np.ndarray) -> Scan:
        """Distances of a packed code to the items in runs of lists, int64 (m, 2)."""
        starts, ends = self.base.offsets[probed].T
        in_base = np.cumsum(ends - starts)
        n_base = int(in_base[-1]) if len(in_base) else 0
        live = self._live_in(probed)
        runs = list(zip(starts.tolist(), ends.tolist(), strict=True))
        distances = hamming_of_runs(code, self.base.codes, runs, len(live))
        distances[n_base:] = hamming(code, self.codes[live])
        if len(self.hidden):
            low, high = np.searchsorted(self.hidden, starts), np.searchsorted(self.hidden, ends)
            for run in np.flatnonzero(high > low):
                shift = in_base[run] - ends[run]
                distances[self.hidden[low[run] : high[run]] + shift] = FAR
        return Scan(self, distances, starts, in_base, live)

    def after(self, changes: Changes) -> View:
        """The state after some changes."""
        rows = self.base.rows_of(changes.ids)
        kept = ~changes.deleted
        features, ids = changes.features[kept], changes.ids[kept]
        codes = self.model.codec.encode(features)  # may raise, so nothing is changed before
        replaced = [self.place.pop(id_) for id_ in changes.ids.tolist() if id_ in self.place]
        n, n_new = len(self.ids), int(kept.sum())
        self.place.update(zip(ids.tolist(), range(n, n + n_new), strict=True))
        dead = np.concatenate([self.dead, np.zeros(n_new, bool)])
        dead[replaced] = True
        hidden = self.hidden
        if (rows >= 0).any():
            hidden = np.union1d(hidden, rows[rows >= 0])
        return View(
            self.model,
            self.base,
            hidden,
            _extended(self.ids, ids),
            _extended(self.codes, codes),
            _extended(self.features, features),
            _extended(self.lists, changes.lists[kept]),
            dead,
            self.place,
        )

    def write(self, folder: Path) -> None:
        """Write this state as a base of its own."""
        write_base(folder, *self._contents())

    def folded(self) -> View:
        """The same state, all of it a base in memory."""
        return make_view(base_in_memory(*self._contents()), no_changes(self.model), self.model)

    def next_id(self) -> int:
        """One more than the greatest id, at least 0."""
        greatest, hidden = -1, set(self.hidden.tolist())
        for row in self.base.by_id[::-1]:
            if int(row) not in hidden:
                greatest = int(self.base.ids[row])
                break
        return max(greatest, int(self.ids[~self.dead].max(initial=-1))) + 1

    def _contents(
        self,
    ) -> tuple[np.ndarray, np.ndarray, int, Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]]:
        """Ids and lists of all items, the number of lists, and codes and features at places."""
        in_base = np.delete(np.arange(len(self.base)), self.hidden)
        live, n_lists = np.flatnonzero(~self.dead), len(self.model.lists)
        list_of = np.repeat(np.arange(n_lists), np.diff(self.base.offsets))
        ids = np.concatenate([self.base.ids[in_base], self.ids[live]])
        lists = np.concatenate([list_of[in_base], self.lists[live]])

        def rows_of(items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            old = items < len(in_base)
            pick = [in_base[items[old]], live[items[~old] - len(in_base)]]
            return (
                _merged(old, self.base.codes[pick[0]], self.codes[pick[1]]),
                _merged(old, self.base.features[pick[0]], self.features[pick[1]]),
            )

        return ids, lists, n_lists, rows_of

    def _live_in(self, probed: np.ndarray) -> np.ndarray:
        if not len(self.ids):
            return np.empty(0, np.int64)
        is_probed = np.zeros(len(self.model.lists), bool)
        for first, end in probed.tolist():
            is_probed[first:end] = True
        return np.flatnonzero(is_probed[self.lists] & ~self.dead)


def no_changes(model: Model) -> Changes:
    """What an index has that is a base alone."""
    none = np.empty(0, np.int64)
    features = np.empty((0, model.codec.dim), STORED)
    return Changes(none, np.empty(0, bool), none, features, 0)


def empty_view(model: Model) -> View:
    """The state of an index in memory that has no items."""
    none = no_changes(model)
    codes = np.empty((0, model.codec.n_bits // 8), np.uint8)
    base = base_in_memory(none.ids, none.lists, len(model.lists), lambda _: (codes, none.features))
    return make_view(base, none, model)


def make_view(base: Base, changes: Changes, model: Model) -> View:
    """The state of a base and all changes since."""
    empty = np.empty(0, np.int64)
    codes = np.empty((0, model.codec.n_bits // 8), np.uint8)
    features = np.empty((0, model.codec.dim), STORED)
    blank = View(model, base, empty, empty, codes, features, empty, np.empty(0, bool), {})
    return blank.after(changes)


def _extended(array: np.ndarray, new: np.ndarray) -> np.ndarray:
    """`array` followed by `new`, in the room behind `array` where there is some.

    Only the newest view is ever extended, so nobody else looks at that room.
    """
    if not len(new):
        return array
    n, buffer = len(array), array.base
    if buffer is None or n + len(new) > len(buffer):
        buffer = np.empty((2 * (n + len(new)), *array.shape[1:]), array.dtype)
        buffer[:n] = array
    buffer[n : n + len(new)] = new
    return buffer[: n + len(new)]


def _merged(old: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    both = np.empty((len(old), *first.shape[1:]), first.dtype)
    both[old], both[~old] = first, second
    return both
