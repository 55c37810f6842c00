"""What notebook 05 re-ranks: pages of first results by appearance, and their listings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import pandas as pd

from vsa.ranking.serve import QualityRanker, save_ranker
from vsa.runtime.errors import NotApplicable
from vsa.runtime.seeds import generator
from vsa.study.catalogue.prepare import Shop
from vsa.study.index.prepare import Asked, IndexTask
from vsa.study.predecessors import leave
from vsa.study.run import Run
from vsa.study.simulate.shoppers import CATEGORY, ELSE, IDENTICAL, LEAF, NAMES
from vsa.study.simulate.signals import simulate_signals

SIDES = ("fit", "choose", "test")
K = 60  # results that are re-ordered (the paper's number)


@dataclass(frozen=True)
class ResultPages:
    """The first results of some photos, by appearance."""

    rows: np.ndarray  # int64 (n, k): listings, best first
    similarity: np.ndarray  # float32 (n, k), falling
    relevance: np.ndarray  # int64 (n, k): ELSE to IDENTICAL, by the true labels
    products: np.ndarray  # int64 (n,): what each photo shows

    def some(self, chosen: np.ndarray) -> ResultPages:
        """The pages of some photos, bool (n,)."""
        return ResultPages(
            self.rows[chosen],
            self.similarity[chosen],
            self.relevance[chosen],
            self.products[chosen],
        )


@dataclass(frozen=True)
class RankTask:
    """Listings and pages; photos of one product are on one side only."""

    quality: pd.DataFrame  # signals of all listings, NaN where missing
    categories: np.ndarray  # str (n,), of all listings
    fit: ResultPages  # rankers learn from sessions on these,
    choose: ResultPages  # the blend is chosen on these,
    test: ResultPages  # and all is reported on these
    signals_are_simulated: bool  # by this code, because the data set has none

    def pages(self, side: str) -> ResultPages:
        """The pages of one of `SIDES`."""
        return {"fit": self.fit, "choose": self.choose, "test": self.test}[side]

    def summary(self) -> pd.DataFrame:
        """Photos, products, and what is on their pages, by side."""
        sides = {side: self.pages(side) for side in SIDES}
        return pd.DataFrame(
            {
                name: {
                    "photos": len(pages.products),
                    "products": len(np.unique(pages.products)),
                    "results per page": pages.rows.shape[1],
                    "portraits": len(NAMES),
                }
                for name, pages in sides.items()
            }
        ).T


def relevance_of(
    wanted: tuple[np.ndarray, np.ndarray, np.ndarray],
    offered: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> np.ndarray:
    """ELSE to IDENTICAL of each result, int64 (n, k).

    Both sides are product, leaf and category; `wanted` (n,) each, `offered` (n, k) each.
    """
    product, leaf, category = (
        mine[:, None] == theirs for mine, theirs in zip(wanted, offered, strict=True)
    )
    return np.select([product, leaf, category], [IDENTICAL, LEAF, CATEGORY], ELSE)


def ranker_folder(run: Run) -> Path:
    """Where notebook 05 publishes its ranker, and notebook 06 takes it from."""
    return run.artifacts / "ranking" / "ranker"


def publish_ranker(run: Run, ranker: QualityRanker) -> Path:
    """Publish the ranker that the engine serves; replaces an earlier one."""
    save_ranker(ranker_folder(run), ranker)
    return leave(run, ranker_folder(run))


def rank_task(shop: Shop, task: IndexTask, seed: int) -> RankTask:
    """The first 60 of the kept catalogue for each photo, and the signals of its listings.

    Half of the products of the validation photos are for fitting, the other half for choosing.
    """
    catalogue = shop.dataset.catalogue
    products = generator(seed, "fit or choose").permutation(np.unique(task.validation.products))
    if not can_be_ranked(task):
        raise NotApplicable("Quality-aware re-ranking: validation photos show too few products.")
    for_fitting = np.isin(task.validation.products, products[: len(products) // 2])
    leaves = catalogue.leaf.to_numpy(str)
    validation = _pages(task, task.validation, leaves)
    quality = catalogue if shop.has_quality else simulate_signals(catalogue, seed)
    return RankTask(
        quality.reset_index(drop=True),
        task.categories,
        validation.some(for_fitting),
        validation.some(~for_fitting),
        _pages(task, task.test, leaves),
        not shop.has_quality,
    )


def can_be_ranked(task: IndexTask) -> bool:
    """Whether validation photos show products enough to fit a ranker and to choose its weight."""
    return len(np.unique(task.validation.products)) >= 2


def _pages(task: IndexTask, asked: Asked, leaves: np.ndarray) -> ResultPages:
    kept = np.flatnonzero(task.kept)
    k = min(K, len(kept))
    similarity, found = faiss.knn(
        asked.features, task.features[kept], k, faiss.METRIC_INNER_PRODUCT
    )
    rows = kept[found]
    leaf_of = dict(zip(task.products[::-1], leaves[::-1], strict=True))  # of the first listing
    wanted_leaf = np.array([leaf_of.get(product, "") for product in asked.products])
    offered = (task.products[rows], leaves[rows], task.categories[rows])
    relevance = relevance_of((asked.products, wanted_leaf, asked.categories), offered)
    return ResultPages(rows, similarity, relevance, asked.products)
