"""From what was measured on a cluster to ledger records, claim C4a, and sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from vsa.study.index.timing import latency
from vsa.study.ledger.bootstrap import Interval, mean_interval, share_interval
from vsa.study.ledger.claims import judge_all
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.sentences import bullets
from vsa.study.scale.cost import Costs, Demand, Layout, Machine, layout, share_of_slow
from vsa.study.scale.load import (
    FAILED,
    IN_PROCESS,
    JUDGED_S,
    OVER_RAY,
    PARTIAL,
    WRONG,
    Disturbed,
    Equality,
    Rolled,
    Search,
)

EQUALITY, TIME, LOSS, WHOLE, ROLL = (
    "equality",
    "time of a query",
    "loss of a node",
    "time to whole",
    "rolling base",
)
COSTS, HELD = "costs", "what an item takes"
IN_MEMORY, ON_DISK = "model: features in memory", "model: features on a disk"
AFTER = f"the {JUDGED_S:.0f} s after a loss"
WANTED_WHOLE_S = 30.0
GIVEN_UP_S = 90.0  # stands for a cluster that was not whole again
SIZES = (10**6, 10**7, 10**8, 10**9, 10**10)
_NAMES = {10**6: "10⁶", 10**7: "10⁷", 10**8: "10⁸", 10**9: "10⁹", 10**10: "10¹⁰"}
LACKS = "throughput across hosts: all nodes share one machine here"


@dataclass(frozen=True)
class ScaleResults:
    """Writes the records of one run."""

    ledger: Ledger
    n_resamples: int
    seed: int

    def equality(self, found: Equality, start_s: float) -> None:
        """Equal results under changes, and how long the cluster took to start."""
        note = self.ledger.record
        note(EQUALITY, "against one index", "equal results", share_interval(found.same))
        note(EQUALITY, "against one index", "changes", found.n_changes)
        note("start", "until every replica answered", "start time", start_s)

    def idle(self, seconds: dict[str, np.ndarray]) -> None:
        """What asking over Ray adds to a search, nobody else asking."""
        for name, times in seconds.items():
            self._latency(TIME, name, times)
        added = 1e3 * float(np.median(seconds[OVER_RAY]) - np.median(seconds[IN_PROCESS]))
        self.ledger.record(TIME, f"{OVER_RAY} − {IN_PROCESS}", "latency added", added)

    def losses(self, found: Disturbed) -> None:
        """What clients saw before, soon after and long after a node was killed; and the writer."""
        for name, some in around(found).items():
            self._searches(LOSS, name, some)
        for number, loss in enumerate(found.losses, start=1):
            seconds = min(loss.whole_s, GIVEN_UP_S)
            self.ledger.record(WHOLE, f"loss {number}", "time to whole", seconds)
        note = self.ledger.record
        note(WHOLE, "all losses", "nodes lost", len(found.losses))
        note(WHOLE, "all losses", "time to whole", self._whole(found))
        note(WHOLE, "all losses", "acknowledged changes", found.n_acknowledged)
        note(WHOLE, "all losses", "lost changes", found.n_lost)

    def roll(self, found: Rolled) -> None:
        """What clients saw before, while and after all shards got new bases."""
        parts = {
            "before": [s for s in found.searches if s.at < found.start],
            "meanwhile": [s for s in found.searches if found.start <= s.at < found.end],
            "after": [s for s in found.searches if s.at >= found.end],
        }
        for name, some in parts.items():
            self._searches(ROLL, name, some)
        self.ledger.record(ROLL, "meanwhile", "changes", found.n_folded)
        self.ledger.record(ROLL, "meanwhile", "run time", found.end - found.start)

    def costs(self, costs: Costs) -> None:
        """Fitted costs, how far each fit is off at worst, and bytes."""
        shard, router, held = costs.shard, costs.router, costs.held
        for name, ms in (
            ("a shard's search", shard.base_ms),
            ("per thousand lists of the index", 1e3 * shard.per_list_ms),
            ("per thousand items of visited lists", 1e3 * shard.per_scanned_ms),
            ("a query of the router", router.base_ms),
            ("per shard that is asked", router.per_shard_ms),
            ("per thousand bytes that come back", 1e3 * router.per_byte_ms),
        ):
            self.ledger.record(COSTS, name, "cost", ms)
        for kind, ratios in fit_ratios(costs).items():
            for which, value in (("least", ratios.min()), ("most", ratios.max())):
                self.ledger.record(f"{COSTS}: fit", f"{kind}, {which}", "cost ratio", value)
        self.ledger.record(HELD, "code, id and place", "bytes in memory", held.code)
        self.ledger.record(HELD, "feature", "bytes in memory", held.feature)
        self.ledger.record(HELD, "a list, in each replica", "bytes in memory", held.per_list)

    def model(self, costs: Costs, machine: Machine) -> None:
        """The model drawn to larger catalogues."""
        for experiment, in_memory in ((IN_MEMORY, True), (ON_DISK, False)):
            for n_items in SIZES:
                made = modelled(costs, machine, n_items, in_memory=in_memory)
                note = self.ledger.record
                variant = f"{_NAMES[n_items]} items"
                note(experiment, variant, "machines", made.n_machines)
                note(experiment, variant, "shards", made.n_shards)
                note(experiment, variant, "replicas", made.n_replicas)
                note(experiment, variant, "routers", made.n_routers)
                note(experiment, variant, "gigabytes per machine", made.memory_bytes / 1e9)
                note(experiment, variant, "modelled latency", made.latency_ms)
                note(experiment, variant, "kilobytes per query", made.answer_bytes / 1e3)
                note(experiment, variant, "share of slow queries", share_of_slow(made.n_shards))

    def claim(self, equality: Equality, found: Disturbed) -> None:
        """C4a: equal results, and the loss of nodes; throughput across hosts is lacking."""
        after = around(found)[AFTER]
        answered = [s for s in found.searches if s.kind != FAILED]
        left = [1 - min(loss.whole_s, GIVEN_UP_S) / WANTED_WHOLE_S for loss in found.losses]
        effects = {
            "equal results − 0.999": share_interval(equality.same).shifted(-0.999),
            "right answers while nodes are lost − 0.99": _share(answered, WRONG).shifted(-0.99),
            f"searches answered in {AFTER} − 0.99": _share(after, FAILED).shifted(-0.99),
            "share of 30 s left once all is whole": mean_interval(
                left, self.n_resamples, self.seed
            ),
        }
        if found.n_acknowledged:
            kept = np.arange(found.n_acknowledged) >= found.n_lost
            effects["acknowledged changes kept − 0.99"] = share_interval(kept).shifted(-0.99)
        section = self.ledger.section
        evidence = [
            f"{section}/{EQUALITY}/against one index/equal results",
            f"{section}/{LOSS}/{AFTER}/error rate",
            f"{section}/{LOSS}/{AFTER}/right answers",
            f"{section}/{WHOLE}/all losses/time to whole",
            f"{section}/{WHOLE}/all losses/lost changes",
        ]
        self.ledger.claim(judge_all("C4a", effects, "share", evidence, lacks=[LACKS]))

    def _searches(self, experiment: str, name: str, some: Sequence[Search]) -> None:
        note = self.ledger.record
        note(experiment, name, "searches", len(some))
        if not some:
            return
        failed = _share(some, FAILED)
        note(experiment, name, "error rate", _turned(failed))
        note(experiment, name, "partial answers", _turned(_share(some, PARTIAL)))
        answered = [search for search in some if search.kind != FAILED]
        if answered:
            note(experiment, name, "right answers", _share(answered, WRONG))
            self._latency(experiment, name, np.array([search.ms for search in answered]) / 1e3)

    def _latency(self, experiment: str, name: str, seconds: np.ndarray) -> None:
        found = latency(seconds)
        for metric, column in (
            ("query latency", "p50_ms"),
            ("query latency, p95", "p95_ms"),
            ("query latency, p99", "p99_ms"),
        ):
            self.ledger.record(experiment, name, metric, found[column])

    def _whole(self, found: Disturbed) -> Interval:
        seconds = [min(loss.whole_s, GIVEN_UP_S) for loss in found.losses]
        return mean_interval(seconds, self.n_resamples, self.seed)

    # Words ---------------------------------------------------------------------------------

    def shown(self) -> str:
        """What these processes on one machine show; Markdown."""
        value, interval = self.ledger.value, self.ledger.interval
        section = self.ledger.section
        same = interval(section, EQUALITY, "against one index", "equal results")
        changes = value(section, EQUALITY, "against one index", "changes")
        after = {m: value(section, LOSS, AFTER, m) for m in ("error rate", "partial answers")}
        whole = {
            m: value(section, WHOLE, "all losses", m)
            for m in ("nodes lost", "time to whole", "acknowledged changes", "lost changes")
        }
        added = value(section, TIME, f"{OVER_RAY} − {IN_PROCESS}", "latency added")
        return bullets(
            [
                f"{same.value:.2%} of {same.n:,} queries found the very ids and scores of one "
                f"index, through {changes:,.0f} changed items.",
                f"Nodes killed: {whole['nodes lost']:.0f}. In {AFTER}, "
                f"{after['error rate']:.2%} of the searches got no answer and "
                f"{after['partial answers']:.2%} a partial one that says so; all was whole again "
                f"after {whole['time to whole']:.1f} s on average. Of "
                f"{whole['acknowledged changes']:,.0f} acknowledged changes "
                f"{whole['lost changes']:.0f} were lost.",
                f"A search over Ray took {added:+.2f} ms beside the same shards in one process: "
                "the price of messages between processes that share their cores.",
            ]
        )


def not_shown() -> str:
    """What several processes on one machine cannot show; Markdown."""
    return bullets(
        [
            "**Throughput across hosts.** All processes share these cores, so that more of them "
            "answer no more; claim C4a lacks it.",
            "**A network.** Messages cross the memory of one machine: no cable, no switch, no loss "
            "and no queue.",
            "**A machine that goes down.** A node is killed with all processes, its files stay: "
            "a host that is lost takes its disk with it, unless shards lie on one that is shared.",
            "**The head node.** It is never killed here: without Ray's fault tolerance for it, its "
            "loss ends the cluster (docs/scale.md).",
            "**Slow machines, full networks, a network that is cut in two.**",
        ]
    )


def modelled(
    costs: Costs,
    machine: Machine,
    n_items: float,
    *,
    in_memory: bool,
    n_probe: float = Demand.n_probe,
) -> Layout:
    """The model at one size, at the usual demand."""
    demand = Demand(n_items, n_probe=n_probe, features_in_memory=in_memory)
    return layout(costs.shard, costs.router, costs.held, machine, demand)


def fit_ratios(costs: Costs) -> dict[str, np.ndarray]:
    """Time by the model over the measured one, of all that was timed."""
    shards = [costs.shard.ms(row.items, row.lists, row.probes) for row in costs.shards.itertuples()]
    asked = [costs.router.ms(row.shards, row.bytes) for row in costs.messages.itertuples()]
    return {
        "shards": np.array(shards) / costs.shards.ms.to_numpy(),
        "messages": np.array(asked) / costs.messages.ms.to_numpy(),
    }


def around(found: Disturbed) -> dict[str, list[Search]]:
    """Searches by when they began: soon after a loss, until all was whole, and otherwise."""
    parts: dict[str, list[Search]] = {"undisturbed": [], AFTER: [], "then, until whole": []}
    for search in found.searches:
        since = [search.at - loss.at for loss in found.losses if search.at >= loss.at]
        last = found.losses[len(since) - 1] if since else None
        if last is None or since[-1] > max(JUDGED_S, last.whole_s):
            parts["undisturbed"].append(search)
        else:
            parts[AFTER if since[-1] <= JUDGED_S else "then, until whole"].append(search)
    return parts


def _share(searches: Iterable[Search], kind: str) -> Interval:
    """Share of searches that are not of a kind."""
    return share_interval([search.kind != kind for search in searches])


def _turned(share: Interval) -> Interval:
    return Interval(1 - share.value, 1 - share.high, 1 - share.low, share.n)
