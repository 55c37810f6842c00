"""What it brings to look at a photo again, and which describer is served, as ledger records."""

from __future__ import annotations

import numpy as np

from vsa.embedding.candidates import (
    ADAPTED_OBJECT,
    CANDIDATES,
    MASKED,
    PLAIN,
    PLAIN_CROP,
    PLAIN_OBJECT,
    Choice,
    choose,
)
from vsa.embedding.describer import Lead
from vsa.study.embedding.finished import FinishedJobs, precision_of
from vsa.study.embedding.variants import (
    ACTIVATION_CROP,
    CONSTANT_CROP,
    JOINT,
    LOOKS,
    SUPERVISED,
    SUPERVISED_CROP,
    TRUE_CROPS,
    WHOLE_IMAGE,
)
from vsa.study.ledger.bootstrap import Interval, mean_interval, paired_difference
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.sentences import bullets

WAYS, WAY_DIFFERENCES = "ways of looking", "ways of looking: differences"
ON_VALIDATION, SERVED = "candidates on validation photos", "what the engine serves"
KS = (1, 5, 20)
BOXES, BOX_DIFFERENCES = "boxes on photographs", "boxes on photographs: differences"
_BOXES = {  # what finds the box → the job of the plain network that looks at it again
    "whole photo": PLAIN,
    "best constant box": CONSTANT_CROP,
    "class activation, pretrained": ACTIVATION_CROP,
    "joint network, from clicks": PLAIN_CROP,
    "objectness, from clicks": PLAIN_OBJECT,
    "objectness, from box labels": SUPERVISED_CROP,
    "localiser, from box labels": SUPERVISED,
    "true box": TRUE_CROPS[0],
}
_OF_JOINT = {"joint, whole photo": WHOLE_IMAGE, MASKED: JOINT}  # variants of other sections
_PAIRS = {
    **{
        f"{who}: {first} − {second}": (f"{who}, {first}", f"{who}, {second}")
        for who in ("plain", "adapted", "joint")
        for first, second in (
            ("mask", "whole photo"),
            ("learned crop", "whole photo"),
            ("learned crop", "mask"),
            ("true crop", "learned crop"),
        )
    },
    **{
        f"adapted − plain, {how}": (f"adapted, {how}", f"plain, {how}")
        for how in ("whole photo", "learned crop")
    },
    "plain: objectness crop − whole photo": (PLAIN_OBJECT, PLAIN),
    "plain: objectness crop − learned crop": (PLAIN_OBJECT, PLAIN_CROP),
    "plain: objectness crop − constant crop": (PLAIN_OBJECT, CONSTANT_CROP),
    "plain: true crop − objectness crop": (TRUE_CROPS[0], PLAIN_OBJECT),
    "adapted: objectness crop − whole photo": (ADAPTED_OBJECT, "adapted, whole photo"),
    "joint, mask − plain, whole photo": (MASKED, PLAIN),
    "adapted, learned crop − plain, whole photo": ("adapted, learned crop", PLAIN),
}

_BOX_PAIRS = {
    f"{first} − {second}": (first, second)
    for first, second in (
        ("objectness, from clicks", "best constant box"),
        ("objectness, from clicks", "class activation, pretrained"),
        ("objectness, from clicks", "joint network, from clicks"),
        ("objectness, from box labels", "objectness, from clicks"),
    )
}


def choose_candidate(finished: FinishedJobs, seed: int) -> Choice:
    """The describer to serve, by validation photos, of those candidates that are there."""
    wanted, offered = finished.task.products
    rows = finished.task.rows("val")
    n_identical = (offered[None] == wanted[rows][:, None]).sum(axis=1)
    precisions = {
        name: precision_of(finished.jobs[_job(name)][seed].judged["val"], n_identical)
        for name in CANDIDATES
        if _job(name) in finished
    }
    return choose(precisions, wanted[rows])


def record_looks(ledger: Ledger, finished: FinishedJobs, n_resamples: int, seed: int) -> Choice:
    """Record who finds what by looking how, on test photos; and what validation photos choose."""
    groups = finished.groups

    def mean(values: np.ndarray) -> Interval:
        return mean_interval(values, n_resamples, seed, groups=groups)

    def difference(first: np.ndarray, second: np.ndarray) -> Interval:
        return paired_difference(first, second, n_resamples, seed, groups=groups)

    names = [name for name in (*_OF_JOINT, *LOOKS) if _job(name) in finished]
    for name in sorted(names, key=_order):
        job = _job(name)
        seeds = finished.seeds(job)
        for k in KS:
            recall = mean(finished.recall(job, seeds, k))
            ledger.record(WAYS, name, f"Identical Recall@{k}", recall, seeds=seeds)
        precision = mean(finished.average_precision(job, seeds))
        ledger.record(WAYS, name, "mAP", precision, seeds=seeds)
    for text, pair in _PAIRS.items():
        first, second = map(_job, pair)
        if first not in finished or second not in finished:
            continue
        seeds = finished.seeds(first, second)
        recalls = [finished.recall(job, seeds) for job in (first, second)]
        precisions = [finished.average_precision(job, seeds) for job in (first, second)]
        for metric, (a, b) in (
            ("Identical Recall@1 difference", recalls),
            ("mAP difference", precisions),
        ):
            ledger.record(WAY_DIFFERENCES, text, metric, difference(a, b), seeds=seeds)
    choice = choose_candidate(finished, min(finished.seeds(JOINT)))
    for name, row in choice.table.iterrows():
        ledger.record(ON_VALIDATION, str(name), "mAP", float(row["mAP"]))
        ledger.record(ON_VALIDATION, str(name), "behind the best", float(row["behind the best"]))
        ledger.record(ON_VALIDATION, str(name), "standard error", float(row["standard error"]))
        if name == choice.name:
            ledger.record(SERVED, choice.name, "mAP", float(row["mAP"]))
    return choice


def record_boxes(ledger: Ledger, finished: FinishedJobs, n_resamples: int, seed: int) -> None:
    """Record which boxes are how good, and what the plain network finds by looking at them again.

    Nothing is recorded where true boxes are not known.
    """
    if finished.task.boxes is None:
        return
    groups, iou = finished.groups, {}
    for name, job in _BOXES.items():
        if job not in finished:
            continue
        seeds = finished.seeds(job)
        iou[name] = finished.iou(job, seeds)
        values = {"mean IoU": iou[name], "IoU@0.5": (iou[name] > 0.5).astype(float)}
        if job != SUPERVISED:  # whose feature is another network's
            values["Identical Recall@1"] = finished.recall(job, seeds)
            values["mAP"] = finished.average_precision(job, seeds)
        for metric, found in values.items():
            interval = mean_interval(found, n_resamples, seed, groups=groups)
            ledger.record(BOXES, name, metric, interval, seeds=seeds)
    for text, (first, second) in _BOX_PAIRS.items():
        if first in iou and second in iou:
            seeds = finished.seeds(_BOXES[first], _BOXES[second])
            a, b = (finished.iou(_BOXES[name], seeds) for name in (first, second))
            effect = paired_difference(a, b, n_resamples, seed, groups=groups)
            ledger.record(BOX_DIFFERENCES, text, "mean IoU difference", effect, seeds=seeds)


def reading_of_boxes(ledger: Ledger) -> str:
    """Which boxes are better than which, in sentences of Markdown."""
    metric = "mean IoU difference"
    known = ledger.intervals(BOX_DIFFERENCES, metric)
    lines = [
        ledger.compare(BOX_DIFFERENCES, text, metric, *pair)
        for text, pair in _BOX_PAIRS.items()
        if text in known
    ]
    return bullets(lines or ["True boxes are not known here, so that no box was judged."])


def lead_of(finished: FinishedJobs, name: str, n_resamples: int, seed: int) -> Lead | None:
    """By how much a candidate's mAP on test photos beats the plain one's; None for that itself."""
    if name == PLAIN or PLAIN not in finished:
        return None
    job = _job(name)
    seeds = finished.seeds(job, PLAIN)
    first, second = (finished.average_precision(one, seeds) for one in (job, PLAIN))
    found = paired_difference(first, second, n_resamples, seed, groups=finished.groups)
    return Lead("mAP", found.value, found.low, found.high, found.n)


def reading_of_looks(ledger: Ledger, choice: Choice) -> str:
    """What made the difference, in sentences of Markdown that the intervals bear out."""
    metric = "mAP difference"
    lines = [
        ledger.compare(WAY_DIFFERENCES, text, metric, pair[0], pair[1])
        for text, pair in _PAIRS.items()
        if text in ledger.intervals(WAY_DIFFERENCES, metric)
    ]
    return bullets(
        [*lines, f"The engine serves *{choice.name}*: the simplest within one standard error."]
    )


def _job(name: str) -> str:
    return _OF_JOINT.get(name, name)


def _order(name: str) -> tuple[int, int]:
    who, _, how = name.partition(", ")
    ways = (
        "whole photo",
        "mask",
        "constant crop",
        "activation crop",
        "learned crop",
        "objectness crop",
        "supervised crop",
        "true crop",
    )
    return ("plain", "adapted", "joint").index(who), ways.index(how)
