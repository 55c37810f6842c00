"""Progress of long loops: on a terminal, in a notebook, and through papermill.

A notebook executed by the pipeline has no terminal; the executor names a file in
``VSA_PROGRESS`` and copies what is written there to its own standard error. With
``VSA_PROGRESS=off`` (tests) nothing is written, so committed notebook outputs stay stable.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(iterable: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Iterate while showing `description`, position, speed and time left.

    A single step is not worth a bar, and an online search consists of such.
    """
    target = os.environ.get("VSA_PROGRESS", "")
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    if target == "off" or total == 1:
        yield from iterable
    elif target:
        with open(target, "a", encoding="utf-8") as stream:
            yield from tqdm(
                iterable, description, total, file=stream, mininterval=2, ncols=80, leave=False
            )
    else:
        yield from tqdm(
            iterable, description, total, leave=False, disable=not sys.stderr.isatty(), ncols=80
        )


def tell(what: str) -> None:
    """Say what takes so long, where `progress` shows how far it is."""
    target = os.environ.get("VSA_PROGRESS", "")
    if target and target != "off":
        with open(target, "a", encoding="utf-8") as stream:
            stream.write(f"{what}\n")
    elif not target:
        print(what, file=sys.stderr, flush=True)
