"""Boosted trees as plain arrays: fitted by scikit-learn, walked by NumPy, kept without pickles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vsa.ranking.settings import RankerSettings
from vsa.runtime.extras import missing_explained


@dataclass(frozen=True)
class Forest:
    """T trees of at most N nodes; node 0 is the root, and a leaf is its own child."""

    feature: np.ndarray  # int32 (T, N)
    threshold: np.ndarray  # float64 (T, N)
    child: np.ndarray  # int32 (T, N, 2): where the feature is not above the threshold, and where
    depth: int

    def first(self, n_trees: int) -> Forest:
        """The first trees only."""
        feature, threshold = self.feature[:n_trees], self.threshold[:n_trees]
        return Forest(feature, threshold, self.child[:n_trees], self.depth)

    def leaves(self, x: np.ndarray) -> np.ndarray:
        """The leaf of every tree that each row of `x` float32 (n, F) ends in, int32 (n, T)."""
        n_trees, n_nodes = self.feature.shape
        first = np.arange(n_trees, dtype=np.int32) * n_nodes  # of each tree, in flat arrays
        start = np.arange(len(x), dtype=np.int32)[:, None] * x.shape[1]
        values = np.ascontiguousarray(x, np.float32).ravel()
        node = np.zeros((len(x), n_trees), np.int32)
        for _ in range(self.depth):
            at = node + first
            above = values.take(self.feature.take(at) + start) > self.threshold.take(at)
            node = self.child.take(2 * at + above)
        return node


def grow_forest(
    x: np.ndarray, bought: np.ndarray, weight: np.ndarray, settings: RankerSettings, seed: int
) -> tuple[Forest, np.ndarray, float]:
    """Gradient boosting of the log-loss.

    Parameters
    ----------
    x : float32 (n, F).
    bought : bool (n,), both kinds present.
    weight : (n,), how many observations a row stands for.

    Returns
    -------
    The forest; what each node adds to the log-odds, float64 (T, N), of use at leaves; and the
    log-odds that they are added to.
    """
    with missing_explained():  # it fits trees, and is not needed to serve them
        from sklearn.ensemble import GradientBoostingClassifier

    model = GradientBoostingClassifier(
        n_estimators=settings.n_trees,
        max_depth=settings.depth,
        learning_rate=settings.learning_rate,
        subsample=0.5,
        min_samples_leaf=30,
        random_state=seed,
    )
    model.fit(x, bought, sample_weight=weight)
    trees = [estimator.tree_ for estimator in model.estimators_[:, 0]]
    shape = (len(trees), max(tree.node_count for tree in trees))
    feature = np.zeros(shape, np.int32)
    child = np.zeros((*shape, 2), np.int32)
    threshold, value = np.zeros((2, *shape))
    for number, tree in enumerate(trees):
        own = np.arange(tree.node_count)
        is_leaf = tree.children_left < 0
        feature[number, own] = np.where(is_leaf, 0, tree.feature)
        threshold[number, own] = tree.threshold
        child[number, own, 0] = np.where(is_leaf, own, tree.children_left)
        child[number, own, 1] = np.where(is_leaf, own, tree.children_right)
        value[number, own] = settings.learning_rate * tree.value[:, 0, 0]
    prior = model.init_.class_prior_[1]
    forest = Forest(feature, threshold, child, settings.depth)
    return forest, value, float(np.log(prior / (1 - prior)))
