"""What a cluster might have shown: nobody measured it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from vsa.study.scale.cost import Costs, ItemBytes, RouterCost, ShardCost, fit
from vsa.study.scale.load import (
    FAILED,
    PARTIAL,
    RIGHT,
    Disturbed,
    Equality,
    Loss,
    Rolled,
    Search,
)

SHARD, ROUTER = ShardCost(0.3, 2e-4, 3e-6), RouterCost(1.2, 0.3, 5e-6)
HELD = ItemBytes(44.0, 256.0, 552.0)


def made_searches(length_s: float, bad_from: float = np.inf, bad_until: float = np.inf):
    """One search each 20 ms; in a while some are partial, every twentieth of them fails."""
    rng = np.random.default_rng(0)
    searches = []
    for number, at in enumerate(np.arange(0, length_s, 0.02)):
        is_bad = bad_from <= at < bad_until
        kind = PARTIAL if is_bad and number % 2 else RIGHT
        if is_bad and number % 20 == 0:
            kind = FAILED
        ms = float(rng.lognormal(2, 0.3)) * (20 if is_bad else 1)
        searches.append(Search(float(at), ms, number % 7, kind, None))
    return searches


def made_losses() -> Disturbed:
    """A node lost at 4 s, and another one at 24 s; whole again after 8 s and after 12 s."""
    first = made_searches(20, 4, 6)
    second = [Search(s.at + 20, s.ms, s.query, s.kind, None) for s in made_searches(20, 4, 5)]
    return Disturbed(first + second, [Loss(4.0, 8.0), Loss(24.0, 12.0)], 1000, 0)


def made_roll() -> Rolled:
    return Rolled(made_searches(10), 3.0, 6.0, 640)


def made_equality(n: int = 10_000, n_wrong: int = 0) -> Equality:
    return Equality(np.arange(n) >= n_wrong, 640)


def made_costs() -> Costs:
    """Times that follow known costs."""
    sizes = [(n, round(4 * n**0.5), v) for n in (25_000, 100_000, 400_000) for v in (8, 32, 128)]
    shards = [(*row, SHARD.ms(*row)) for row in sizes]
    asked = [(n, size) for n in (1, 2, 4, 6) for size in (0, 16_000, 160_000)]
    messages = [(*row, ROUTER.ms(*row)) for row in asked]
    return fit(
        pd.DataFrame(shards, columns=["items", "lists", "probes", "ms"]).astype(float),
        HELD,
        pd.DataFrame(messages, columns=["shards", "bytes", "ms"]).astype(float),
    )
