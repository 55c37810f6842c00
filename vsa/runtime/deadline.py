"""A time after which long work stops at the next place from which it can go on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


class Stopped(Exception):
    """The time was used up; what was begun continues when it is asked for again."""


@dataclass
class Deadline:
    """When to stop: the end on the clock of `time.monotonic`, in seconds; None for never."""

    ends: float | None = None

    def passed(self) -> bool:
        """Whether the time is used up."""
        return self.ends is not None and time.monotonic() >= self.ends


DEADLINE = Deadline()  # of this process: training loops ask it after each step


@contextmanager
def time_limit(minutes: float | None) -> Iterator[Deadline]:
    """Let `DEADLINE` pass after so many minutes from now; None sets no limit.

    A training loop that finds it passed writes its checkpoint and raises `Stopped`.
    """
    before = DEADLINE.ends
    DEADLINE.ends = None if minutes is None else time.monotonic() + 60 * minutes
    try:
        yield DEADLINE
    finally:
        DEADLINE.ends = before
