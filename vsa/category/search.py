"""Search-based category prediction: the weighted vote of nearest reference images (section 3.1)."""

from __future__ import annotations

import faiss
import numpy as np

VERSION = 1
N_NEIGHBOURS = 30  # the paper's


def nearest_references(
    queries: np.ndarray, references: np.ndarray, n_neighbours: int = N_NEIGHBOURS
) -> tuple[np.ndarray, np.ndarray]:
    """Exact nearest references of each query, nearest first.

    Parameters
    ----------
    queries, references : float32 (n, d) and (m, d).

    Returns
    -------
    squared_distances : float32 (n, k), ‖x − xᵢ‖², with k = min(n_neighbours, m).
    rows : int64 (n, k), rows of `references`.
    """
    index = faiss.IndexFlatL2(references.shape[1])
    index.add(np.ascontiguousarray(references, np.float32))
    k = min(n_neighbours, len(references))
    distances, rows = index.search(np.ascontiguousarray(queries, np.float32), k)
    return np.maximum(distances, 0), rows


def vote(
    squared_distances: np.ndarray, labels: np.ndarray, n_classes: int, decay: float
) -> np.ndarray:
    """y(x) = Σᵢ w(x, xᵢ) yᵢ / Σᵢ w(x, xᵢ) with w = exp(−λ ‖x − xᵢ‖²) (section 3.1).

    Parameters
    ----------
    squared_distances : (n, k), nearest first.
    labels : int (n, k), categories of those neighbours.
    decay : λ ≥ 0; 0 counts heads.

    Returns
    -------
    float32 (n, n_classes), rows sum to 1.
    """
    # Subtracting the smallest distance leaves the quotient unchanged and avoids 0 / 0.
    nearest = squared_distances.min(axis=1, keepdims=True)
    weights = np.exp(-decay * (squared_distances - nearest))  # (n, k)
    votes = np.zeros((len(labels), n_classes))
    np.add.at(votes, (np.arange(len(labels))[:, None], labels), weights)
    return (votes / votes.sum(axis=1, keepdims=True)).astype(np.float32)
