"""Metrics as plain functions of arrays, one value per query so that they can be bootstrapped.

Tie rule, everywhere: equal scores rank in index order, as ``numpy.argmax`` has it, so the hit
at k = 1 is always the hit of the predicted class.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]


def accuracy_at_k(probabilities: Floats, labels: Ints, k: int) -> npt.NDArray[np.float32]:
    """Whether the true class is among the k most probable ones (paper section 3.1).

    Parameters
    ----------
    probabilities : (n, c) scores, higher is more likely; they need not sum to one.
    labels : (n,) classes in [0, c).
    k : how many classes count; k ≥ c is always a hit.

    Returns
    -------
    (n,) float32, 1 for a hit and 0 for a miss; the mean is Accuracy@k.
    """
    labels = _checked_labels(labels, probabilities.shape)
    truth = np.take_along_axis(probabilities, labels[:, None], axis=1)  # (n, 1)
    earlier = np.arange(probabilities.shape[1]) < labels[:, None]
    n_before = ((probabilities > truth) | ((probabilities == truth) & earlier)).sum(axis=1)
    return (n_before < k).astype(np.float32)


def negative_log_likelihood(probabilities: Floats, labels: Ints) -> npt.NDArray[np.float64]:
    """−log p(true class) in nats, shape (n,); p is kept above 1e-12 so that it stays finite."""
    labels = _checked_labels(labels, probabilities.shape)
    truth = np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
    return -np.log(np.maximum(truth.astype(np.float64), 1e-12))


def confusion(labels: Ints, predictions: Ints, n_classes: int) -> npt.NDArray[np.int64]:
    """(n_classes, n_classes) counts: row = true class, column = predicted class."""
    labels, predictions = np.asarray(labels, np.int64), np.asarray(predictions, np.int64)
    both = np.concatenate([labels, predictions])
    if both.size and (both.min() < 0 or both.max() >= n_classes):
        raise ValueError(f"classes must lie in [0, {n_classes})")
    cells = np.bincount(labels * n_classes + predictions, minlength=n_classes**2)
    return cells.reshape(n_classes, n_classes)


def reliability(probabilities: Floats, labels: Ints, n_bins: int) -> pd.DataFrame:
    """How often predictions of a given confidence are right.

    Confidence is the largest probability of a row of ``probabilities`` (n, c), in [0, 1]. Bins
    are of equal width, closed on the right.

    Returns
    -------
    One row per bin with ``low`` and ``high`` (edges), ``confidence`` and ``accuracy`` (means
    over the bin's predictions, NaN in an empty bin) and ``count``.
    """
    labels = _checked_labels(labels, probabilities.shape)
    confidence = probabilities.max(axis=1).astype(np.float64)
    if confidence.size and (confidence.min() < 0 or confidence.max() > 1 + 1e-6):
        raise ValueError("probabilities must lie in [0, 1]")
    hits = probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, n_bins + 1)
    bins = np.searchsorted(edges[1:-1], confidence)
    count = np.bincount(bins, minlength=n_bins)
    divisor = np.where(count > 0, count, np.nan)
    return pd.DataFrame(
        {
            "low": edges[:-1],
            "high": edges[1:],
            "confidence": np.bincount(bins, confidence, n_bins) / divisor,
            "accuracy": np.bincount(bins, hits, n_bins) / divisor,
            "count": count,
        }
    )


def expected_calibration_error(probabilities: Floats, labels: Ints, n_bins: int = 15) -> float:
    """Mean |accuracy − confidence| over the bins of `reliability`, weighted by count; in [0, 1]."""
    table = reliability(probabilities, labels, n_bins)
    gaps = (table["accuracy"] - table["confidence"]).abs().fillna(0.0)
    return float(np.average(gaps, weights=table["count"]))


def identical_recall_at_k(
    ranked_products: npt.ArrayLike, query_products: npt.ArrayLike, k: int | None = None
) -> npt.NDArray[np.float32]:
    """Whether an item identical to the query is among the first k results (paper section 4).

    Parameters
    ----------
    ranked_products : (n_queries, n_results) product of each result, best first.
    query_products : (n_queries,) the product each query shows.
    k : how many results count; all columns by default.

    Returns
    -------
    (n_queries,) float32, 1 for a hit; the mean is Identical Recall@k.
    """
    relevant = _identical(ranked_products, query_products)
    if k is not None and not 1 <= k <= relevant.shape[1]:
        raise ValueError(f"k = {k}, but {relevant.shape[1]} results were ranked")
    return np.asarray(relevant[:, :k].any(axis=1), dtype=np.float32)


def average_precision(
    ranked_products: npt.ArrayLike, query_products: npt.ArrayLike, n_identical: Ints
) -> npt.NDArray[np.float64]:
    """Average precision of each query over its ranked results; the mean is mAP.

    Precision is averaged over the ranks that hold an identical item and divided by
    min(n_identical, n_results), so a perfect list scores 1 even when it is cut short.

    Parameters
    ----------
    ranked_products : (n_queries, n_results) product of each result, best first.
    query_products : (n_queries,) the product each query shows.
    n_identical : (n_queries,) how many identical items the gallery holds, each ≥ 1.

    Returns
    -------
    (n_queries,) float64 in [0, 1].
    """
    relevant = _identical(ranked_products, query_products)
    n_identical = np.asarray(n_identical)
    if (n_identical < 1).any():
        raise ValueError("average precision needs at least one identical item per query")
    if (relevant.sum(axis=1) > n_identical).any():
        raise ValueError("more identical items were ranked than the gallery is said to hold")
    ranks = np.arange(1, relevant.shape[1] + 1)
    precision = relevant.cumsum(axis=1) / ranks  # (n_queries, n_results)
    return (precision * relevant).sum(axis=1) / np.minimum(n_identical, relevant.shape[1])


def linear_recall_at_k(found: Floats, exact: Floats) -> npt.NDArray[np.float64]:
    """Share of a linear scan's first k results that an index returns too (paper section 3.3).

    Ties are counted as found: what is as good as the k-th of the scan is as good a result.

    Parameters
    ----------
    found : (n_queries, k) similarities of what the index returned; −inf where it returned less.
    exact : (n_queries, k) similarities of the linear scan, best first; −inf past a small catalogue.

    Returns
    -------
    (n_queries,) float64 in [0, 1].
    """
    if found.shape != exact.shape or exact.ndim != 2:
        raise ValueError(f"found {found.shape} and exact {exact.shape} do not fit")
    there = np.isfinite(exact)
    worst = np.where(there, exact, np.inf).min(axis=1, keepdims=True)
    good = np.isfinite(found) & (found >= worst - 1e-6)
    return good.sum(axis=1) / np.maximum(there.sum(axis=1), 1)


def ndcg_at_k(found: npt.ArrayLike, exact: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Normalised discounted cumulative gain of a ranking against a linear scan's.

    The scan's result at rank r = 1 … k has relevance (k + 1 − r) / k, all others have none; a
    result at rank r counts 1 / log2(r + 1) of its relevance.

    Parameters
    ----------
    found : (n_queries, k) ids that the index returned, best first; −1 where it returned less.
    exact : (n_queries, k) ids of the linear scan, best first.

    Returns
    -------
    (n_queries,) float64 in [0, 1].
    """
    found, exact = np.asarray(found), np.asarray(exact)
    if found.shape != exact.shape or exact.ndim != 2:
        raise ValueError(f"found {found.shape} and exact {exact.shape} do not fit")
    k = exact.shape[1]
    relevance, discount = 1 - np.arange(k) / k, 1 / np.log2(np.arange(k) + 2)
    same = (found[:, :, None] == exact[:, None, :]) & (found >= 0)[:, :, None]
    gains = (same * relevance).sum(axis=2)
    return (gains * discount).sum(axis=1) / (relevance * discount).sum()


def box_iou(boxes: Floats, others: Floats) -> npt.NDArray[np.float64]:
    """Intersection over union of pairs of boxes (n, 4) x_min, y_min, x_max, y_max → (n,)."""
    first, second = np.asarray(boxes, np.float64), np.asarray(others, np.float64)
    if first.shape != second.shape or first.ndim != 2 or first.shape[1] != 4:
        raise ValueError(f"boxes {first.shape} and {second.shape} do not fit")
    sides = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
    shared = np.maximum(sides, 0).prod(axis=1)
    areas = (first[:, 2:] - first[:, :2]).prod(axis=1) + (second[:, 2:] - second[:, :2]).prod(
        axis=1
    )
    return shared / np.maximum(areas - shared, 1e-12)


def _identical(
    ranked_products: npt.ArrayLike, query_products: npt.ArrayLike
) -> npt.NDArray[np.bool_]:
    ranked, queries = np.asarray(ranked_products), np.asarray(query_products)
    if ranked.ndim != 2 or queries.shape != ranked.shape[:1]:
        raise ValueError(f"ranked {ranked.shape} and queries {queries.shape} do not fit")
    if pd.isna(queries).any():
        raise ValueError("a query without a known product cannot be judged")
    return ranked == queries[:, None]


def _checked_labels(labels: Ints, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    checked = np.asarray(labels, dtype=np.int64)
    if len(shape) != 2 or checked.shape != shape[:1]:
        raise ValueError(f"probabilities {shape} and labels {checked.shape} do not fit")
    if checked.size and (checked.min() < 0 or checked.max() >= shape[1]):
        raise ValueError(f"labels must lie in [0, {shape[1]})")
    return checked
