"""One state of an index: a base, and the changes on top of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vsa.index.base import Base, base_in_memory, write_base
from vsa.index.codec import STORED
from vsa.index.live import Changes
from vsa.index.model import Model


class Arrays(NamedTuple):
    """All that a search reads; features are float16, named uint16 because numba has none."""

    weight: np.ndarray  # float32 (n_bits, d), of the codec's map; no rows if it is no `Codec` …
    bias: np.ndarray  # float32 (n_bits,), likewise
    centroids: np.ndarray  # float32 (L, d)
    centroid_codes: np.ndarray  # uint64 (W, L), W words of 64 bits
    codes: np.ndarray  # uint64 (W, N); one row more if items have factors, float32 (N, 2)
    features: np.ndarray  # uint16 (N, d)
    ids: np.ndarray  # int64 (N,)
    offsets: np.ndarray  # int64 (L + 1,)
    hidden: np.ndarray  # int64 (h,), ascending
    live_codes: np.ndarray  # uint64 (n, W), likewise
    live_features: np.ndarray  # uint16 (n, d)
    live_ids: np.ndarray  # int64 (n,)
    dead: np.ndarray  # bool (n,)
    live_first: np.ndarray  # int64 (L,): newest changed item of each list, or −1 …
    live_next: np.ndarray  # int64 (n,): … and the one before it in the same list, or −1


@dataclass(frozen=True)
class View:
    """A state of the index. It never changes; later ones share its growing arrays."""

    model: Model
    base: Base
    hidden: np.ndarray  # int64, sorted: rows of the base that changed since
    ids: np.ndarray  # int64 (n,): the changed items …
    codes: np.ndarray  # uint64 (n, n_words)
    features: np.ndarray  # float16 (n, d)
    lists: np.ndarray  # int64 (n,)
    first: np.ndarray  # int64 (L,): the newest of each list, or −1 …
    next: np.ndarray  # int64 (n,): … and the one before it there, or −1
    dead: np.ndarray  # bool (n,): … less those that changed again
    place: dict[int, int]  # id → row of the above; kept up to date for the newest view only

    def __len__(self) -> int:
        return len(self.base) - len(self.hidden) + int((~self.dead).sum())

    def contains(self, ids: np.ndarray) -> np.ndarray:
        """Whether each item is there, bool (n,); to be asked of the newest view."""
        rows = self.base.rows_of(ids)
        in_base = (rows >= 0) & ~np.isin(rows, self.hidden)
        return in_base | np.array([int(id_) in self.place for id_ in ids], bool)

    @cached_property
    def arrays(self) -> Arrays:
        """All of it; of the same types always, since the kernel is compiled for types."""
        lists, base = self.model.lists, self.base
        given = Arrays(
            *self.model.codec_map,
            lists.centroids,
            lists.words,
            base.codes,
            base.features.view(np.uint16),
            base.ids,
            base.offsets,
            self.hidden,
            self.codes,
            self.features.view(np.uint16),
            self.ids,
            self.dead,
            self.first,
            self.next,
        )
        return Arrays(*map(_read_only, given))

    @cached_property
    def n_rows(self) -> int:
        """Items, and those that are there no more."""
        return len(self.base) + len(self.ids)

    @cached_property
    def table(self) -> np.ndarray:
        """Where `arrays` are, int64 (1, 15, 3): address and shape of each, as the kernel gets them.

        It holds while the view is there. One array is unpacked sooner than fifteen.
        """
        places = np.zeros((1, len(self.arrays), 3), np.int64)
        for place, array in zip(places[0], self.arrays, strict=True):
            assert array.flags.c_contiguous
            assert array.flags.aligned
            place[: 1 + array.ndim] = array.ctypes.data, *array.shape
        return places

    def after(self, changes: Changes) -> View:
        """The state after some changes."""
        rows = self.base.rows_of(changes.ids)
        kept = ~changes.deleted
        features, ids = changes.features[kept], changes.ids[kept]
        # may raise, so nothing is changed before
        codes = self.model.words(features, changes.lists[kept])
        replaced = [self.place.pop(id_) for id_ in changes.ids.tolist() if id_ in self.place]
        n, n_new = len(self.ids), int(kept.sum())
        self.place.update(zip(ids.tolist(), range(n, n + n_new), strict=True))
        dead = np.concatenate([self.dead, np.zeros(n_new, bool)])
        dead[replaced] = True
        hidden = self.hidden
        if (rows >= 0).any():
            hidden = np.union1d(hidden, rows[rows >= 0])
        lists = changes.lists[kept]
        first, before = _chained(self.first, lists, n)
        return View(
            self.model,
            self.base,
            hidden,
            _extended(self.ids, ids),
            _extended(self.codes, codes),
            _extended(self.features, features),
            _extended(self.lists, lists),
            first,
            _extended(self.next, before),
            dead,
            self.place,
        )

    def all_ids(self) -> np.ndarray:
        """Every item, int64 (n,), in no order."""
        return self._contents()[0]

    def items(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features, float16 (n, d), and categories, int64 (n,), of items that are there."""
        known, lists, _, rows_of = self._contents()
        order = np.argsort(known)
        rows = order[np.searchsorted(known[order], ids)]
        return rows_of(rows)[1], self.model.lists.category[lists[rows]]

    def write(self, folder: Path) -> None:
        """Write this state as a base of its own."""
        write_base(folder, *self._contents())

    def write_part(self, folder: Path, is_in: Callable[[np.ndarray], np.ndarray]) -> None:
        """Write the items that `is_in` picks of ids, int64 (n,), by bool (n,), as a base."""
        ids, lists, n_lists, rows_of = self._contents()
        rows = np.flatnonzero(is_in(ids))
        write_base(folder, ids[rows], lists[rows], n_lists, lambda some: rows_of(rows[some]))

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
                _merged(old, self.base.codes[:, pick[0]].T, self.codes[pick[1]]),
                _merged(old, self.base.features[pick[0]], self.features[pick[1]]),
            )

        return ids, lists, n_lists, rows_of


def no_changes(model: Model) -> Changes:
    """What an index has that is a base alone."""
    none = np.empty(0, np.int64)
    features = np.empty((0, model.codec.dim), STORED)
    return Changes(none, np.empty(0, bool), none, features, 0)


def empty_view(model: Model) -> View:
    """The state of an index in memory that has no items."""
    none = no_changes(model)
    codes = np.empty((0, model.n_words), np.uint64)
    base = base_in_memory(none.ids, none.lists, len(model.lists), lambda _: (codes, none.features))
    return make_view(base, none, model)


def make_view(base: Base, changes: Changes, model: Model) -> View:
    """The state of a base and all changes since."""
    empty = np.empty(0, np.int64)
    codes = np.empty((0, model.n_words), np.uint64)
    features = np.empty((0, model.codec.dim), STORED)
    nowhere = np.full(len(model.lists), -1)
    blank = View(
        model,
        base,
        empty,
        empty,
        codes,
        features,
        lists=empty,
        first=nowhere,
        next=empty,
        dead=np.empty(0, bool),
        place={},
    )
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


def _chained(first: np.ndarray, lists: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """`View.first` and `View.next` with items of some lists, int64 (m,), from row `n` on."""
    if not len(lists):
        return first, lists
    order = np.argsort(lists, kind="stable")
    sorted_lists, rows, first = lists[order], n + order, first.copy()
    is_new = np.diff(sorted_lists, prepend=-1) != 0  # another list than the one before
    before = np.empty(len(lists), np.int64)
    before[order] = np.where(is_new, first[sorted_lists], np.roll(rows, 1))
    first[sorted_lists] = rows  # of several, the last one stays
    return first, before


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


def _merged(old: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    both = np.empty((len(old), *first.shape[1:]), first.dtype)
    both[old], both[~old] = first, second
    return both
