"""The last stage, OFFLINE: first results by appearance → sessions → the ranker that engines open.

Stages are wired here, in the other rooms' ``prepare`` and in `vsa.engine`, and nowhere else.
"""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np

from vsa.runtime.errors import NotApplicable
from vsa.runtime.seeds import generator
from vsa.study.catalogue.prepare import Shop
from vsa.study.index.prepare import index_lab
from vsa.study.index.task import Asked, IndexTask
from vsa.study.ranking.experiment import RankLab
from vsa.study.ranking.task import K, Pages, RankTask, relevance_of
from vsa.study.run import Run
from vsa.study.simulate.signals import simulate_signals


def ranker_folder(run: Run) -> Path:
    """Where notebook 05 publishes its ranker, and notebook 06 takes it from."""
    return run.artifacts / "ranking" / "ranker"


def rank_lab(run: Run, shop: Shop) -> RankLab:
    """Where notebook 05 experiments.

    Raises NotApplicable where products are not known, or validation photos show fewer than two.
    """
    task = rank_task(shop, index_lab(run, shop).task, run.seed)
    return RankLab(task, run.settings.ranking, run.seed, run.settings.n_bootstrap)


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


def _pages(task: IndexTask, asked: Asked, leaves: np.ndarray) -> Pages:
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
    return Pages(rows, similarity, relevance, asked.products)
