"""Seeds: one function for generators, one for torch. No global numpy state anywhere."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """An independent generator for each purpose, e.g. ``generator(0, "clicks", query_id)``.

    The stream depends on the seed and the purpose alone, never on the order of calls or on the
    number of worker processes.
    """
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))
