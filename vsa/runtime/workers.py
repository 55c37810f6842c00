"""Processes that work beside ours, however ours was started, and end when it does; and threads.

Start them with ``multiprocessing.get_context("spawn")``: a fork would copy the locks that threads
hold, those of numpy and pyarrow among them, and may hang.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

_starting = threading.Lock()
_ASIDE = 10  # more niceness: a tenth of the share of whoever wants the same core


@contextmanager
def without_main() -> Iterator[None]:
    """Processes that are spawned meanwhile do not run our main module, as they otherwise would.

    It may be standard input, or a script without ``if __name__ == "__main__"``.
    """
    with _starting:
        main, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


def stand_aside() -> None:
    """Let others go first where the calling thread wants the same core as they, for good.

    Only Linux gives threads of one process priorities of their own; elsewhere nothing changes.
    """
    if sys.platform == "linux":
        os.nice(_ASIDE)


def end_with_parent() -> None:
    """Let this worker end when the process that spawned it is gone, even after ``kill -9``."""
    threading.Thread(target=_watch, daemon=True).start()


def _watch() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
