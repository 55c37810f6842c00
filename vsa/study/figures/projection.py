"""t-SNE of features, for pictures only: no number is ever read off it."""

from __future__ import annotations

import numpy as np

from vsa.runtime.seeds import generator


def tsne(features: np.ndarray, seed: int, n_max: int = 800) -> tuple[np.ndarray, np.ndarray]:
    """Project at most `n_max` rows, drawn at random, to the plane.

    Parameters
    ----------
    features : float32 (n, d).
    seed : of the draw and of t-SNE's start.
    n_max : more rows than this are left out.

    Returns
    -------
    points : float32 (m, 2).
    rows : int64 (m,), the rows of `features` they belong to.
    """
    from sklearn.manifold import TSNE  # slow to import

    rows = generator(seed, "t-SNE").permutation(len(features))[:n_max]
    perplexity = min(30.0, max(2.0, (len(rows) - 1) / 3))
    projection = TSNE(perplexity=perplexity, init="pca", random_state=seed)
    return projection.fit_transform(features[rows]), rows
