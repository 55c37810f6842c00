"""A cluster of three local nodes: equal results, the cost of Ray, and nodes that are killed.

    python benchmarks/cluster.py --kills 20 --out cluster.json

Nodes share this machine's cores: what is measured is what survives, and what a message costs; not
what several machines can do. Latency takes turns with the same shards in one process.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from vsa.cluster.cluster import Cluster
from vsa.cluster.local import LocalNodes
from vsa.cluster.routing import latest
from vsa.index.build import build_index
from vsa.index.index import Index
from vsa.index.request import SearchParams
from vsa.index.shards import ShardedIndex, cut_shards
from vsa.runtime.seeds import generator

K, DIM, SHARDS, REPLICAS, NODES = 60, 128, 3, 2, 3
OLD, NEW = "old", "new"  # categories: of items that stay, and of those that are written under load
PARAMS = SearchParams()
AFTER_S = 5.0  # in which errors are counted
WHOLE_S = 60.0


def unit(rng: np.random.Generator, n: int) -> np.ndarray:
    found = rng.standard_normal((n, DIM), np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@dataclass
class Load:
    """Searches and writes, one after the other, each in a thread."""

    cluster: Cluster
    queries: np.ndarray
    expected: np.ndarray  # int64 (n, K)
    answers: list[tuple[float, bool]] = field(default_factory=list)  # when; whether it was whole
    n_wrong: int = 0
    features: list[np.ndarray] = field(default_factory=list)  # that were acknowledged
    sequence: tuple[int, ...] = (0,) * SHARDS
    slowest_write_s: float = 0.0
    is_over: threading.Event = field(default_factory=threading.Event)

    def search(self) -> None:
        row = 0
        while not self.is_over.is_set():
            hits = self.cluster.search_one(self.queries[row], K, PARAMS, [OLD])
            self.answers.append((time.monotonic(), not hits.is_partial))
            is_right = np.array_equal(hits.ids, self.expected[row])
            if hits.is_partial:  # what is there must still be right
                from_others = ~np.isin(self.expected[row] % SHARDS, hits.missing_shards)
                right = self.expected[row][from_others]
                is_right = np.array_equal(hits.ids[: len(right)], right)
            self.n_wrong += not is_right
            row = (row + 1) % len(self.queries)

    def write(self, first: int) -> None:
        rng = generator(first, "written")
        while not self.is_over.is_set():
            features = unit(rng, 3)
            ids = first + 3 * len(self.features) + np.arange(3)
            start = time.monotonic()
            sequence = self.cluster.put(features, ids, [NEW] * 3)
            self.slowest_write_s = max(self.slowest_write_s, time.monotonic() - start)
            self.sequence = latest(self.sequence, sequence)
            self.features.append(features)
            time.sleep(0.02)


def latency(cluster: Cluster, shards: ShardedIndex, queries: np.ndarray) -> dict[str, float]:
    """Medians of both, which take turns, in ms."""
    sides = {"cluster": cluster.search_one, "one process": shards.search_one}
    times: dict[str, list[float]] = {name: [] for name in sides}
    for query in queries:
        for name, search in sides.items():
            start = time.perf_counter()
            search(query, K, PARAMS)
            times[name].append(1e3 * (time.perf_counter() - start))
    found = {f"{name}_ms": round(float(np.median(each[20:])), 3) for name, each in times.items()}
    return found | {"cluster_p95_ms": round(float(np.quantile(times["cluster"][20:], 0.95)), 3)}


def equal(cluster: Cluster, one: Index, n_queries: int) -> dict[str, int]:
    """Queries that find anything else than in one index, under changes between each hundred."""
    rng, differ, first = generator(0, "changes"), 0, 10**6
    for step in range(n_queries // 100):
        features, ids = unit(rng, 30), first + 20 * step + np.arange(30)  # ten are replaced
        for index in (cluster, one):
            index.put(features, ids, [OLD] * 30)
        one.remove(ids[:5])
        sequence = cluster.remove(ids[:5])
        queries = unit(rng, 100)
        found = cluster.search(queries, K, PARAMS, min_sequence=sequence)
        scores, expected = one.search(queries, K, PARAMS)
        same = (found.ids == expected).all(1) & (found.scores == scores).all(1)
        differ += int((~same).sum()) if not found.missing_shards else 100
    return {"queries": 100 * (n_queries // 100), "that differ": differ}


def kill_one(nodes: LocalNodes, load: Load, rng: np.random.Generator) -> dict[str, float]:
    """Kill a worker node at a random moment of the load, and wait until all is whole again."""
    time.sleep(rng.uniform(0.5, 3.0))
    nodes.kill(str(rng.choice(nodes.workers)))
    start = time.monotonic()
    while len(load.cluster.status().nodes) == NODES:
        time.sleep(0.1)
    while not load.cluster.status().is_whole and time.monotonic() - start < WHOLE_S:
        time.sleep(0.1)
    whole_s = time.monotonic() - start
    time.sleep(max(0.0, AFTER_S - whole_s))
    after = [is_whole for when, is_whole in list(load.answers) if 0 <= when - start < AFTER_S]
    nodes.add()
    return {
        "whole_s": round(whole_s, 2),
        "answers": len(after),
        "partial": after.count(False),
        "slowest_s": round(_slowest(load.answers, start), 3),
    }


def _slowest(answers: list[tuple[float, bool]], start: float) -> float:
    """The longest time between two answers in the seconds after."""
    times = [when for when, _ in list(answers) if -1.0 <= when - start < AFTER_S]
    return float(np.diff(times).max())


def lost(cluster: Cluster, load: Load, first: int) -> int:
    """Acknowledged items that are not found by their own features."""
    features = np.concatenate(load.features)
    everything = SearchParams(10**6, 200)
    found = np.concatenate(
        [
            cluster.search(part, 1, everything, [NEW], min_sequence=load.sequence).ids[:, 0]
            for part in np.array_split(features, max(1, len(features) // 100))
        ]
    )
    return int((found != first + np.arange(len(features))).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=60_000)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    rng, told = generator(0, "kills"), {}
    with TemporaryDirectory() as made:
        folder = Path(made)
        features = unit(generator(0, "items"), asked.items)
        names = np.full(asked.items, OLD, object)
        names[-100:] = NEW
        build_index(folder / "one", features, categories=names)
        with Index.open(folder / "one", writable=True) as one, LocalNodes(NODES) as nodes:
            cut_shards(one, folder / "one.shards", SHARDS)
            start = time.monotonic()
            cluster = Cluster.start(folder / "one", shards=SHARDS, replicas=REPLICAS)
            told["start_s"] = round(time.monotonic() - start, 1)
            queries = unit(rng, 300)
            shards = ShardedIndex.open(folder / "one.shards")
            told["latency"] = latency(cluster, shards, queries)
            shards.close()
            print(json.dumps(told), flush=True)
            told["equality"] = equal(cluster, one, asked.queries)
            print(json.dumps(told["equality"]), flush=True)
            _, expected = one.search(queries, K, PARAMS, [OLD])
            load, first = Load(cluster, queries, expected), 3 * 10**6
            threads = [
                threading.Thread(target=load.search),
                threading.Thread(target=load.write, args=(first,)),
            ]
            for thread in threads:
                thread.start()
            told["kills"] = []
            for number in range(asked.kills):
                told["kills"].append(kill_one(nodes, load, rng))
                print(number, json.dumps(told["kills"][-1]), flush=True)
            load.is_over.set()
            for thread in threads:
                thread.join()
            told["answers"], told["wrong"] = len(load.answers), load.n_wrong
            told["acknowledged"] = 3 * len(load.features)
            told["lost"] = lost(cluster, load, first)
            told["slowest_write_s"] = round(load.slowest_write_s, 2)
            told["status"] = asdict(cluster.status())["problems"]
            cluster.stop()
    print(json.dumps(told, indent=1))
    if asked.out:
        asked.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
