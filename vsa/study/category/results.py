"""From the answers of all seeds to ledger records and the verdict on claim C1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from vsa.category.fusion import FusionChoice
from vsa.category.task import CategoryTask
from vsa.metrics import (
    accuracy_at_k,
    confusion,
    expected_calibration_error,
    negative_log_likelihood,
    reliability,
)
from vsa.study.category.experiment import SeedResult, fuse_with, gather_evidence, growing_references
from vsa.study.category.hard import CEILING, Hard, is_at_ceiling, parts_on_validation
from vsa.study.ledger.bootstrap import Interval, mean_interval, paired_difference
from vsa.study.ledger.claims import judge_all
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.sentences import bullets

MODEL, SEARCH, FUSION = "model", "search", "fusion"
LEAVES = "leaf categories"  # the hard setting, in names of effects
HARD, HARD_DIFFERENCES = "leaf categories, few labels", "leaf categories, few labels: differences"
HARD_VALIDATION = "leaf categories, few labels: validation photos"
REFITTED = "model, last layer refitted on the reference set"
SEARCH_TRAINING = "search, reference = training images"
FUSION_TRAINING = "fusion, reference = training images"
COMPARISONS = {
    "fusion − model": (FUSION, MODEL),
    "fusion − search": (FUSION, SEARCH),
    "search − model": (SEARCH, MODEL),
    "fusion − refitted model": (FUSION, REFITTED),
    "fusion − model, reference = training images": (FUSION_TRAINING, MODEL),
}


@dataclass(frozen=True)
class CategoryOutcome:
    """Test predictions of every method, for all seeds."""

    labels: np.ndarray  # int64 (n,)
    probabilities: dict[str, np.ndarray]  # method → float32 (n_seeds, n, C)
    choices: list[FusionChoice]  # per seed, with the whole reference set
    neighbour_rows: np.ndarray  # int64 (n, 30) of the first seed, rows of the reference table
    growth: dict[int, dict[str, np.ndarray]]  # n references → method → float32 (n_seeds, n, C)

    def confusion(self, method: str) -> np.ndarray:
        """Counts (C, C) of all seeds together; rows are true categories."""
        predictions = self.probabilities[method].argmax(axis=2)
        labels = np.broadcast_to(self.labels, predictions.shape)
        n_classes = self.probabilities[method].shape[2]
        return confusion(labels.ravel(), predictions.ravel(), n_classes)

    def reliability(self, n_bins: int) -> dict[str, pd.DataFrame]:
        """Reliability tables of model, search and fusion, of all seeds together."""
        tables = {}
        for method in (MODEL, SEARCH, FUSION):
            n_seeds, _, n_classes = self.probabilities[method].shape
            flat = self.probabilities[method].reshape(-1, n_classes)
            tables[method] = reliability(flat, np.tile(self.labels, n_seeds), n_bins)
        return tables


def answer_test_queries(
    task: CategoryTask, results: list[SeedResult], fractions: tuple[float, ...]
) -> CategoryOutcome:
    """Vote and fuse with the whole reference set, with training images only, and as it grows."""
    everything = np.arange(len(task.reference))
    training = np.flatnonzero(task.reference.is_training)
    whole = [(r, gather_evidence(r, everything)) for r in results]
    choices, search, fusion = zip(*[fuse_with(task, r, e) for r, e in whole], strict=True)
    _, search_training, fusion_training = zip(
        *[fuse_with(task, r, gather_evidence(r, training)) for r in results], strict=True
    )
    growth = {}
    for fraction in fractions:
        _, grown_search, grown_fusion = zip(
            *[
                fuse_with(task, r, gather_evidence(r, growing_references(task, fraction, r.seed)))
                for r in results
            ],
            strict=True,
        )
        size = len(growing_references(task, fraction, results[0].seed))
        growth[size] = {SEARCH: np.stack(grown_search), FUSION: np.stack(grown_fusion)}
    return CategoryOutcome(
        task.labels(task.test),
        {
            MODEL: np.stack([r.model["test"] for r in results]),
            SEARCH: np.stack(search),
            FUSION: np.stack(fusion),
            SEARCH_TRAINING: np.stack(search_training),
            FUSION_TRAINING: np.stack(fusion_training),
            REFITTED: np.stack([r.refitted for r in results]),
        },
        list(choices),
        whole[0][1].rows["test"],
        growth,
    )


def hits(probabilities: np.ndarray, labels: np.ndarray, k: int = 1) -> np.ndarray:
    """Accuracy@k per seed and query: (n_seeds, n, C) and (n,) → float (n_seeds, n)."""
    return np.stack([accuracy_at_k(p, labels, k) for p in probabilities]).astype(float)


def record(
    ledger: Ledger,
    task: CategoryTask,
    results: list[SeedResult],
    outcome: CategoryOutcome,
    n_resamples: int,
    hard: Hard | None = None,
) -> None:
    """Write accuracy, calibration, growth, choices and claim C1 to the ledger.

    The claim is judged in the hard setting, too, where there is one; and not in one in which a part
    is at its ceiling (see `hard`), unless there is no other.

    Intervals resample whole products (photos where products are unknown) and seeds.
    """
    writer = _Results(ledger, task, outcome, [r.seed for r in results], n_resamples)
    for method, probabilities in outcome.probabilities.items():
        writer.quality(method, probabilities)
    effects = writer.differences()
    settings = {"": parts_on_validation(task, results)}
    if hard is not None:
        effects |= writer.hard(hard)
        settings[f", {LEAVES}"] = hard.on_validation
    writer.claim(effects, settings)
    writer.agreement()
    for size, methods in outcome.growth.items():
        for method, probabilities in methods.items():
            writer.accuracy("reference growth", f"{size:,} images | {method}", probabilities)
    for code, category in enumerate(task.categories):
        chosen = outcome.labels == code
        for method in (MODEL, SEARCH, FUSION) if chosen.any() else ():
            variant = f"{category} | {method}"
            writer.accuracy("accuracy by category", variant, outcome.probabilities[method], chosen)
    for result, choice in zip(results, outcome.choices, strict=True):
        writer.training(result, choice)


@dataclass(frozen=True)
class _Results:
    ledger: Ledger
    task: CategoryTask
    outcome: CategoryOutcome
    seeds: list[int]
    n_resamples: int

    @property
    def products(self) -> np.ndarray:
        return self.task.test.product_id.fillna(self.task.test.id).to_numpy()

    def note(self, experiment: str, variant: str, metric: str, ci: Interval) -> None:
        self.ledger.record(experiment, variant, metric, ci.value, ci, seeds=self.seeds)

    def mean(self, values: np.ndarray, chosen: np.ndarray | slice = slice(None)) -> Interval:
        groups = self.products[chosen]
        return mean_interval(values[:, chosen], self.n_resamples, self.seeds[0], groups=groups)

    def accuracy(
        self,
        experiment: str,
        variant: str,
        probabilities: np.ndarray,
        chosen: np.ndarray | slice = slice(None),
    ) -> None:
        correct = hits(probabilities, self.outcome.labels)
        self.note(experiment, variant, "Accuracy@1", self.mean(correct, chosen))

    def quality(self, method: str, probabilities: np.ndarray) -> None:
        labels = self.outcome.labels
        self.accuracy("accuracy", method, probabilities)
        self.note("accuracy", method, "Accuracy@3", self.mean(hits(probabilities, labels, 3)))
        losses = np.stack([negative_log_likelihood(p, labels) for p in probabilities])
        self.note("accuracy", method, "negative log-likelihood", self.mean(losses))
        self.ledger.record(
            "accuracy",
            method,
            "expected calibration error",
            float(np.mean([expected_calibration_error(p, labels) for p in probabilities])),
            n=len(labels),
            seeds=self.seeds,
        )

    def differences(self) -> dict[str, Interval]:
        correct = {
            method: hits(probabilities, self.outcome.labels)
            for method, probabilities in self.outcome.probabilities.items()
        }
        effects = {
            name: paired_difference(
                correct[first],
                correct[second],
                self.n_resamples,
                self.seeds[0],
                groups=self.products,
            )
            for name, (first, second) in COMPARISONS.items()
        }
        for name, effect in effects.items():
            self.note("difference", name, "Accuracy@1 difference", effect)
        return effects

    def hard(self, hard: Hard) -> dict[str, Interval]:
        """Accuracy and differences in the hard setting; effects, named by it."""
        correct = {method: hits(found, hard.labels) for method, found in hard.probabilities.items()}
        for method, values in correct.items():
            self.note(HARD, method, "Accuracy@1", self.mean(values))
        for part, value in hard.on_validation.items():
            self.ledger.record(HARD_VALIDATION, part, "Accuracy@1", value)
        counts = {"labelled": hard.n_labelled, "of them the model's": hard.n_training}
        for name, count in counts.items():
            self.ledger.record(f"{HARD}: labels", name, "images", count)
        effects = {}
        for part in (MODEL, SEARCH):
            name = f"{FUSION} − {part}"
            effect = paired_difference(
                correct[FUSION],
                correct[part],
                self.n_resamples,
                self.seeds[0],
                groups=self.products,
            )
            self.note(HARD_DIFFERENCES, name, "Accuracy@1 difference", effect)
            effects[f"{name}, {LEAVES}"] = effect
        return effects

    def claim(self, effects: dict[str, Interval], settings: dict[str, dict[str, float]]) -> None:
        """Judge C1 in each setting (suffix of its effects) whose parts are below the ceiling."""
        judged = [name for name, parts in settings.items() if not is_at_ceiling(parts)]
        judged = judged or list(settings)
        names = [f"{FUSION} − {part}{setting}" for setting in judged for part in (MODEL, SEARCH)]
        evidence = [
            f"{self.ledger.section}/{HARD if setting else 'accuracy'}/{method}/Accuracy@1"
            for setting in judged
            for method in (MODEL, SEARCH, FUSION)
        ]
        beaten = {name: effects[name] for name in names}
        self.ledger.claim(judge_all("C1", beaten, "Accuracy@1", evidence))

    def agreement(self) -> None:
        """Who is right when: fusion can gain only where exactly one of its parts is."""
        model, search, fusion = (
            hits(self.outcome.probabilities[method], self.outcome.labels).astype(bool)
            for method in (MODEL, SEARCH, FUSION)
        )
        cases = {
            "both right": model & search,
            "only the model right": model & ~search,
            "only the model right, and fusion too": model & ~search & fusion,
            "only search right": ~model & search,
            "only search right, and fusion too": ~model & search & fusion,
            "both wrong": ~model & ~search,
        }
        for case, holds in cases.items():
            interval = self.mean(holds.astype(float))
            self.note("why: who is right when", case, "share of queries", interval)

    def training(self, result: SeedResult, choice: FusionChoice) -> None:
        steady = result.log.iloc[len(result.log) // 4 :]
        values = {
            "chosen lambda": choice.decay,
            "chosen fusion weight": choice.weight,
            "training loss": steady.loss.tail(20).mean(),
            "step time": steady.step_ms.median(),
            "wait for data": steady.wait_ms.sum() / steady.step_ms.sum(),
        }
        for metric, value in values.items():
            self.ledger.record(
                "training and choices", f"seed {result.seed}", metric, float(value), seeds=1
            )


def accuracy_by_category(task: CategoryTask, outcome: CategoryOutcome) -> pd.DataFrame:
    """Accuracy@1 per category (rows) of model, search and fusion (columns), mean over seeds."""
    columns = {
        method: pd.Series(hits(outcome.probabilities[method], outcome.labels).mean(axis=0))
        for method in (MODEL, SEARCH, FUSION)
    }
    names = np.array(task.categories)[outcome.labels]
    return pd.DataFrame(columns).groupby(names).mean()


def growth_curves(
    ledger: Ledger, outcome: CategoryOutcome
) -> tuple[list[int], dict[str, list[Interval]]]:
    """Reference sizes, and method → recorded Accuracy@1 at each size."""
    sizes = list(outcome.growth)
    recorded = ledger.intervals("reference growth", "Accuracy@1")
    curves = {m: [recorded[f"{size:,} images | {m}"] for size in sizes] for m in (SEARCH, FUSION)}
    model = ledger.intervals("accuracy", "Accuracy@1")[MODEL]
    return sizes, {MODEL: [model] * len(sizes), **curves}


def reading_of_hard(ledger: Ledger) -> str:
    """What beat what in the hard setting, and whether a part was at its ceiling; Markdown."""
    if not ledger.intervals(HARD, "Accuracy@1"):
        return "Only of the rendered shop is the kind of each thing known, so it was not asked."
    told = [
        ledger.compare(
            HARD_DIFFERENCES, f"{FUSION} − {part}", "Accuracy@1 difference", FUSION, part
        )
        for part in (MODEL, SEARCH)
    ]
    parts = ledger.table(HARD_VALIDATION)["Accuracy@1"].to_dict()
    numbers = " and ".join(f"{part} on {value:.1%}" for part, value in parts.items())
    state = "one of them is" if is_at_ceiling(parts) else "neither is"
    told.append(
        f"By themselves the parts are right on validation photos so often: {numbers}; {state} at "
        f"the ceiling, which is {CEILING:.0%}."
    )
    return bullets(told)


def reading(ledger: Ledger) -> str:
    """What beat what, in sentences of Markdown."""
    names = {REFITTED: "the refitted model", FUSION_TRAINING: "fusion over training images only"}
    return bullets(
        ledger.compare(
            "difference",
            variant,
            "Accuracy@1 difference",
            names.get(first, first),
            names.get(second, second),
        )
        for variant, (first, second) in COMPARISONS.items()
    )
