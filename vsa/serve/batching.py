"""Searches that wait together: a queue for each stage, and as many workers as there are cores.

    decode ─┬─ category ────────┬─ answer
            └─ box and feature ─┘

A worker that is free takes what is farthest on, so that searches end before others begin; and of
photos that wait before a network, all up to a size, which then pass it together. Nobody waits for a
batch to fill: photos gather while workers are busy, and one that comes alone goes alone, its
category beside its box and feature. More workers than cores would only take turns.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from joblib import cpu_count

from vsa.answer import Answer, Described, Question, Seen
from vsa.engine import VisualSearch
from vsa.serve.problems import Refused

T = TypeVar("T")


@dataclass(eq=False)
class _Search(Generic[T]):
    """One search on its way."""

    ask: Callable[[], Question]
    tell: Callable[[Answer, Question], T]
    ends: float  # on the clock of `time.monotonic`
    future: Future[T] = field(default_factory=Future)
    seen: Seen | None = None
    described: Described | None = None
    category: Any = None  # of its stage; None also where the engine has none

    def fail(self, error: BaseException) -> None:
        with suppress(InvalidStateError):  # whoever waited has given up
            self.future.set_exception(error)

    def end(self, told: T) -> None:
        with suppress(InvalidStateError):
            self.future.set_result(told)

    @property
    def is_wanted(self) -> bool:
        """Whether somebody still waits for it."""
        if time.monotonic() > self.ends:
            self.fail(too_late())
        return not self.future.done()


_Step = Callable[[Sequence[_Search[Any]]], None]


def too_late() -> Refused:
    """What is told of a search that took too long."""
    return Refused(
        503,
        "the search was not answered in time",
        cure="Try again later: others wait, too",
        retry_after_s=2,
    )


class Pools:
    """Answers searches of an engine, those that wait together in batches."""

    def __init__(
        self,
        engine: VisualSearch,
        *,
        max_batch: int,
        n_workers: int | None = None,
        on_batch: Callable[[int], None] = lambda size: None,
    ) -> None:
        """Start the workers.

        Parameters
        ----------
        max_batch : photos that pass the networks together, at most.
        n_workers : one for each core by default.
        on_batch : is told how many pass together each time.
        """
        self.engine, self.max_batch, self.on_batch = engine, max_batch, on_batch
        self._waiting = threading.Condition()
        self._is_closed = False
        self._n_running = 0  # steps that workers are at
        self._new: deque[_Search[Any]] = deque()
        self._to_describe: deque[_Search[Any]] = deque()
        self._to_categorise: deque[_Search[Any]] = deque()
        self._to_answer: deque[_Search[Any]] = deque()
        self._workers = [
            threading.Thread(target=self._work, name=f"search-{number}", daemon=True)
            for number in range(n_workers or cpu_count())
        ]
        for worker in self._workers:
            worker.start()

    def submit(
        self,
        ask: Callable[[], Question],
        tell: Callable[[Answer, Question], T],
        *,
        within_s: float,
    ) -> Future[T]:
        """Search in turn; the future has what `tell` makes of the answer, or an error.

        Parameters
        ----------
        ask : makes the question, as of `VisualSearch.ask`; its errors are the future's.
        within_s : seconds, after which it is refused rather than begun.
        """
        search = _Search(ask, tell, time.monotonic() + within_s)
        with self._waiting:
            if self._is_closed:
                raise RuntimeError("the pools are closed")
            self._new.append(search)
            self._waiting.notify()
        return search.future

    def close(self) -> None:
        """Answer all that wait, and stop."""
        with self._waiting:
            self._is_closed = True
            self._waiting.notify_all()
        for worker in self._workers:
            worker.join()

    # What workers do -----------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._waiting:
                while not (taken := self._take()):
                    if self._is_closed and not self._n_running:
                        self._waiting.notify_all()
                        return
                    self._waiting.wait()
                self._n_running += 1
            step, searches = taken
            self._take_step(step, [search for search in searches if search.is_wanted])
            with self._waiting:
                self._n_running -= 1
                self._waiting.notify_all()

    def _take_step(self, step: _Step, searches: list[_Search[Any]]) -> None:
        """Take searches one step on; of several, what is wrong with one spoils no other."""
        try:
            if searches:
                step(searches)
        except Exception as error:
            if len(searches) == 1:
                searches[0].fail(error)
                return
            for search in searches:
                self._take_step(step, [search])

    def _take(self) -> tuple[_Step, list[_Search[Any]]] | None:
        """What to do next, and for which searches: the farthest first; None if nothing waits."""
        if self._to_answer:
            return self._answer, [self._to_answer.popleft()]
        longest = max(len(self._to_describe), len(self._to_categorise))
        if longest and (longest >= self.max_batch or not self._new):
            is_first = len(self._to_describe) >= len(self._to_categorise)
            step = self._describe if is_first else self._categorise
            queue = self._to_describe if is_first else self._to_categorise
            return step, [queue.popleft() for _ in range(min(len(queue), self.max_batch))]
        if self._new:
            return self._see, [self._new.popleft()]
        return None

    def _see(self, searches: Sequence[_Search[Any]]) -> None:
        (search,) = searches
        search.seen = self.engine.eyes.see(search.ask())
        with self._waiting:
            self._to_describe.append(search)
            if self.engine.trained is not None:
                self._to_categorise.append(search)

    def _describe(self, searches: Sequence[_Search[Any]]) -> None:
        self.on_batch(len(searches))
        found = self.engine.eyes.describe([search.seen for search in searches if search.seen])
        with self._waiting:
            for search, described in zip(searches, found, strict=True):
                search.described = described
                if search.category or self.engine.trained is None:
                    self._to_answer.append(search)

    def _categorise(self, searches: Sequence[_Search[Any]]) -> None:
        found = self.engine.categorise([search.seen for search in searches if search.seen])
        with self._waiting:
            for search, category in zip(searches, found, strict=True):
                search.category = category
                if search.described:
                    self._to_answer.append(search)

    def _answer(self, searches: Sequence[_Search[Any]]) -> None:
        (search,) = searches
        assert search.seen is not None
        assert search.described is not None
        answer = self.engine.answer(search.seen, search.described, search.category)
        search.end(search.tell(answer, search.seen.asked))
