"""The simplest system that is hardly worse than the best, and what each run's engine serves."""

from __future__ import annotations

from collections.abc import Sequence

from vsa.study.ledger.findings.runs import PublishedRun
from vsa.study.ledger.metrics_file import record_text
from vsa.study.ledger.registry import get_metric

_LINEAGE, _LEARNED = "07_lineage", "03_click_mined_training"
_SIMPLEST, _METHODS = "the simplest within 0.02", "methods"  # experiments of notebook 07
GRANTED = 0.02  # of mAP, which the first of them says
_SERVED, _WAYS = "what the engine serves", "ways of looking"


def simplest_systems(runs: Sequence[PublishedRun]) -> list[str]:
    """One sentence per run that has compared the lineage, one for those that have not; Markdown."""
    told = [sentence for run in runs if (sentence := _simplest(run))]
    lacking = [run.label for run in runs if not _simplest(run)]
    if lacking:
        told.append(
            f"No comparison of the lineage (notebook 07) is published for {', '.join(lacking)}."
        )
    return told


def served_systems(runs: Sequence[PublishedRun]) -> list[str]:
    """What validation photos chose for the engine to describe photos by, and how it did on test."""
    told = []
    for run in runs:
        for record in run.records(_LEARNED, _SERVED):
            name = record["variant"]
            found = run.find(_LEARNED, _WAYS, name, "mAP")
            test = f", mAP {record_text(found)} on test photos" if found else ""
            told.append(f"**{run.label}**: {name}{test}")
    return told


def _simplest(run: PublishedRun) -> str:
    """The best on validation photos is recorded first, then the simplest near it, if another."""
    scores = {r["variant"]: r for r in run.records(_LINEAGE, _SIMPLEST) if r["metric"] == "mAP"}
    if not scores:
        return ""
    best, simplest = next(iter(scores)), list(scores)[-1]
    costs = f"{record_text(scores[simplest])} on test photos{_costs(run, simplest)}"
    if best == simplest:
        return (
            f"**{run.label}**: the best on validation photos is **{best}**, and nothing simpler "
            f"comes within {GRANTED} of it (mAP {costs})."
        )
    told = (
        f"**{run.label}**: the simplest within {GRANTED} of the best on validation photos is "
        f"**{simplest}** (mAP {costs}); the best is {best} "
        f"({record_text(scores[best])}{_costs(run, best)})."
    )
    lost = run.find(_LINEAGE, _SIMPLEST, f"{simplest} − {best}", "mAP difference")
    if lost is None or lost["ci_low"] is None:
        return told
    held = "held" if lost["ci_low"] > -GRANTED else "did not surely hold"
    return f"{told} On test photos that {held}: {record_text(lost)}."


def _costs(run: PublishedRun, method: str) -> str:
    """Its time and bytes, where they are recorded."""
    parts = []
    for metric, unit in (("latency", "ms"), ("bytes per picture", "bytes per picture")):
        record = run.find(_LINEAGE, _METHODS, method, metric)
        if record is not None:
            parts.append(f"{get_metric(metric).text(record['value'])} {unit}")
    return "".join(f", {part}" for part in parts)
