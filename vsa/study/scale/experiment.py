"""The experiments of notebook 08: one catalogue over the nodes of a Ray cluster.

Nodes are real ones: each has its raylet and its workers, and all share this machine. Beside the
cluster stands one index of the same items, in this process, which is given the same changes.
"""

from __future__ import annotations

import io
import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vsa.cluster.cluster import Cluster
from vsa.cluster.connect import load_ray
from vsa.cluster.local import LocalNodes
from vsa.cluster.routing import latest
from vsa.index.hits import Hits, best
from vsa.index.index import Index
from vsa.index.request import SearchParams
from vsa.index.shards import ShardedIndex
from vsa.runtime.errors import InputError, NotApplicable
from vsa.runtime.progress import progress
from vsa.runtime.seeds import generator
from vsa.study.index.timing import N_WARMUP, K, one_thread
from vsa.study.scale.changes import Changes, Writer
from vsa.study.scale.load import (
    IN_PROCESS,
    JUDGED_S,
    OVER_RAY,
    PARTIAL,
    WRONG,
    Disturbed,
    Equality,
    Load,
    Loss,
    Rolled,
    Search,
    are_same,
)
from vsa.study.scale.prepare import ScaleLab

N_NODES = 3
_GIVE_UP_S = 90.0  # of waiting until all is whole again
_START_S = 180.0  # of a cluster, at most, on a machine that has other work
_POLL_S = 0.1
_N_ASKED = 200  # queries of a load, which are asked in turn


@dataclass
class Stage:
    """A cluster that runs, one index that holds the same, and a lab's queries."""

    lab: ScaleLab
    nodes: LocalNodes
    cluster: Cluster
    one: Index
    start_s: float  # until the cluster answered
    changes: Changes
    n_changed: int = 0  # items, by `equality`

    @property
    def params(self) -> SearchParams:
        """What each search costs, on either side."""
        return self.one.params

    # Equality ------------------------------------------------------------------------------

    def equality(self) -> Equality:
        """Change both sides, ask both, and compare, query by query, round after round.

        Every search asks for the changes before it. Every other round asks within half of the
        categories.
        """
        settings = self.lab.settings
        queries = self.lab.queries(settings.n_queries)
        names = list(self.one.categories)
        same, sequence = [], None
        for number, asked in enumerate(np.array_split(queries, settings.n_rounds)):
            round_ = self.changes.draw(number)
            round_.apply_to(self.one)
            for written in round_.write_to(self.cluster):
                sequence = written if sequence is None else latest(sequence, written)
            self.n_changed += round_.n_items
            within = names[: max(1, len(names) // 2)] if number % 2 else None
            found = self.cluster.search(asked, K, self.params, within, min_sequence=sequence)
            scores, ids = self.one.search(asked, K, self.params, within)
            equal = (found.ids == ids).all(axis=1) & (found.scores == scores).all(axis=1)
            same.append(equal & (not found.missing_shards))
        return Equality(np.concatenate(same), self.n_changed)

    # Time ----------------------------------------------------------------------------------

    def idle(self) -> dict[str, np.ndarray]:
        """Seconds of searches while nobody else asks: over Ray, and of the same shards here.

        Both are asked in turn, one query after the other.
        """
        queries = self.lab.queries(self.lab.settings.n_timed + N_WARMUP)
        here = ShardedIndex.open(self.lab.folder / "shards")
        ways: dict[str, Cluster | ShardedIndex] = {OVER_RAY: self.cluster, IN_PROCESS: here}
        times: dict[str, list[float]] = {name: [] for name in ways}
        with one_thread():
            for query in queries:
                for name, way in ways.items():
                    start = time.perf_counter()
                    way.search_one(query, K, self.params)
                    times[name].append(time.perf_counter() - start)
        here.close()
        return {name: np.array(found[N_WARMUP:]) for name, found in times.items()}

    # Disturbances --------------------------------------------------------------------------

    def roll(self) -> Rolled:
        """Fold all changes into new bases, shard by shard, while clients ask."""
        with self._load() as load:
            time.sleep(self.lab.settings.load_s)
            start = time.monotonic()
            self.cluster.roll()
            end = time.monotonic()
            time.sleep(self.lab.settings.load_s)
        return Rolled(self._judged(load.searches), start, end, self.n_changed)

    def losses(self) -> Disturbed:
        """Kill worker nodes, one after the other, while clients ask and a writer adds.

        After each, a fresh node joins once all is whole, or the time for that is up.
        """
        settings, rng = self.lab.settings, generator(self.lab.seed, "losses")
        losses = []
        with self._load() as load, Writer(self.cluster, self.changes.apart) as writer:
            for number in progress(range(settings.n_losses), "nodes killed"):
                time.sleep(settings.load_s + rng.uniform())
                node, at = str(rng.choice(self.nodes.workers)), time.monotonic()
                self.nodes.kill(node)
                losses.append(Loss(at, self._whole_s(at, node)))
                time.sleep(max(0.0, at + JUDGED_S - time.monotonic()))
                if number + 1 < settings.n_losses:
                    self.nodes.add()
        return Disturbed(self._judged(load.searches), losses, writer.n_acknowledged, writer.lost())

    def _whole_s(self, since: float, lost: str) -> float:
        """Seconds from then until all is whole without the node that is lost."""
        while (spent := time.monotonic() - since) < _GIVE_UP_S:
            with suppress(InputError):  # while what would tell is started anew
                status = self.cluster.status()
                members = [m for one in status.shards for m in (one.writer, *one.replicas)]
                # it takes some seconds to notice that the node is gone
                if status.is_whole and all(m is None or m.node != lost for m in members):
                    return spent
            time.sleep(_POLL_S)
        return float("inf")

    def _load(self) -> Load:
        """Clients that ask in the categories in which nothing changes meanwhile."""
        queries, names = self.lab.queries(_N_ASKED), self.changes.quiet

        def ask(number: int) -> Hits:
            return self.cluster.search_one(queries[number], K, self.params, names)

        wanted = [self.one.search_one(query, K, self.params, names) for query in queries]
        return Load(ask, wanted)

    def _judged(self, searches: list[Search]) -> list[Search]:
        """The same, partial answers being right or wrong by what the other shards hold."""
        queries, judged = self.lab.queries(_N_ASKED), []
        for search in searches:
            if search.kind == PARTIAL and search.hits is not None:
                hits = self._without(queries[search.query], search.hits.missing_shards)
                kind = PARTIAL if are_same(search.hits, hits) else WRONG
                search = Search(search.at, search.ms, search.query, kind, None)
            judged.append(search)
        return judged

    def _without(self, query: np.ndarray, missing: tuple[int, ...]) -> Hits:
        """What the shards that are not missing have to find."""
        parts = [
            replicas[0].candidates(query, self.params, self.changes.quiet)
            for shard, replicas in enumerate(self._here.shards)
            if shard not in missing
        ]
        found = best(parts, K, self.params.n_candidates)
        return Hits(found.ids, found.similarity, missing)

    @cached_property
    def _here(self) -> ShardedIndex:
        """The shards' folders, opened once for reading; they hold every acknowledged change."""
        return ShardedIndex.open(self.lab.folder / "shards")


@contextmanager
def started(lab: ScaleLab) -> Iterator[Stage]:
    """Three nodes, and a cluster of shards and replicas on them; all of it ends with the block.

    Raises NotApplicable where Ray's nodes do not come up.
    """
    settings = lab.settings
    features, categories = lab.growth.catalogue(settings.n_items)
    shutil.rmtree(lab.folder, ignore_errors=True)
    lab.folder.mkdir(parents=True)
    engine, copy = lab.folder / "engine", lab.folder / "one"
    lab.build(engine, features, categories)
    shutil.copytree(engine, copy)
    with _silence(), ExitStack() as stack:
        nodes = stack.enter_context(_nodes())
        one = stack.enter_context(Index.open(copy, writable=True))
        start = time.monotonic()
        cluster = Cluster.start(
            engine,
            shards=settings.n_shards,
            replicas=settings.n_replicas,
            folder=lab.folder / "shards",
            wait_s=_START_S,
        )
        stack.callback(cluster.stop)
        spent = time.monotonic() - start
        changes = Changes(lab.growth, len(features), one.categories, lab.seed)
        yield Stage(lab, nodes, cluster, one, spent, changes)


def _nodes() -> LocalNodes:
    try:
        return LocalNodes(N_NODES)
    except Exception as error:  # Ray's own has no kind: it waits for 30 s, whatever else runs
        raise NotApplicable(
            f"Shards on several nodes: Ray's nodes did not come up on this machine ({error})"
        ) from error


@contextmanager
def _silence() -> Iterator[None]:
    """What is told of nodes that are lost is counted here, and not printed into a notebook."""
    load_ray()  # which sets its own logger's level
    loggers = [logging.getLogger(name) for name in ("vsa.cluster", "ray")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with redirect_stdout(io.StringIO()):  # a thread of Ray's prints that a node is dead
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
