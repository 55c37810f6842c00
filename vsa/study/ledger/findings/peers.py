"""The index beside its peers, at the sizes that a run has measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vsa.study.ledger.findings.runs import PublishedRun
from vsa.study.ledger.metrics_file import Record

OURS = "vsa"  # what the index is called among its peers
_SCAN = "faiss BinaryFlat"
_INDEX = "04_binary_index"
_RECALL = "float Recall@60"
_WANTED = 0.99  # of a peer that is compared with
_TIMES = "time over the index's"


@dataclass(frozen=True)
class _Searched:
    """What a search of one query costs, and finds."""

    method: str
    ms: float
    megabytes: float
    recall: float | None  # None for a method that ranks by codes alone
    times: float  # its time over the index's, asked in turns with it; NaN where it was not

    def __str__(self) -> str:
        found = "" if self.recall is None else f" at {_RECALL} {self.recall:.3f}"
        return f"{self.ms:.2f} ms{found}, {self.megabytes:,.0f} MB of memory"


def told_beside_scan(run: PublishedRun) -> str:
    """Time and memory of the index, beside the scan of all codes; "" if not measured."""
    found = {one.method: one for one in _searched(run, largest(run))}
    called = ((OURS, "index"), (_SCAN, "scan of all codes"))
    parts = [f"{name} {found[method]}" for method, name in called if method in found]
    return f"among {largest(run)}: {'; '.join(parts)}" if parts else ""


def told_beside_peers(runs: Sequence[PublishedRun]) -> list[str]:
    """What the index is good for and where another is better, after what it rests on; by line.

    Peers are those that find as much of what exact features find; of them, the fastest. Nothing
    is told where no run has any.
    """
    told, slower, more = [], [], []
    for run in runs:
        for experiment in _sizes(run):
            searched = _searched(run, experiment)
            found = {
                one.method: one
                for one in searched
                if (one.recall or 0) >= _WANTED and not math.isnan(one.times)
            }
            ours = found.pop(OURS, None)
            if ours is None or not found:
                continue
            peer = min(found.values(), key=lambda one: one.times)
            where = f"{run.label}, {experiment}"
            told.append(f"{where}: {ours}; {peer.method}, {peer.times:.2f} × the time: {peer}")
            if peer.times < 1:
                slower.append(where)
            if peer.megabytes < ours.megabytes:
                more.append(where)
    if not told:
        return []
    time = f"Slower than that peer: {'; '.join(slower)}" if slower else "Slower: nowhere"
    memory = f"More memory: {'; '.join(more)}" if more else "More memory: nowhere"
    told.append(
        f"{time}. {memory}. Times are compared in turns, in the same seconds. Its features stay on "
        "the disk, and its changes are there before they are acknowledged, which no peer's are."
    )
    return told


def largest(run: PublishedRun) -> str:
    """The experiment ``1,000,000 items`` of most items; "" if there is none."""
    return next(reversed(_sizes(run)), "")


def _sizes(run: PublishedRun) -> list[str]:
    """Experiments that are called by their number of items, fewest first."""
    names = {r["experiment"] for r in run.metrics["records"] if r["section"] == _INDEX}
    return sorted((name for name in names if _n_items(name)), key=_n_items)


def of_method(run: PublishedRun, experiment: str, method: str) -> Iterator[Record]:
    """Records of the index itself, whatever its settings in brackets, or of a peer."""
    for record in run.metrics["records"]:
        is_there = (record["section"], record["experiment"]) == (_INDEX, experiment)
        if is_there and _method(record["variant"]) == method:
            yield record


def _searched(run: PublishedRun, experiment: str) -> Iterator[_Searched]:
    """The index and its peers at one size, in the order of the table."""
    of_index = (
        record
        for record in run.metrics["records"]
        if (record["section"], record["experiment"]) == (_INDEX, experiment)
    )
    for method in dict.fromkeys(_method(record["variant"]) for record in of_index):
        one = {r["metric"]: r["value"] for r in of_method(run, experiment, method)}
        if "query latency" in one and "bytes in memory" in one:
            megabytes = one["bytes in memory"] * _n_items(experiment) / 1e6
            times = 1.0 if method == OURS else one.get(_TIMES, math.nan)
            yield _Searched(method, one["query latency"], megabytes, one.get(_RECALL), times)


def _method(variant: str) -> str:
    """A variant without its settings, which stand in brackets."""
    return variant.partition(" (")[0]


def _n_items(experiment: str) -> int:
    number, _, unit = experiment.replace(",", "").partition(" ")
    return int(number) if unit == "items" and number.isdigit() else 0
