"""What a search engine over many machines costs: a model of measured parts (paper section 3.3).

A query goes to a router, which asks one replica of every shard and merges what they answer:

    shard    t = base + per_list · L + per_scanned · v · n / L
    query    t = base + per_shard · S + per_byte · S · bytes of an answer + the shard's t

with N items in L = 4 √N lists over all S shards, n = N / S of them in a shard, v lists visited.
Every shard compares the query with all L centroids, since shards share their lists: so a shard's
time falls with S only as far as it scans items.

What the model leaves out: waiting (shards answer at once, as they do when idle), shards that are
slower than others, reads from a disk, the network stages before the index, changes that are not
folded in yet, and whether recall holds with as many visited lists where there are more lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from vsa.index.build import n_lists_for

CANDIDATE_BYTES = 16  # id, similarity and distance of a candidate, as a shard answers


@dataclass(frozen=True)
class ShardCost:
    """What a search of one shard costs a core, in milliseconds."""

    base_ms: float  # of a search, whatever the shard holds; refining the candidates is in it
    per_list_ms: float  # per list of the index: its centroid is compared with the query
    per_scanned_ms: float  # per item of the visited lists: its code is compared with the query's

    def ms(self, n_items: float, n_lists: float, n_probe: float) -> float:
        """Milliseconds of a shard of so many items, whose index has so many lists."""
        scanned = n_probe * n_items / n_lists
        return self.base_ms + self.per_list_ms * n_lists + self.per_scanned_ms * scanned


@dataclass(frozen=True)
class RouterCost:
    """What asking costs the one who asks, in milliseconds beside the shards' own work."""

    base_ms: float  # of a query: one round trip of a message
    per_shard_ms: float  # per shard that is asked
    per_byte_ms: float  # per byte that comes back

    def ms(self, n_shards: float, answer_bytes: float) -> float:
        """Milliseconds of a query to so many shards, each answering so many bytes."""
        return self.base_ms + n_shards * (self.per_shard_ms + self.per_byte_ms * answer_bytes)


@dataclass(frozen=True)
class ItemBytes:
    """What an index keeps."""

    code: float  # per item, in memory: its code, id and place
    feature: float  # per item: its feature, in memory or mapped from a disk
    per_list: float  # per list, in each replica of each shard: centroid and its code


@dataclass(frozen=True)
class Machine:
    """A machine that is assumed; nothing of it was measured."""

    memory_bytes: float = 256e9
    n_cores: int = 32
    share_used: float = 0.7  # of its memory, and of its cores' time; the rest is room


@dataclass(frozen=True)
class Demand:
    """What is asked of the whole."""

    n_items: float
    queries_per_s: float = 1000.0
    n_probe: float = 16.0  # lists visited
    n_candidates: int = 1000  # that each shard answers at most
    min_replicas: int = 2  # so that a machine may fail
    features_in_memory: bool = True


@dataclass(frozen=True)
class Layout:
    """How many machines serve a demand, what each holds, and what a query takes."""

    n_shards: int  # one to a machine
    n_replicas: int
    n_routers: int
    memory_bytes: float  # per machine that holds a shard
    shard_ms: float  # a core's time for one query, per shard
    latency_ms: float  # of a query, nobody else asking
    answer_bytes: float  # that a query brings to the router

    @property
    def n_machines(self) -> int:
        """Machines that hold shards, and those that route."""
        return self.n_shards * self.n_replicas + self.n_routers


def layout(
    shard: ShardCost, router: RouterCost, held: ItemBytes, machine: Machine, demand: Demand
) -> Layout:
    """The fewest shards that fit into memory, and as many replicas and routers as the load needs.

    Raises ValueError where the lists alone fill a machine.
    """
    n_lists = n_lists_for(int(demand.n_items))
    per_item = held.code + (held.feature if demand.features_in_memory else 0.0)
    room = machine.share_used * machine.memory_bytes - held.per_list * n_lists
    if room <= 0:
        raise ValueError(f"{n_lists} lists do not fit a machine's memory")
    n_shards = ceil(demand.n_items * per_item / room)
    n_items = demand.n_items / n_shards
    shard_ms = shard.ms(n_items, n_lists, demand.n_probe)
    answer = CANDIDATE_BYTES * min(float(demand.n_candidates), n_items)
    router_ms = router.ms(n_shards, answer)
    return Layout(
        n_shards,
        max(demand.min_replicas, _machines_for(demand.queries_per_s, shard_ms, machine)),
        max(demand.min_replicas, _machines_for(demand.queries_per_s, router_ms, machine)),
        n_items * per_item + held.per_list * n_lists,
        shard_ms,
        router_ms + shard_ms,
        n_shards * answer,
    )


def _machines_for(queries_per_s: float, ms: float, machine: Machine) -> int:
    """Machines whose cores have time for so many queries that take `ms` of a core each."""
    return ceil(queries_per_s * ms / 1e3 / (machine.n_cores * machine.share_used))


def share_of_slow(n_shards: int, quantile: float = 0.99) -> float:
    """Share of queries that wait for a shard beyond its own `quantile`, if shards are independent.

    Dean and Barroso's "The tail at scale": one slow shard of many makes the query slow.
    """
    return 1.0 - quantile**n_shards


def fit_shard(
    n_items: np.ndarray, n_lists: np.ndarray, n_probe: np.ndarray, ms: np.ndarray
) -> ShardCost:
    """Costs of a shard, none below zero, by relative least squares over m timed shards.

    Parameters
    ----------
    n_items, n_lists, n_probe, ms : (m,) what each held, the lists of its index, how many of them
        were visited, and the median milliseconds of a search.
    """
    return ShardCost(*_fit([n_lists, n_probe * n_items / n_lists], ms))


def fit_router(n_shards: np.ndarray, answer_bytes: np.ndarray, ms: np.ndarray) -> RouterCost:
    """Costs of asking, none below zero, by relative least squares over m timed ways of asking.

    Parameters
    ----------
    n_shards, answer_bytes, ms : (m,) how many were asked at once, what each of them answered, and
        the median milliseconds until all had answered that had nothing else to do.
    """
    return RouterCost(*_fit([n_shards, n_shards * answer_bytes], ms))


@dataclass(frozen=True)
class Costs:
    """What was timed, and the costs that fit it best."""

    shards: pd.DataFrame  # items, lists, probes, ms: a row for each timed index and setting
    messages: pd.DataFrame  # shards, bytes, ms: a row for each timed way of asking
    shard: ShardCost
    router: RouterCost
    held: ItemBytes


def fit(shards: pd.DataFrame, held: ItemBytes, messages: pd.DataFrame) -> Costs:
    """Costs of what was timed."""
    timed = (shards[name].to_numpy() for name in ("items", "lists", "probes", "ms"))
    asked = (messages[name].to_numpy() for name in ("shards", "bytes", "ms"))
    return Costs(shards, messages, fit_shard(*timed), fit_router(*asked), held)


def _fit(columns: list[np.ndarray], ms: np.ndarray) -> list[float]:
    """A constant and a factor of each column (m,), ≥ 0, that give ms (m,)."""
    table = np.column_stack([np.ones(len(ms)), *columns])
    scale = np.maximum(table.max(axis=0), 1e-12)  # of a column that is zero throughout, nothing
    found, _ = nnls(table / scale / ms[:, None], np.ones(len(ms)))
    return [float(value) for value in found / scale]
