"""Whole photo and true crop: whether the category stage judges both (paper section 3.1).

Shoppers' photos come whole, and as what a given or a learned box shows of them. Here a test photo
is judged both ways, by the same networks, with λ and weight as whole validation photos chose them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vsa.category.fusion import fuse
from vsa.category.model import extract, judge
from vsa.category.search import nearest_references, vote
from vsa.category.task import CategoryTask
from vsa.data.crops import load_crops, with_margin
from vsa.data.schema import BOX, Dataset
from vsa.runtime.device import Device
from vsa.study.category.experiment import SeedResult, trained_predictor
from vsa.study.category.results import FUSION, MODEL, SEARCH, CategoryOutcome, hits
from vsa.study.figures.plots import interval_plot
from vsa.study.figures.style import HouseFigure, worded
from vsa.study.ledger.bootstrap import mean_interval, paired_difference
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.sentences import bullets
from vsa.study.run import Run

LOOKS, LOOK_DIFFERENCES = "whole photo and true crop", "true crop − whole photo"
WHOLE, CROP = "whole photo", "true crop"
_METHODS = (MODEL, SEARCH, FUSION)


@dataclass(frozen=True)
class Looks:
    """Answers to those test photos whose box is known, looked at in both ways."""

    rows: np.ndarray  # int64 (n,), of the test queries
    labels: np.ndarray  # int64 (n,)
    probabilities: dict[str, dict[str, np.ndarray]]  # look → method → float32 (n_seeds, n, C)


def look_at_crops(
    task: CategoryTask,
    dataset: Dataset,
    run: Run,
    results: list[SeedResult],
    outcome: CategoryOutcome,
    device: Device,
) -> Looks | None:
    """Judge what the true boxes show of test photos, with a margin; None where no box is known."""
    rows = np.flatnonzero(task.test[BOX].notna().all(axis=1))
    if not len(rows):
        return None
    asked, settings = task.test.iloc[rows], run.settings.category
    crops = load_crops(
        dataset.root,
        asked.path.tolist(),
        with_margin(asked[BOX].to_numpy(np.float32)),
        settings.stored_px,
        run.artifacts / "images",
    )
    labels, n_classes = task.labels(task.reference), len(task.categories)
    found: dict[str, list[np.ndarray]] = {method: [] for method in _METHODS}
    seen = np.empty(0)
    for result, choice in zip(results, outcome.choices, strict=True):
        net = trained_predictor(task, result, choice, settings, device).net
        if settings.trains == "all" or not len(seen):  # a frozen backbone sees the same each time
            seen = extract(net, crops, settings.seen_px, device, description="look at crops")
        model, features = judge(net, seen)
        distances, near = nearest_references(features, result.features["reference"])
        voted = vote(distances, labels[near], n_classes, choice.decay)
        answers = (model, voted, fuse(model, voted, choice.weight))
        for method, answer in zip(_METHODS, answers, strict=True):
            found[method].append(answer)
    whole = {method: outcome.probabilities[method][:, rows] for method in _METHODS}
    cropped = {method: np.stack(answers) for method, answers in found.items()}
    return Looks(rows, outcome.labels[rows], {WHOLE: whole, CROP: cropped})


def record_looks(
    ledger: Ledger,
    task: CategoryTask,
    results: list[SeedResult],
    looks: Looks | None,
    n_resamples: int,
) -> None:
    """Accuracy of both looks, and their paired differences; nothing where no box is known."""
    if looks is None:
        return
    seeds = [result.seed for result in results]
    asked = task.test.iloc[looks.rows]
    groups = asked.product_id.fillna(asked.id).to_numpy()
    for method in _METHODS:
        correct = {
            look: hits(answers[method], looks.labels)
            for look, answers in looks.probabilities.items()
        }
        for look, values in correct.items():
            accuracy = mean_interval(values, n_resamples, seeds[0], groups=groups)
            ledger.record(LOOKS, f"{look} | {method}", "Accuracy@1", accuracy, seeds=seeds)
        difference = paired_difference(
            correct[CROP], correct[WHOLE], n_resamples, seeds[0], groups=groups
        )
        ledger.record(LOOK_DIFFERENCES, method, "Accuracy@1 difference", difference, seeds=seeds)


def looks_figure(ledger: Ledger) -> HouseFigure | None:
    """Accuracy of whole photo and true crop; None where no box is known."""
    accuracy = ledger.intervals(LOOKS, "Accuracy@1")
    if not accuracy:
        return None
    shown = {name.replace(" | ", ", "): interval for name, interval in accuracy.items()}
    return worded(
        interval_plot(shown, "Accuracy@1", title="Whole photo, or what its box shows?"),
        "category_looks",
        "Accuracy@1 of model, search and fusion on whole test photos and on their true crops.",
        "Accuracy@1 on test photos whose box is known, with 95 % intervals: the whole photo, and "
        "what the true box shows, with a margin.",
    )


def reading_of_looks(ledger: Ledger) -> str:
    """Which look is ahead, in sentences of Markdown."""
    if not ledger.intervals(LOOKS, "Accuracy@1"):
        return "No box is known of these test photos, so only whole ones were judged."
    return bullets(
        ledger.compare(
            LOOK_DIFFERENCES,
            method,
            "Accuracy@1 difference",
            f"{method}, {CROP}",
            f"{method}, {WHOLE}",
        )
        for method in _METHODS
    )
