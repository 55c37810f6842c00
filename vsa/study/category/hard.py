"""The hard setting of claim C1: which kind of thing it is, by few labels (paper section 3.1).

Fusion can gain only where its parts fail. Of the rendered shop's 14 categories a network that has
seen enough of them fails hardly ever: at full size both parts were right on more than 97 % of test
photos in a trial, and nothing could be seen. So the claim is asked a second time, of every run of
the rendered shop, where it is harder for both parts. This was decided, and written down here,
before any fusion of it was looked at:

- *Leaf categories*: all 66 kinds of things that the shop has. Those of one category look more alike
  than categories do, and some of different categories were drawn to overlap (strap dresses and
  slips, shorts and boxers, lotion bottles and drinks, biscuit boxes, books and loudspeakers).
- *Few labels*: a tenth of the reference pictures have theirs, drawn at random for each seed. The
  model learns from those of them that are training images; search votes over all of them, as ever.
- *The network stays as it is*, trained on the 14 categories. The model is a softmax over its
  features, fitted by logistic regression: a shop splits its catalogue finer, and trains no new
  network. λ, weight and regularisation are chosen on validation photos, as everywhere.

A setting is not judged in which a part by itself is right on more than `CEILING` of validation
photos: it is at its ceiling there, and says nothing about fusion, for or against. No fusion is
looked at for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from vsa.category.search import vote
from vsa.category.task import CategoryTask
from vsa.data.datasets import find_source
from vsa.data.schema import Dataset
from vsa.study.category.experiment import (
    SeedResult,
    fit_last_layer,
    fuse_with,
    gather_evidence,
    growing_references,
)
from vsa.study.run import Run

PARTS = ("model", "search")
METHODS = (*PARTS, "fusion")
LABELLED = 0.1  # share of the reference pictures whose leaf is known
CEILING = 0.95  # of Accuracy@1 on validation photos


@dataclass(frozen=True)
class Hard:
    """Test predictions of leaves, for all seeds; and how the parts did on validation photos."""

    labels: np.ndarray  # int64 (n,)
    probabilities: dict[str, np.ndarray]  # method → float32 (n_seeds, n, C)
    on_validation: dict[str, float]  # part → Accuracy@1, mean over seeds
    n_labelled: int
    n_training: int  # of these, the model's; mean over seeds


def ask_leaves(
    run: Run, task: CategoryTask, dataset: Dataset, results: Sequence[SeedResult]
) -> Hard | None:
    """Ask the hard question of a rendered shop; None for any other data set."""
    if not find_source(run.dataset).is_rendered:
        return None
    leaves = with_leaves(task, dataset)
    answers = [_ask(leaves, result) for result in results]
    found = {method: np.stack([one.probabilities[method] for one in answers]) for method in METHODS}
    return Hard(
        leaves.labels(leaves.test),
        found,
        {part: float(np.mean([one.on_validation[part] for one in answers])) for part in PARTS},
        answers[0].n_labelled,
        round(float(np.mean([one.n_training for one in answers]))),
    )


def with_leaves(task: CategoryTask, dataset: Dataset) -> CategoryTask:
    """The same pictures and photos, whose categories are the leaves of their products."""
    of_product = dataset.catalogue.groupby("product_id").leaf.first()

    def named(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(category=table.product_id.map(of_product))

    names = sorted(dataset.catalogue.leaf.unique())
    return CategoryTask(named(task.reference), named(task.val), named(task.test), names)


def parts_on_validation(task: CategoryTask, results: Sequence[SeedResult]) -> dict[str, float]:
    """Accuracy@1 of model and search on validation photos, mean over seeds."""
    everything = np.arange(len(task.reference))
    right = [_right(task, result, everything) for result in results]
    return {part: float(np.mean([one[part] for one in right])) for part in PARTS}


def is_at_ceiling(on_validation: dict[str, float]) -> bool:
    """Whether a part by itself leaves fusion too little to gain."""
    return max(on_validation.values()) > CEILING


@dataclass(frozen=True)
class _Answer:
    """One seed's part of `Hard`."""

    probabilities: dict[str, np.ndarray]  # method → float32 (n, C)
    on_validation: dict[str, float]
    n_labelled: int
    n_training: int


def _ask(leaves: CategoryTask, result: SeedResult) -> _Answer:
    rows = growing_references(leaves, LABELLED, result.seed)
    learn_from = rows[leaves.reference.is_training.to_numpy()[rows]]
    known = leaves.labels(leaves.reference)[learn_from]
    model = fit_last_layer(result.features, learn_from, known, leaves)
    fitted = replace(result, model=model)
    _, voted, fused = fuse_with(leaves, fitted, gather_evidence(fitted, rows))
    answers = dict(zip(METHODS, (model["test"], voted, fused), strict=True))
    return _Answer(answers, _right(leaves, fitted, rows), len(rows), len(learn_from))


def _right(task: CategoryTask, result: SeedResult, rows: np.ndarray) -> dict[str, float]:
    evidence, labels = gather_evidence(result, rows), task.labels(task.val)
    choice, *_ = fuse_with(task, result, evidence)
    near = task.labels(task.reference)[evidence.rows["val"]]
    voted = vote(evidence.squared_distances["val"], near, len(task.categories), choice.decay)
    answers = {"model": result.model["val"], "search": voted}
    return {part: float((found.argmax(axis=1) == labels).mean()) for part, found in answers.items()}
