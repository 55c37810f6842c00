"""Which stage pays, where, and at what cost: a table for who must build such a system.

All numbers are records of the published ledgers; what a stage gains is a recorded difference with
its interval, and whether it pays follows from that interval alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vsa.study.ledger.findings.peers import OURS, largest, of_method, told_beside_scan
from vsa.study.ledger.findings.runs import PublishedRun
from vsa.study.ledger.metrics_file import Record
from vsa.study.ledger.reporting.content import effect_text

_LEARNED, _INDEX, _END = "03_click_mined_training", "04_binary_index", "06_end_to_end"
_RERANK, _CATALOGUE = "05_quality_rerank", "01_catalogue"
_LEFT_OUT = "what leaving it out changes"
_LOOKS = "ways of looking: differences"
PAYS, HURTS, UNSURE, NOTHING = "pays", "loses", "no sure difference", "changes no answer"

Lines = list[tuple[str, str]]  # label of a run → text


@dataclass(frozen=True)
class Gain:
    """A recorded difference that a stage is judged by; `sign` is −1 if it is of leaving it out.

    Without an experiment it is the index at its largest size, whose settings stand in brackets.
    """

    section: str
    experiment: str
    variant: str
    metric: str
    sign: int = 1


@dataclass(frozen=True)
class Stage:
    """A choice that an engineer has."""

    title: str
    does: str  # in plain words
    needs: str  # labels and the like
    gains: tuple[Gain, ...]
    costs: tuple[Callable[[PublishedRun], str], ...] = ()


def stage_table(runs: Sequence[PublishedRun]) -> list[dict[str, Any]]:
    """One row per stage that any run has measured: what it gains, in words and numbers; its cost.

    Keys: title, does, needs, verdict (one sentence), gains (metric → lines), costs (lines).
    """
    rows = []
    for stage in STAGES:
        found = [
            (run, gain, record)
            for gain in stage.gains
            for run in runs
            if (record := _record(run, gain)) is not None
        ]
        if found:
            gains: dict[str, Lines] = {}
            for run, gain, record in found:
                name = record["metric"].removesuffix(" difference")
                gains.setdefault(name, []).append((run.label, _text(record, gain.sign)))
            gaining = dict.fromkeys(run.label for run, _, _ in found)
            costs = [(r.label, t) for r in runs if r.label in gaining and (t := _costs(r, stage))]
            told = {"title": stage.title, "does": stage.does, "needs": stage.needs}
            rows.append(told | {"verdict": _verdict(found), "gains": gains, "costs": costs})
    return rows


def engine_against_plain(run: PublishedRun) -> str:
    """By how much mAP the whole engine is ahead of a plain pretrained network, "" if not told."""
    record = _record(run, _WHOLE_ENGINE)
    return "" if record is None else _text(record, _WHOLE_ENGINE.sign)


def against_plain(runs: Sequence[PublishedRun]) -> str:
    """What all stages together gain over a plain pretrained network, as one sentence; "" if untold.

    Where it is sure, and by how much.
    """
    found = [
        (run, _WHOLE_ENGINE, record)
        for run in runs
        if (record := _record(run, _WHOLE_ENGINE)) is not None
    ]
    if not found:
        return ""
    gains = "; ".join(f"{run.label} {_text(record, gain.sign)}" for run, gain, record in found)
    return (
        "All stages together but quality re-ranking, against a plain pretrained network that "
        f"compares the whole photo with every picture. {_verdict(found)} Differences: {gains}."
    )


def _record(run: PublishedRun, gain: Gain) -> Record | None:
    if gain.experiment:
        record = run.find(gain.section, gain.experiment, gain.variant, gain.metric)
    else:
        found = of_method(run, largest(run), gain.variant)
        record = next((r for r in found if r["metric"] == gain.metric), None)
    return record if record is not None and record["ci_low"] is not None else None


def _bounds(record: Record, sign: int) -> tuple[float, float, float]:
    """Value, low and high of what the stage gains."""
    value, low, high = record["value"], record["ci_low"], record["ci_high"]
    return (value, low, high) if sign > 0 else (0 - value, 0 - high, 0 - low)  # no −0.0


def _text(record: Record, sign: int) -> str:
    return effect_text(
        dict(zip(("effect", "ci_low", "ci_high"), _bounds(record, sign), strict=True))
    )


def _verdict(found: Sequence[tuple[PublishedRun, Gain, Record]]) -> str:
    """By metric: where the stage pays, where it costs, where nothing is sure."""
    by_metric: dict[str, dict[str, list[str]]] = {}
    for run, gain, record in found:
        _, low, high = _bounds(record, gain.sign)
        kind = NOTHING if low == high == 0 else PAYS if low > 0 else HURTS if high < 0 else UNSURE
        name = record["metric"].removesuffix(" difference")
        by_metric.setdefault(name, {}).setdefault(kind, []).append(run.label)
    sentences = []
    for metric, kinds in by_metric.items():
        parts = [
            f"{kind} on {', '.join(kinds[kind])}"
            for kind in (PAYS, HURTS, UNSURE, NOTHING)
            if kind in kinds
        ]
        sentences.append(f"{metric}: {'; '.join(parts)}.")
    return " ".join(sentences)


# Costs -----------------------------------------------------------------------------------------


def _costs(run: PublishedRun, stage: Stage) -> str:
    return ", ".join(text for cost in stage.costs if (text := cost(run)))


def _milliseconds(stage: str, words: str = "ms") -> Callable[[PublishedRun], str]:
    """Median of a stage of the engine, as it answers photo by photo."""

    def cost(run: PublishedRun) -> str:
        record = run.find(_END, "latency by stage", stage, "query latency")
        return "" if record is None else f"{record['value']:.1f} {words}"

    return cost


def _training(variant: str) -> Callable[[PublishedRun], str]:
    def cost(run: PublishedRun) -> str:
        record = run.find(_LEARNED, "training", variant, "training time")
        return "" if record is None else f"{record['value']:,.0f} s of training"

    return cost


def _count(section: str, place: tuple[str, str, str], words: str) -> Callable[[PublishedRun], str]:
    def cost(run: PublishedRun) -> str:
        record = run.find(section, *place)
        return "" if record is None else f"{record['value']:,} {words}"

    return cost


def _added_by_look(run: PublishedRun) -> str:
    """What looking at the crop takes more than looking at the whole photo, by the engine."""
    crop, whole = (
        run.find(_END, "looks", name, "query latency") for name in ("learned crop", "whole photo")
    )
    return f"{crop['value'] - whole['value']:+.1f} ms" if crop and whole else ""


def _kept(run: PublishedRun) -> str:
    before, after = (
        run.find(_INDEX, "selection", name, "items") for name in ("all images", "selected")
    )
    if not before or not after:
        return ""
    return f"{before['value']:,} → {after['value']:,} pictures kept"


_RECALL = "Identical Recall@20 difference"
_WHOLE_ENGINE = Gain(_END, "engine against plain", "engine − plain, whole photo", "mAP difference")
STAGES = (
    Stage(
        "Image selection",
        "keeps one of several nearly identical catalogue pictures; runs before anybody searches",
        "no labels",
        (Gain(_INDEX, "selection", "selected − all images", _RECALL),),
        (_kept,),
    ),
    Stage(
        "Category filter",
        "names the photo's category, and searches there",
        "a category for each catalogue picture",
        (Gain(_END, _LEFT_OUT, "no category − whole path", _RECALL, -1),),
        (
            _milliseconds("category"),
            _count(_CATALOGUE, ("data set", "catalogue", "images"), "pictures with a category"),
        ),
    ),
    Stage(
        "Box",
        "finds the object, and describes what is inside its box or behind its mask",
        "clicks; no marked boxes",
        (Gain(_END, _LEFT_OUT, "no box − whole path", _RECALL, -1),),
        (_milliseconds("box and feature"),),
    ),
    Stage(
        "Crop in place of the whole photo",
        "cuts the learned box out of the photo and looks at that alone, at full size",
        "clicks; no marked boxes",
        (Gain(_END, "looks: differences", "learned crop − whole photo", "mAP difference"),),
        (_added_by_look,),
    ),
    Stage(
        "Small map learned from clicks",
        "keeps a pretrained network as it is, and learns a linear map of its features; compared "
        "with that network alone",
        "clicks",
        (Gain(_LEARNED, _LOOKS, "adapted − plain, whole photo", "mAP difference"),),
        (
            _training("adapted, whole photo"),
            _count(_CATALOGUE, ("click log", "simulated", "clicks"), "simulated clicks"),
        ),
    ),
    Stage(
        "Whole network learned from clicks",
        "the paper's joint network, which learns box and features together; compared with the "
        "same pretrained network",
        "clicks",
        (Gain(_LEARNED, _LOOKS, "joint, mask − plain, whole photo", "mAP difference"),),
        (
            _training("+ mask (joint)"),
            _count(_CATALOGUE, ("click log", "simulated", "clicks"), "simulated clicks"),
        ),
    ),
    Stage(
        "The whole engine",
        "all stages but quality re-ranking; compared with a pretrained network that scans all "
        "pictures for the whole photo",
        "categories and clicks",
        (_WHOLE_ENGINE,),
        (_milliseconds("all stages", "ms from bytes to page, re-ranking included"),),
    ),
    Stage(
        "Binary index",
        "shortens features to bits and searches some of the lists; compared with a scan of the "
        "bits of all pictures",
        "no labels",
        (Gain(_INDEX, "", OURS, "share of time saved"),),
        (told_beside_scan,),
    ),
    Stage(
        "Refined rank",
        "orders what the codes have found by the exact features",
        "no labels",
        (Gain(_END, _LEFT_OUT, "no refined rank − whole path", _RECALL, -1),),
        (_milliseconds("search", "ms for the whole search"),),
    ),
    Stage(
        "Quality re-ranking",
        "re-orders the first 60 by how well listings sell, and to whom",
        "quality signals and a log of purchases; shoppers here are simulated",
        (
            Gain(_RERANK, "gain over appearance only", "GBDT + LR", "conversion rate difference"),
            Gain(_END, _LEFT_OUT, "no re-rank − whole path", _RECALL, -1),
        ),
        (_milliseconds("re-rank"),),
    ),
)
