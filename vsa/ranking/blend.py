"""Appearance must not be lost: how much a score may move results, chosen on validation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vsa.ranking.features import relative

TOLERANCE = 0.05  # NDCG of appearance that re-ranking may cost
WEIGHTS = np.linspace(0, 1, 21)


def blend(similarity: np.ndarray, score: np.ndarray, weight: float) -> np.ndarray:
    """(1 − weight) · appearance + weight · quality, float32 in [0, 1], of pages (..., k).

    Both are scaled to [0, 1] within the page, the score as log-odds: purchases are rare, and on
    a plain scale one likely result would leave no room between all others.
    """
    clipped = np.clip(score.astype(np.float64), 1e-6, 1 - 1e-6)
    quality = relative(np.log(clipped / (1 - clipped)))
    mixed = (1 - weight) * relative(similarity.astype(np.float64)) + weight * quality
    return mixed.astype(np.float32)


def best_first(score: np.ndarray) -> np.ndarray:
    """Positions (..., k) from the highest score to the lowest; ties keep their order."""
    return np.argsort(-score, axis=-1, kind="stable")


def appearance_ndcg(order: np.ndarray) -> np.ndarray:
    """NDCG of re-ordered pages against their order by appearance, float64 (...,) in [0, 1].

    `order` (..., k) holds positions on a page that was ordered by appearance. Gains as in
    `vsa.metrics.ndcg_at_k`: the first by appearance is worth 1, the last 1 / k.
    """
    k = order.shape[-1]
    relevance, discount = 1 - np.arange(k) / k, 1 / np.log2(np.arange(k) + 2)
    return (relevance[order] * discount).sum(axis=-1) / (relevance * discount).sum()


@dataclass(frozen=True)
class Choice:
    """The weight of the score, and what it gave on the pages that chose it."""

    weight: float
    value: float
    ndcg: float


def choose_weight(
    similarity: np.ndarray,
    score: np.ndarray,
    value: Callable[[np.ndarray], np.ndarray],
    shares: np.ndarray,
    lower_bound: Callable[[np.ndarray], float],
) -> Choice:
    """The weight with the most valuable pages among those that keep appearance.

    A weight keeps appearance if the lower end of the interval of NDCG does not fall below
    1 − TOLERANCE; a weight of 0 always does.

    Parameters
    ----------
    similarity : (n, k), falling.
    score : (n, S, k) of a ranker.
    value : of page orders, int64 (n, S, k) as `best_first` has them, what each page is worth,
        (n, S): its conversion rate, say.
    shares : of the segments, (S,), sum to 1.
    lower_bound : of the interval of a mean of (n,) values.
    """
    best = Choice(0.0, -np.inf, 1.0)
    for weight in WEIGHTS:
        order = best_first(blend(similarity[:, None], score, weight))
        ndcg = appearance_ndcg(order) @ shares
        worth = float((value(order) @ shares).mean())
        if worth > best.value and lower_bound(ndcg) >= 1 - TOLERANCE:
            best = Choice(float(weight), worth, float(ndcg.mean()))
    return best
