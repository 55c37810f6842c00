"""Changes that go to a cluster, and to one index beside it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from vsa.cluster.routing import latest
from vsa.index.index import Index
from vsa.index.request import SearchParams
from vsa.runtime.errors import InputError
from vsa.runtime.seeds import generator
from vsa.study.simulate.growth import Growth

if TYPE_CHECKING:
    from vsa.cluster.cluster import Cluster

_N_NEW, _N_REPLACED, _N_REMOVED = 32, 16, 16  # of a round
_FIRST = 10**6  # part of the grown catalogue that changes begin with, far beyond what is indexed
_FIRST_APART = 2**40  # id of the first item that the writer beside clients adds
_BATCH, _PAUSE_S = 4, 0.25  # of that writer
_CHECKED = 256  # items that are looked for at a time
_EVERYWHERE = SearchParams(n_probe=2**30, n_candidates=200)


@dataclass(frozen=True)
class Round:
    """Items that are put, some of which are there already, and items that are removed."""

    features: np.ndarray  # float16 (n, d)
    ids: np.ndarray  # int64 (n,)
    categories: np.ndarray  # str (n,)
    is_new: np.ndarray  # bool (n,)
    removed: np.ndarray  # int64 (m,)

    @property
    def n_items(self) -> int:
        """Items that change."""
        return len(self.ids) + len(self.removed)

    def apply_to(self, index: Index) -> None:
        """Change an index."""
        new, old = self.is_new, ~self.is_new
        index.add(self.features[new], self.ids[new], self.categories[new])
        index.update(self.features[old], self.ids[old], self.categories[old])
        index.remove(self.removed)

    def write_to(self, cluster: Cluster) -> list[tuple[int, ...]]:
        """Change a cluster; returns what it acknowledged."""
        return [
            cluster.put(self.features, self.ids, self.categories),
            cluster.remove(self.removed),
        ]


class Changes:
    """Rounds of changes to a catalogue of n items, whose ids are 0 to n − 1.

    Parameters
    ----------
    growth : where new features come from.
    n_items : n.
    names : of the categories.
    """

    def __init__(self, growth: Growth, n_items: int, names: Sequence[str], seed: int) -> None:
        self._growth, self._seed = growth, seed
        self._alive, self._next = np.arange(n_items), n_items
        # clients ask in the quiet ones, while the busy one changes
        self.quiet: list[str] | None = list(names[:-1]) if len(names) > 1 else None
        self._busy = names[-1]

    def draw(self, number: int) -> Round:
        """Items to add, to replace and to remove, each another one."""
        rng = generator(self._seed, "changes", number)
        touched = rng.choice(self._alive, _N_REPLACED + _N_REMOVED, replace=False)
        replaced, removed = np.split(touched, [_N_REPLACED])
        new = self._next + np.arange(_N_NEW)
        features, categories = self._growth.draw(_FIRST + number, _N_NEW + _N_REPLACED)
        order = rng.permutation(len(features))  # else those of one picture stand together
        self._alive = np.concatenate([np.setdiff1d(self._alive, removed), new])
        self._next += _N_NEW
        ids = np.concatenate([new, replaced])
        is_new = np.arange(len(ids)) < _N_NEW
        return Round(features[order], ids, categories[order], is_new, removed)

    def apart(self, number: int) -> Round | None:
        """Items to add in the busy category; None where there is only one."""
        if self.quiet is None:
            return None
        features, _ = self._growth.draw(2 * _FIRST + number, _BATCH)
        ids = _FIRST_APART + _BATCH * number + np.arange(_BATCH)
        names = np.full(_BATCH, self._busy)
        return Round(features, ids, names, np.ones(_BATCH, bool), np.empty(0, np.int64))


class Writer:
    """Adds items to a cluster all the while, in a ``with`` block.

    What is refused is sent again until it is acknowledged, as a client would.

    Parameters
    ----------
    draw : what to add, by its number, as of `Changes.apart`.
    """

    def __init__(self, cluster: Cluster, draw: Callable[[int], Round | None]) -> None:
        self._cluster, self._draw = cluster, draw
        self._stop = threading.Event()
        self._acknowledged: list[Round] = []
        self._sequence: tuple[int, ...] | None = None  # that a search has to see
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def n_acknowledged(self) -> int:
        """Items that the cluster said it has."""
        return sum(len(round_.ids) for round_ in self._acknowledged)

    def lost(self) -> int:
        """How many of them a search by their own features does not find."""
        n_lost = 0
        for start in range(0, len(self._acknowledged), _CHECKED // _BATCH):
            some = self._acknowledged[start : start + _CHECKED // _BATCH]
            features = np.concatenate([round_.features for round_ in some])
            ids = np.concatenate([round_.ids for round_ in some])
            found = self._cluster.search(
                features,
                60,
                _EVERYWHERE,
                [some[0].categories[0]],
                min_sequence=self._sequence,
            )
            n_lost += int((~(found.ids == ids[:, None]).any(axis=1)).sum())
        return n_lost

    def _run(self) -> None:
        number = 0
        while not self._stop.wait(_PAUSE_S):
            round_ = self._draw(number)
            if round_ is None:
                return
            try:
                told = self._cluster.put(round_.features, round_.ids, round_.categories)
            except InputError:
                continue
            self._sequence = told if self._sequence is None else latest(self._sequence, told)
            self._acknowledged.append(round_)
            number += 1
