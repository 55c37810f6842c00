"""A time after which long work stops at the next place from which it can go on.

Processes that are started within the limit, kernels of notebooks among them, end with it, too: the
variable ``VSA_ENDS`` hands it on, on the clock that all processes of a machine share.
"""

from __future__ import annotations

import os
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


_VARIABLE = "VSA_ENDS"
_handed_on = os.environ.get(_VARIABLE)
# Of this process: training loops ask it after each step
DEADLINE = Deadline(float(_handed_on) if _handed_on else None)


@contextmanager
def time_limit(minutes: float | None) -> Iterator[Deadline]:
    """Let `DEADLINE` pass after so many minutes from now; None sets no limit.

    A training loop that finds it passed writes its checkpoint and raises `Stopped`.
    """
    before = DEADLINE.ends
    _set(None if minutes is None else time.monotonic() + 60 * minutes)
    try:
        yield DEADLINE
    finally:
        _set(before)


def _set(ends: float | None) -> None:
    DEADLINE.ends = ends
    if ends is None:
        os.environ.pop(_VARIABLE, None)
    else:
        os.environ[_VARIABLE] = repr(ends)
