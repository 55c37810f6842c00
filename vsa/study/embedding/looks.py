"""What it brings to look at a photo again, and which describer is served, as ledger records."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vsa.embedding.candidates import (
    ADAPTED_BOTH,
    ADAPTED_OBJECT,
    CANDIDATES,
    MASKED,
    PLAIN,
    PLAIN_BOTH,
    PLAIN_CROP,
    PLAIN_OBJECT,
    Choice,
    Validation,
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
BY_CLICKS, CHOSEN = "candidates by held-out clicks", "chosen by whom, on test photos"
_IDENTITIES, _CLICKS = "by products", "by held-out clicks alone"
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
_N_PUBLISHED = 20  # rows that a published job keeps of what was found, as a rule
RECALL = "Identical Recall@1"
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
    "plain: photo and objectness crop − objectness crop": (PLAIN_BOTH, PLAIN_OBJECT),
    "plain: objectness crop − learned crop": (PLAIN_OBJECT, PLAIN_CROP),
    "plain: objectness crop − constant crop": (PLAIN_OBJECT, CONSTANT_CROP),
    "plain: true crop − objectness crop": (TRUE_CROPS[0], PLAIN_OBJECT),
    "adapted: objectness crop − whole photo": (ADAPTED_OBJECT, "adapted, whole photo"),
    "adapted: photo and objectness crop − objectness crop": (ADAPTED_BOTH, ADAPTED_OBJECT),
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
    return _choose(finished, seed, Validation.of(finished.task))


def _choose(finished: FinishedJobs, seed: int, jury: Validation) -> Choice:
    """The describer that a jury chooses, of what the jobs of a seed found for its photos.

    Published jobs keep all hits, and the first rows that were found only.
    """
    of_jury = np.isin(finished.task.rows("val"), jury.rows)
    judged = {
        name: finished.jobs[_job(name)][seed].judged["val"]
        for name in CANDIDATES
        if _job(name) in finished
    }
    n_found = min((one.ranks.shape[1] for one in judged.values()), default=0)
    n_found = min(n_found, _N_PUBLISHED)
    precisions = {
        name: jury.of_ranking(one.ranks[of_jury, :n_found])
        if jury.by_clicks
        else precision_of(one, jury.n_right)
        for name, one in judged.items()
    }
    return choose(precisions, jury.groups)


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
    _record_choices(ledger, finished, choice, mean, difference)
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


def _record_choices(
    ledger: Ledger,
    finished: FinishedJobs,
    choice: Choice,
    mean: Callable[[np.ndarray], Interval],
    difference: Callable[[np.ndarray, np.ndarray], Interval],
) -> None:
    """What held-out clicks of the same validation photos would have served, and how it does."""
    jury = Validation.of(finished.task, by_clicks=True)
    by_clicks = _choose(finished, min(finished.seeds(JOINT)), jury)
    for name, row in by_clicks.table.iterrows():
        for metric in ("mAP", "behind the best", "standard error"):
            ledger.record(BY_CLICKS, str(name), metric, float(row[metric]))
    chosen = {_CLICKS: by_clicks.name}
    if finished.task.knows_validation:
        chosen = {_IDENTITIES: choice.name} | chosen
    found = {}
    for who, name in chosen.items():
        job = _job(name)
        if job not in finished:
            return  # no candidate was there to choose
        seeds, variant = finished.seeds(job), f"{who}: {name}"
        found[who] = finished.recall(job, seeds), finished.average_precision(job, seeds), seeds
        ledger.record(CHOSEN, variant, RECALL, mean(found[who][0]), seeds=seeds)
        ledger.record(CHOSEN, variant, "mAP", mean(found[who][1]), seeds=seeds)
    if len(set(chosen.values())) == 2:
        jobs = [_job(name) for name in chosen.values()]
        seeds = finished.seeds(*jobs)
        a, b = (finished.average_precision(job, seeds) for job in reversed(jobs))
        text = f"{_CLICKS} − {_IDENTITIES}"
        ledger.record(WAY_DIFFERENCES, text, "mAP difference", difference(a, b), seeds=seeds)


def reading_of_looks(ledger: Ledger, choice: Choice) -> str:
    """What made the difference, in sentences of Markdown that the intervals bear out."""
    metric = "mAP difference"
    lines = [
        ledger.compare(WAY_DIFFERENCES, text, metric, pair[0], pair[1])
        for text, pair in _PAIRS.items()
        if text in ledger.intervals(WAY_DIFFERENCES, metric)
    ]
    return bullets(
        [
            *lines,
            f"The engine serves *{choice.name}*: the simplest within one standard error.",
            _reading_of_choices(ledger),
        ]
    )


def _reading_of_choices(ledger: Ledger) -> str:
    """What a shop would have served that knows no product of its photos, but its own clicks."""
    chosen = dict(name.split(": ", 1) for name in ledger.intervals(CHOSEN, "mAP"))
    if _CLICKS not in chosen:
        return "No click of a validation photo was there to choose by."
    told = f"Held-out clicks alone choose *{chosen[_CLICKS]}*"
    if _IDENTITIES not in chosen:
        return f"{told}, which is what is served: products of validation photos are not known."
    if chosen[_IDENTITIES] == chosen[_CLICKS]:
        return f"{told}, as products do."
    text = f"{_CLICKS} − {_IDENTITIES}"
    who = f"{chosen[_CLICKS]}, chosen by clicks", f"{chosen[_IDENTITIES]}, chosen by products"
    return f"{told}. " + ledger.compare(WAY_DIFFERENCES, text, "mAP difference", *who)


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
        "photo and objectness crop",
        "supervised crop",
        "true crop",
    )
    return ("plain", "adapted", "joint").index(who), ways.index(how)
