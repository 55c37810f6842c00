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
PLAIN_BOTH, ADAPTED_BOTH = "plain, photo and objectness crop", "adapted, photo and objectness crop"
MASKED, JOINT_CROP = "joint, mask", "joint, learned crop"
N_RANKED = 60  # results that average precision looks at, as everywhere in this package
NO_PRODUCTS = (
    "products of validation photos are not known: what is served was chosen by their held-out "
    "clicks, and no click was filtered as a stray one"
)
CANDIDATES = (
    PLAIN,
    PLAIN_OBJECT,
    ADAPTED,
    ADAPTED_OBJECT,
    ADAPTED_CROP,
    ADAPTED_BOTH,
    MASKED,
    JOINT_CROP,
)


@dataclass(frozen=True)
class Validation:
    """The validation photos as a jury of features.

    What is right for a photo is a picture of its product; or, where products are not known, what
    somebody clicked for it. No click of these photos is learned from: they are *held out*. Such
    clicks say less: a few are stray, and what was not on a page was not clicked.
    """

    task: EmbeddingTask
    rows: np.ndarray  # of the queries: their product is for sale, or something was clicked
    by_clicks: bool = False

    @classmethod
    def of(cls, task: EmbeddingTask, *, by_clicks: bool | None = None) -> Validation:
        """The jury of a task; by clicks where products are not known, unless that is said."""
        rows = task.rows("val")
        if by_clicks is None:
            by_clicks = not task.knows_validation
        return cls(task, rows[np.isin(rows, task.clicks[0])] if by_clicks else rows, by_clicks)

    @property
    def groups(self) -> np.ndarray:
        """What photos are taken together by, int64 (n,): their product, or each photo alone."""
        return self.rows if self.by_clicks else self.task.products[0][self.rows]

    def hits(self, found: np.ndarray) -> np.ndarray:
        """Whether each result is right, bool (n, k), of catalogue rows (n, k)."""
        wanted, offered = self.task.products
        if not self.by_clicks:
            return np.asarray((found >= 0) & (offered[found] == wanted[self.rows][:, None]))
        n_images, (query, image) = len(offered), self.task.clicks
        pairs = self.rows[:, None] * n_images + found
        return np.isin(pairs, query * n_images + image) & (found >= 0)

    @property
    def n_right(self) -> np.ndarray:
        """How many pictures of the catalogue are right, int64 (n,), ≥ 1 each."""
        wanted, offered = self.task.products
        if self.by_clicks:
            return np.bincount(self.task.clicks[0], minlength=len(wanted))[self.rows]
        return np.asarray((offered[None] == wanted[self.rows][:, None]).sum(axis=1))

    def of_ranking(self, found: np.ndarray) -> np.ndarray:
        """Average precision of each photo, (n,), of catalogue rows that were found (n, k)."""
        return average_precision(self.hits(found), np.ones(len(found), bool), self.n_right)

    def precisions(self, photos: np.ndarray, catalogue: np.ndarray) -> np.ndarray:
        """Average precision of each photo in the whole catalogue, by unit features, (n,)."""
        _, found = faiss.knn(
            np.ascontiguousarray(photos, np.float32),
            np.ascontiguousarray(catalogue, np.float32),
            min(N_RANKED, len(catalogue)),
            faiss.METRIC_INNER_PRODUCT,
        )
        return self.of_ranking(found)

    def score(self, photos: np.ndarray, catalogue: np.ndarray) -> float:
        """mAP; 0 without a photo."""
        return float(self.precisions(photos, catalogue).mean()) if len(self.rows) else 0.0


@dataclass(frozen=True)
class Choice:
    """The describer to serve, and why."""

    name: str
    table: pd.DataFrame  # a row per candidate: mAP, behind the best, its standard error


def choose(precisions: Mapping[str, np.ndarray], groups: np.ndarray) -> Choice:
    """The simplest candidate within one standard error of the best, by mAP on validation photos.

    The standard error is that of the paired difference to the best, with photos of one group
    taken together (Breiman et al., *Classification and Regression Trees*, 1984, section 3.4.3, for
    the rule). Without a photo to choose by it is the plain network.

    Parameters
    ----------
    precisions : candidate → average precision of each photo, (n,); in the order of simplicity.
    groups : of the photos, (n,): their products, see `Validation.groups`.
    """
    if not len(groups):
        return Choice(next(iter(precisions)), pd.DataFrame())
    means = {name: float(values.mean()) for name, values in precisions.items()}
    best = max(means, key=lambda name: means[name])
    rows = {}
    for name, values in precisions.items():
        behind = precisions[best] - values
        rows[name] = [means[name], behind.mean(), _standard_error(behind, groups)]
    columns = ["mAP", "behind the best", "standard error"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    within = table["behind the best"] <= table["standard error"]
    return Choice(str(within.idxmax()), table)


def _standard_error(values: np.ndarray, groups: np.ndarray) -> float:
    """Of the mean of values (n,), those of one group being drawn together."""
    _, group = np.unique(groups, return_inverse=True)
    sums = np.bincount(group, values - values.mean())
    return float(np.sqrt((sums**2).sum()) / len(values))
