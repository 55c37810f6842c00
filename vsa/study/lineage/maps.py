"""t-SNE's planes in numbers [21]: how true they are, and how far categories keep together."""

from __future__ import annotations

import numpy as np

from vsa.runtime.seeds import generator
from vsa.study.figures.projection import tsne
from vsa.study.ledger.ledger import Ledger
from vsa.study.lineage.aggregation import components, seen_features
from vsa.study.lineage.lab import LineageLab
from vsa.study.lineage.pictures import Pictures, unit

MAPS = "maps in numbers"
_N_NEAR = 10
_N_POINTS = 400


def record_maps(ledger: Ledger, lab: LineageLab) -> None:
    """Trustworthiness and neighbourhood hit of t-SNE's plane, for two features of test photos.

    They are the frozen network's own, and its principal components, whitened. The hit among the
    features themselves stands beside it: what the plane adds or loses.
    """
    from sklearn.manifold import trustworthiness  # slow to import

    sample, category = map_sample(lab)
    near = min(_N_NEAR, (len(category) - 1) // 2)
    if near < 1:
        return
    for name, features in _features(lab, sample).items():
        points, order = tsne(features, lab.seed)
        trust = float(trustworthiness(features[order], points, n_neighbors=near))
        ledger.record(MAPS, name, "trustworthiness", trust)
        for place, where in ((name, points), (f"{name}, not projected", features[order])):
            hit = neighbourhood_hit(where, category[order], near)
            ledger.record(MAPS, place, "neighbourhood hit", hit)


def _features(lab: LineageLab, sample: Pictures) -> dict[str, np.ndarray]:
    codes = components(seen_features(lab), lab.settings.dim, whiten=True)
    return {
        "the network's own feature": sample.pooled,
        "neural codes, whitened": unit(codes.transform(sample.pooled)),
    }


def map_sample(lab: LineageLab) -> tuple[Pictures, np.ndarray]:
    """At most 400 test photos with a category, drawn at random, and its codes, int64."""
    category = lab.categories("test")
    rows = generator(lab.seed, "map").permutation(np.flatnonzero(category >= 0))[:_N_POINTS]
    rows = np.sort(rows)
    return lab.once("map", lambda: lab.photos["test"].some(rows)), category[rows]


def neighbourhood_hit(points: np.ndarray, labels: np.ndarray, n_near: int) -> float:
    """Mean share of the n nearest points, (n, d), that have the same label.

    As Paulovich et al. (2008) have it; a point is no neighbour of itself.
    """
    from sklearn.neighbors import NearestNeighbors  # slow to import

    near = NearestNeighbors(n_neighbors=n_near).fit(points).kneighbors(return_distance=False)
    return float((labels[near] == labels[:, None]).mean())
