"""Clients that ask all the while, and what became of each search."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np
import pandas as pd

from vsa.index.hits import Hits

RIGHT, WRONG, PARTIAL, FAILED = "right", "wrong", "partial", "failed"
OVER_RAY, IN_PROCESS = "shards over Ray", "the same shards in one process"
JUDGED_S = 5.0  # after a loss: errors are counted for so long
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Search:
    """One search of a client."""

    at: float  # when it began, by time.monotonic
    ms: float
    query: int
    kind: str  # RIGHT, WRONG, PARTIAL or FAILED
    hits: Hits | None  # of a partial answer, which has to be judged by what was missing


@dataclass(frozen=True)
class Equality:
    """Results over shards against one index, while both change."""

    same: np.ndarray  # bool (n,): the very ids and scores
    n_changes: int  # items that were added, replaced or removed between queries


@dataclass(frozen=True)
class Loss:
    """A node that was killed at a moment of `time.monotonic`."""

    at: float
    whole_s: float  # until every replica and writer answered again; infinite if they never did


@dataclass(frozen=True)
class Disturbed:
    """What clients saw while something happened."""

    searches: list[Search]
    losses: list[Loss]
    n_acknowledged: int  # items whose change was acknowledged meanwhile …
    n_lost: int  # … and is not there afterwards


@dataclass(frozen=True)
class Rolled:
    """What clients saw while all shards got new bases."""

    searches: list[Search]
    start: float  # of time.monotonic
    end: float
    n_folded: int  # changed items that went into the bases


class Load:
    """Clients that each ask at a steady pace, in a ``with`` block.

    Parameters
    ----------
    ask : what a client calls with a query's number; what it raises counts as no answer.
    wanted : what each query has to find, by its number.
    n_clients : threads.
    pause_s : of a client from the beginning of one search to that of the next, if it has ended.
    """

    def __init__(
        self,
        ask: Callable[[int], Hits],
        wanted: Sequence[Hits],
        n_clients: int = 2,
        pause_s: float = 0.04,
    ) -> None:
        self._ask, self._wanted, self._pause_s = ask, wanted, pause_s
        self._stop = threading.Event()
        self.searches: list[Search] = []
        self._clients = [
            threading.Thread(target=self._run, args=(client, n_clients), daemon=True)
            for client in range(n_clients)
        ]

    def __enter__(self) -> Load:
        for client in self._clients:
            client.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for client in self._clients:
            client.join()

    def _run(self, client: int, n_clients: int) -> None:
        query = client
        while not self._stop.is_set():
            start = time.monotonic()
            self.searches.append(self._search(query % len(self._wanted), start))
            query += n_clients
            self._stop.wait(max(0.0, self._pause_s - (time.monotonic() - start)))

    def _search(self, query: int, start: float) -> Search:
        hits, kind = None, FAILED
        try:
            found = self._ask(query)
            if found.is_partial:
                if len(found.ids):  # else no shard answered
                    hits, kind = found, PARTIAL
            else:
                kind = RIGHT if are_same(found, self._wanted[query]) else WRONG
        except Exception:  # whatever it is, a client got no answer
            _LOG.debug("a search failed", exc_info=True)
        return Search(start, 1e3 * (time.monotonic() - start), query, kind, hits)


def are_same(first: Hits, second: Hits) -> bool:
    """Whether ids and scores are the very same."""
    return np.array_equal(first.ids, second.ids) and np.array_equal(
        first.similarity, second.similarity
    )


def as_timeline(searches: Sequence[Search], since: float) -> pd.DataFrame:
    """Searches by when they began: columns ``s`` since a moment, ``ms`` and ``kind``."""
    rows = [(search.at - since, search.ms, search.kind) for search in searches]
    return pd.DataFrame(rows, columns=["s", "ms", "kind"]).sort_values("s", ignore_index=True)
