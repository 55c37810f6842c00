"""Which replica a query asks, and what happens where one fails or hangs (paper section 3.3).

A query goes to one replica of each shard, in turn: of Q queries, each of R replicas gets Q/R. One
that fails, or passes its time limit, is passed over for another, and rests; of those that are late
the first to answer is taken. A shard of which none answers is missing from the answer. Nothing here
knows of Ray.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vsa.cluster.messages import Question, Stale
from vsa.index.hits import Found, Hits, best, nearest

_LOG = logging.getLogger(__name__)
PATIENCE = 4  # limits, after which a shard is given up although somebody may still answer
REST_S = 5.0  # a replica that failed is not asked for so long while another can be


class Replica(Protocol):
    """One that may be asked."""

    @property
    def name(self) -> str:
        """Its own, and nobody's after it."""
        ...

    def ask(self, question: Question) -> Future[Found]:
        """Send a question; the future fails if the replica does."""
        ...


@dataclass
class _Try:
    shard: int
    replica: Replica
    ends: float  # on the clock of `time.monotonic`
    is_late: bool = False


class Router:
    """Asks one replica of each shard, and others in place of those that do not answer."""

    def __init__(self, limit_s: float) -> None:
        """`limit_s` is how long a replica may take before another is asked."""
        self.limit_s = limit_s
        self.shards: Sequence[Sequence[Replica]] = ()
        self._turn = itertools.count()
        self._rests_until: dict[str, float] = {}

    def ask(self, questions: Sequence[Question]) -> list[Found | None]:
        """The answer of each shard to its question, None where no replica gave one in time."""
        shards, turn = self.shards, next(self._turn)
        others = [self._in_turn(replicas, turn) for replicas in shards]
        answers: list[Found | None] = [None] * len(shards)
        waiting: dict[Future[Found], _Try] = {}
        given_up = time.monotonic() + PATIENCE * self.limit_s

        def ask_next(shard: int) -> None:
            for replica in others[shard]:
                try:
                    future = replica.ask(questions[shard])
                except Exception as error:
                    self._passed_over(shard, replica, error)
                    continue
                waiting[future] = _Try(shard, replica, time.monotonic() + self.limit_s)
                return

        for shard in range(len(shards)):
            ask_next(shard)
        while waiting and (now := time.monotonic()) < given_up:
            next_end = min(
                (one.ends for one in waiting.values() if not one.is_late), default=given_up
            )
            done, _ = wait(waiting, max(0.0, min(next_end, given_up) - now), FIRST_COMPLETED)
            for future in done:
                one = waiting.pop(future)
                try:
                    answers[one.shard] = future.result()
                except Exception as error:  # whatever is wrong with one, another may answer
                    self._passed_over(one.shard, one.replica, error)
                    if not one.is_late:
                        ask_next(one.shard)
            waiting = {f: one for f, one in waiting.items() if answers[one.shard] is None}
            self._pass_over_late(waiting, ask_next)
        return answers

    def _pass_over_late(
        self, waiting: Mapping[Future[Found], _Try], ask_next: Callable[[int], None]
    ) -> None:
        """Ask others beside those that have passed their limit, whose answers still count."""
        now = time.monotonic()
        for one in [one for one in waiting.values() if not one.is_late and one.ends <= now]:
            one.is_late = True
            late = TimeoutError(f"no answer within {self.limit_s:g} s")
            self._passed_over(one.shard, one.replica, late)
            ask_next(one.shard)

    def _in_turn(self, replicas: Sequence[Replica], turn: int) -> Iterator[Replica]:
        order = [replicas[(turn + step) % len(replicas)] for step in range(len(replicas))]
        now = time.monotonic()
        return iter(sorted(order, key=lambda one: self._rests_until.get(one.name, 0.0) > now))

    def _passed_over(self, shard: int, replica: Replica, error: Exception) -> None:
        _LOG.warning("shard %d: %s is passed over: %s", shard, replica.name, _first_line(error))
        if not isinstance(error, Stale):  # it answers others
            self._rests_until[replica.name] = time.monotonic() + REST_S


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def merged(
    answers: Sequence[Found | None], row: int, k: int, n_candidates: int, *, refined: bool = True
) -> Hits:
    """What one of the queries found in all shards that answered, as in one index.

    Unless `refined`, in the order of the distances of codes.
    """
    missing = tuple(shard for shard, answer in enumerate(answers) if answer is None)
    parts = [answer.candidates(row) for answer in answers if answer is not None]
    if not parts:
        return Hits(np.empty(0, np.int64), np.empty(0, np.float32), missing)
    hits = best(parts, k, n_candidates) if refined else nearest(parts, k)
    return Hits(hits.ids, hits.similarity, missing)


def latest(first: Sequence[int], second: Sequence[int]) -> tuple[int, ...]:
    """Of each shard the later of two changes."""
    return tuple(map(max, first, second))
