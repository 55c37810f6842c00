"""The report's first lines, for whoever runs a shop: five numbers, and one sentence of advice.

Both are read from the ledger. The advice follows from the intervals of the paired differences
between the engine and the plain pretrained network; nobody types it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vsa.study.ledger.claims import SMOKE
from vsa.study.ledger.metrics_file import Record, record_text

NOT_MEASURED = "not measured"
RECALL, PRECISION = "Identical Recall@1", "mAP"
ACCURACY, IOU, P95 = "Accuracy@1", "mean IoU", "query latency, p95"

# Where the numbers stand: section, experiment, variant
Place = tuple[str, str, str]
_END, _AGAINST = "06_end_to_end", "engine against plain"
ENGINE: Place = (_END, _AGAINST, "engine")
PLAIN: Place = (_END, _AGAINST, "plain, whole photo")
PLAIN_CROP: Place = (_END, _AGAINST, "plain, learned crop")
LEAD: Place = (_END, _AGAINST, f"{ENGINE[2]} − {PLAIN[2]}")
WHOLE_PATH: Place = (_END, "stages", "whole path")
NO_RERANK: Place = (_END, "stages", "no re-rank")
CATEGORY: Place = ("02_category_fusion", "accuracy", "fusion")
BOXES: Place = ("03_click_mined_training", "boxes", "+ mask (joint)")
CONSTANT_BOX: Place = ("03_click_mined_training", "boxes", "best constant box")
OBJECT_BOXES: Place = ("03_click_mined_training", "boxes on photographs", "objectness, from clicks")
SERVED, BY_OBJECTNESS = "what the engine serves", "objectness crop"  # experiment; end of a variant
LATENCY, ALL_STAGES = "latency by stage, ", "all stages"  # the first goes on with a number of items


@dataclass(frozen=True)
class Number:
    """One of the five."""

    title: str
    metric: str
    meaning: str  # of the number, in plain words
    value: str = NOT_MEASURED  # as printed
    interval: str = ""  # where there is one
    section: str = ""  # where it was measured
    notes: tuple[str, ...] = ()  # what to know beside it


@dataclass(frozen=True)
class Headline:
    numbers: tuple[Number, ...]
    advice: str


_WHOLE = Number("Whole path", RECALL, "share of the photos whose product comes first")
_PLAIN = Number("Plain network", RECALL, "the same, by a pretrained network that saw no such shop")
_CATEGORY = Number("Category", ACCURACY, "share of the photos whose category is named right")
_BOXES = Number("Learned boxes", IOU, "how well they cover the true ones; 1 is perfect")
_ANSWER = Number("Time to answer", P95, "19 of 20 photos have their answer within it")


def headline(records: Sequence[Record], profile: str) -> Headline:
    """The first lines of a run's report; what the run did not measure is named as such.

    Parameters
    ----------
    records : those of a ``metrics.json``.
    profile : of the run; a smoke run gives no advice.
    """
    found = {(_place(record), record["metric"]): record for record in records}
    numbers = (_engine(found), _plain(found), _category(found), _boxes(found), _latency(records))
    return Headline(numbers, _advice(found, profile))


Found = dict[tuple[Place, str], Record]


def _place(record: Record) -> Place:
    return record["section"], record["experiment"], record["variant"]


def _engine(found: Found) -> Number:
    """The engine as it was compared with the plain network, else the whole path."""
    if (ENGINE, RECALL) in found:
        place, other, called = ENGINE, WHOLE_PATH, "whole path with quality re-rank"
    else:
        place, other, called = WHOLE_PATH, NO_RERANK, "without quality re-rank"
    notes = _notes(found, (PRECISION, place, PRECISION), (called, other, RECALL))
    served = tuple(f"photos are described by: {name}" for name in _served(found))
    return _number(_WHOLE, found, place, (*notes, *served))


def _plain(found: Found) -> Number:
    notes = _notes(
        found, (PRECISION, PLAIN, PRECISION), ("given the learned crop", PLAIN_CROP, RECALL)
    )
    return _number(_PLAIN, found, PLAIN, notes)


def _category(found: Found) -> Number:
    return _number(_CATEGORY, found, CATEGORY)


def _boxes(found: Found) -> Number:
    """Of what the engine locates by; the paper's joint network beside it, if that is another."""
    constant = ("best constant box", CONSTANT_BOX, IOU)
    if any(variant.endswith(BY_OBJECTNESS) for variant in _served(found)):
        notes = _notes(found, constant, ("the joint network's", BOXES, IOU))
        return _number(_BOXES, found, OBJECT_BOXES, notes)
    return _number(_BOXES, found, BOXES, _notes(found, constant))


def _served(found: Found) -> list[str]:
    """The describer that the engine serves; none where nothing was chosen."""
    return [variant for (_, experiment, variant), _ in found if experiment == SERVED]


def _latency(records: Sequence[Record]) -> Number:
    for record in records:
        section, experiment, variant = _place(record)
        items = experiment.removeprefix(LATENCY)
        if (section, variant, record["metric"]) == (_END, ALL_STAGES, P95) and items != experiment:
            value = f"{record_text(record)} {record['unit']}"
            notes = ("one photo at a time", f"among {items}")
            return replace(_ANSWER, value=value, section=section, notes=notes)
    return _ANSWER


def _number(unknown: Number, found: Found, place: Place, notes: tuple[str, ...] = ()) -> Number:
    record = found.get((place, unknown.metric))
    if record is None:
        return unknown
    value, _, interval = record_text(record).partition(" ")
    section = record["section"]
    return replace(unknown, value=value, interval=interval, section=section, notes=notes)


def _notes(found: Found, *named: tuple[str, Place, str]) -> tuple[str, ...]:
    """What is measured of name, place and metric, in words."""
    return tuple(
        f"{name} {record_text(found[place, metric])}"
        for name, place, metric in named
        if (place, metric) in found
    )


def _advice(found: Found, profile: str) -> str:
    """Serve the engine if it is surely ahead by one metric, and behind by none; else the plain."""
    if profile == SMOKE:
        return "No advice: the numbers of a smoke run mean nothing."
    leads = {metric: found.get((LEAD, f"{metric} difference")) for metric in (RECALL, PRECISION)}
    known = {metric: lead for metric, lead in leads.items() if lead and lead["ci_low"] is not None}
    if not known:
        return "No advice: engine and plain network were not compared, photo by photo, in this run."
    ahead = any(lead["ci_low"] > 0 for lead in known.values())
    behind = any(lead["ci_high"] < 0 for lead in known.values())
    if ahead and not behind:
        advice = "Serve the engine: it is ahead of the plain network"
    elif behind and not ahead:
        advice = "Serve the plain network: the engine is behind it"
    else:
        advice = "Serve the plain network, which is simpler: the engine is not surely ahead of it"
    told = "; ".join(f"{metric} {record_text(lead)}" for metric, lead in known.items())
    return f"{advice} ({told})."
