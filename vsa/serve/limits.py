"""What a request may cost, and how many may wait: one data class, each field an operator's choice.

A service that takes all that comes answers nobody: what is above a limit is refused at once, with
the status that says so (413, 422, 429, 503) and, where waiting helps, after how long to try again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vsa.runtime.errors import InputError
from vsa.runtime.settings import Count, Positive, make_settings

_MB = 10**6


@dataclass(frozen=True)
class Limits:
    """Of requests; times are in seconds, on a clock that nobody sets."""

    max_bytes: Count = 10 * _MB  # of the body of a search
    max_pixels: Count = 40_000_000  # of a photo, or of a picture that joins the catalogue
    max_k: Count = 1000  # results
    max_write_bytes: Count = 100 * _MB  # of the body of a write
    max_rows: Count = 1000  # of a write
    max_held_bytes: Count = 500 * _MB  # of all bodies that are in memory
    max_open: Count = 512  # requests that are read or answered at once
    max_waiting: Count = 128  # searches that wait for an answer
    max_writes: Count = 4  # writes that wait for their turn, which one has at a time
    head_s: Positive = 10.0  # for the lines before a body
    body_s: Positive = 30.0  # for a body to arrive
    search_s: Positive = 10.0  # for a search, from the moment its photo is there
    write_s: Positive = 300.0  # for a write, from the moment its turn has come
    stop_s: Count = 30  # for what was accepted, once the service is told to stop
    max_batch: Count = 16  # photos that pass the networks together


def make_limits(changes: Sequence[str]) -> Limits:
    """The limits, some of them changed: ``max_bytes=20000000``.

    Raises InputError for a name that is none, and a value that does not fit.
    """
    values: dict[str, Any] = {}
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals:
            raise InputError(f"{change!r} sets nothing", cure="Write name=value: max_k=100")
        try:
            values[name.strip()] = json.loads(text)
        except ValueError:
            raise InputError(f"{name} is {text!r}", cure="Give a number") from None
    return make_settings(Limits, values)
