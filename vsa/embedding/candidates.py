"""Which describer an engine serves: declared beforehand, chosen on validation photos.

A pretrained network that learned nothing of the shop is the first of them, so that no engine is
worse than the plain thing without anybody's knowing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import faiss
import numpy as np
import pandas as pd

from vsa.embedding.task import EmbeddingTask
from vsa.metrics import average_precision

# In the order of simplicity
PLAIN, PLAIN_OBJECT = "plain, whole photo", "plain, objectness crop"
PLAIN_CROP = "plain, learned crop"
ADAPTED, ADAPTED_OBJECT = "adapted, whole photo", "adapted, objectness crop"
ADAPTED_CROP = "adapted, learned crop"
MASKED, JOINT_CROP = "joint, mask", "joint, learned crop"
N_RANKED = 60  # results that average precision looks at, as everywhere in this package
CANDIDATES = (
    PLAIN,
    PLAIN_OBJECT,
    PLAIN_CROP,
    ADAPTED,
    ADAPTED_OBJECT,
    ADAPTED_CROP,
    MASKED,
    JOINT_CROP,
)


@dataclass(frozen=True)
class Validation:
    """The validation photos as a jury of features."""

    task: EmbeddingTask
    rows: np.ndarray  # of the queries, those whose product is for sale

    @property
    def products(self) -> np.ndarray:
        """Of the photos, int64 (n,)."""
        return self.task.products[0][self.rows]

    def precisions(self, photos: np.ndarray, catalogue: np.ndarray) -> np.ndarray:
        """Average precision of each photo in the whole catalogue, by unit features, (n,)."""
        wanted, offered = self.products, self.task.products[1]
        _, found = faiss.knn(
            np.ascontiguousarray(photos, np.float32),
            np.ascontiguousarray(catalogue, np.float32),
            min(N_RANKED, len(catalogue)),
            faiss.METRIC_INNER_PRODUCT,
        )
        n_identical = (offered[None] == wanted[:, None]).sum(axis=1)
        return average_precision(offered[found], wanted, n_identical)

    def score(self, photos: np.ndarray, catalogue: np.ndarray) -> float:
        """mAP; 0 without a photo."""
        return float(self.precisions(photos, catalogue).mean()) if len(self.rows) else 0.0


@dataclass(frozen=True)
class Choice:
    """The describer to serve, and why."""

    name: str
    table: pd.DataFrame  # a row per candidate: mAP, behind the best, its standard error


def choose(precisions: Mapping[str, np.ndarray], products: np.ndarray) -> Choice:
    """The simplest candidate within one standard error of the best, by mAP on validation photos.

    The standard error is that of the paired difference to the best, with photos of one product
    taken together (Breiman et al., *Classification and Regression Trees*, 1984, section 3.4.3, for
    the rule). Without a photo to choose by it is the plain network.

    Parameters
    ----------
    precisions : candidate → average precision of each photo, (n,); in the order of simplicity.
    products : of the photos, (n,).
    """
    if not len(products):
        return Choice(next(iter(precisions)), pd.DataFrame())
    means = {name: float(values.mean()) for name, values in precisions.items()}
    best = max(means, key=lambda name: means[name])
    rows = {}
    for name, values in precisions.items():
        behind = precisions[best] - values
        rows[name] = [means[name], behind.mean(), _standard_error(behind, products)]
    columns = ["mAP", "behind the best", "standard error"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    within = table["behind the best"] <= table["standard error"]
    return Choice(str(within.idxmax()), table)


def _standard_error(values: np.ndarray, groups: np.ndarray) -> float:
    """Of the mean of values (n,), those of one group being drawn together."""
    _, group = np.unique(groups, return_inverse=True)
    sums = np.bincount(group, values - values.mean())
    return float(np.sqrt((sums**2).sum()) / len(values))
