"""Searches beside a writer, over shards, and by several clients at once."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from vsa.index.index import Index
from vsa.index.request import SearchParams
from vsa.index.shards import ShardedIndex
from vsa.runtime.workers import without_main
from vsa.study.index.timing import N_WARMUP, K, latency, one_thread

BATCH = 256  # items per durable write


@dataclass(frozen=True)
class Traffic:
    """Searches beside a writer."""

    name: str
    adds_per_s: float  # acknowledged, durable
    p50_ms: float
    p95_ms: float
    p99_ms: float


def update_traffic(
    folder: Path, features: np.ndarray, queries: np.ndarray, seconds: float, rates: Sequence[float]
) -> list[Traffic]:
    """Search an index while another process adds to it, in batches of 256, at several rates.

    A rate of 0 is an idle writer, of infinity one that adds as fast as it can.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    writer = context.Process(target=_write, args=(folder, features, seconds, theirs), daemon=True)
    with without_main():
        writer.start()
    theirs.close()  # if the writer dies, waiting for it ends
    loads, first = [], 2**40
    for rate in rates:
        with Index.open(folder) as index, one_thread():
            for query in queries[:N_WARMUP]:
                index.search_one(query, K)
            ours.send((first, rate))
            ours.recv()  # it is ready
            times: list[float] = []
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                start = time.perf_counter()
                index.search_one(queries[len(times) % len(queries)], K)
                times.append(time.perf_counter() - start)
            added, spent = ours.recv()
        first += added
        name = "idle" if rate == 0 else "as fast as it can" if np.isinf(rate) else f"{rate:,.0f}/s"
        loads.append(Traffic(name, added / spent, **latency(np.array(times))))
    ours.close()
    writer.join()
    return loads


def _write(folder: Path, features: np.ndarray, seconds: float, pipe: Connection) -> None:
    """Add for so many seconds each time that a first id and a rate are received."""
    with suppress(EOFError), one_thread():
        while True:
            first, rate = pipe.recv()
            with Index.open(folder, writable=True) as index:
                pipe.send("ready")
                pipe.send(_add_for_a_while(index, features, first, rate, seconds))


def _add_for_a_while(
    index: Index, features: np.ndarray, first: int, rate: float, seconds: float
) -> tuple[int, float]:
    """How many items were added, and in how many seconds."""
    names, added, start = index.categories, 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        if added >= rate * spent:
            time.sleep(0.001)
            continue
        rows = np.arange(added, added + BATCH) % len(features)
        chosen = [names[row % len(names)] for row in rows]
        index.add(features[rows], first + np.arange(added, added + BATCH), chosen)
        added += BATCH
    return added, time.perf_counter() - start


def shard_results(
    one: Index, many: ShardedIndex, queries: np.ndarray, params: SearchParams
) -> np.ndarray:
    """Per query, whether shards return the very ids and similarities of one index; bool (n,)."""
    same = []
    for query in queries:
        first, second = (index.search_one(query, K, params) for index in (one, many))
        same.append(
            np.array_equal(first.ids, second.ids)
            and np.array_equal(first.similarity, second.similarity)
        )
    return np.array(same)


def throughput(
    search: Callable[[np.ndarray], object], queries: np.ndarray, n_clients: int, seconds: float
) -> float:
    """Queries per second of so many threads that ask one after the other."""
    counts, stop = [0] * n_clients, threading.Event()

    def ask(client: int) -> None:
        while not stop.is_set():
            search(queries[(counts[client] * n_clients + client) % len(queries)])
            counts[client] += 1

    with one_thread():
        clients = [threading.Thread(target=ask, args=(i,)) for i in range(n_clients)]
        start = time.perf_counter()
        for client in clients:
            client.start()
        time.sleep(seconds)
        stop.set()
        for client in clients:
            client.join()
        return sum(counts) / (time.perf_counter() - start)
