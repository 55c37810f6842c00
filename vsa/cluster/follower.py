"""A replica: the base of a shard, mapped, and the changes that its writer tells of."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vsa.cluster.messages import Log, Question, Stale
from vsa.index.base import open_base
from vsa.index.hits import Found, find, kernel
from vsa.index.model import read_model
from vsa.index.view import View, make_view

Read = Callable[[str, int], Log]  # base and number of the last change that are known → what is new


@dataclass(frozen=True)
class _State:
    view: View
    sequence: int


class Follower:
    """Answers for all of a shard, at the state that it has followed its writer to.

    Searches may come from several threads; one thread follows.
    """

    def __init__(self, folder: str | Path, read: Read) -> None:
        """Open the base, with all changes.

        `read` asks the writer, and may wait until there is something. Raises what it raises, and
        InputError for a folder that cannot be opened.
        """
        self._folder, self._read = Path(folder), read
        self._model, _ = read_model(self._folder)
        self._has_moved = threading.Condition()
        self._state = self._opened(read("", 0))
        kernel(self._model)  # loaded before the first query

    @property
    def sequence(self) -> int:
        """Number of the newest change that a search sees."""
        return self._state.sequence

    @property
    def base(self) -> str:
        """Name of the base."""
        return self._state.view.base.name

    def follow(self) -> None:
        """Take what the writer has to tell; raises what reading or opening raises."""
        state = self._state
        log = self._read(state.view.base.name, state.sequence)
        if log.is_whole:
            state = self._opened(log)
        elif len(log.changes):
            state = _State(state.view.after(log.changes), log.changes.last)
        with self._has_moved:
            self._state = state
            self._has_moved.notify_all()

    def find(self, question: Question, wait_s: float) -> Found:
        """All candidates of each query; raises Stale if a change is not known within `wait_s`."""
        if self._state.sequence < question.min_sequence:
            with self._has_moved:
                if not self._has_moved.wait_for(
                    lambda: self._state.sequence >= question.min_sequence, wait_s
                ):
                    raise Stale(f"at change {self._state.sequence}, not {question.min_sequence}")
        return find(
            [self._state.view],
            question.features,
            question.params.n_candidates,
            question.params,
            question.categories,
        )

    def _opened(self, log: Log) -> _State:
        base = open_base(self._folder / log.base)
        return _State(make_view(base, log.changes, self._model), log.changes.last)
