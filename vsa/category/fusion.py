"""Fusion of model- and search-based prediction, and the choice of its two free numbers.

The paper fuses by a weighted average and does not give λ or the weight; both are chosen on
the validation split: λ for the search branch by itself, so that the branch is compared at its
best, then the weight for the fusion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vsa.category.search import vote
from vsa.metrics import negative_log_likelihood

VERSION = 1
DECAYS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
WEIGHTS = tuple(np.round(np.linspace(0, 1, 21), 2).tolist())


@dataclass(frozen=True)
class FusionChoice:
    """λ of the vote and the model's share in the average, in [0, 1]."""

    decay: float
    weight: float


def fuse(model: np.ndarray, search: np.ndarray, weight: float) -> np.ndarray:
    """Weighted average of two distributions: weight · model + (1 − weight) · search.

    `model` and `search` are (n, C) with rows that sum to 1, and so are those of the result.
    """
    return weight * model + (1 - weight) * search


def choose_fusion(
    model: np.ndarray,
    squared_distances: np.ndarray,
    neighbour_labels: np.ndarray,
    labels: np.ndarray,
    decays: Sequence[float] = DECAYS,
    weights: Sequence[float] = WEIGHTS,
) -> FusionChoice:
    """λ and weight with the highest validation Accuracy@1; ties go to the lower log-loss.

    Parameters
    ----------
    model : (n, C) probabilities of the classifier on the validation queries.
    squared_distances, neighbour_labels : (n, k), as of `vsa.category.search.vote`.
    labels : int (n,), true categories.
    """
    n_classes = model.shape[1]
    searches = {d: vote(squared_distances, neighbour_labels, n_classes, d) for d in decays}
    decay = max(decays, key=lambda d: _quality(searches[d], labels))
    weight = max(weights, key=lambda w: _quality(fuse(model, searches[decay], w), labels))
    return FusionChoice(decay, weight)


def _quality(probabilities: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    accuracy = float((probabilities.argmax(axis=1) == labels).mean())
    return accuracy, -float(negative_log_likelihood(probabilities, labels).mean())
