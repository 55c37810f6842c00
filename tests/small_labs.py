"""Small tasks of random numbers for the experiments of notebooks 04 and 05."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from random_features import NAMES, unit

from vsa.study.index.experiment import IndexLab
from vsa.study.index.prepare import Asked, IndexTask
from vsa.study.ranking.experiment import RankingLab
from vsa.study.ranking.prepare import RankTask, ResultPages
from vsa.study.settings import IndexSettings, RankingSettings

RANKING = RankingSettings(n_sessions=60, n_trees=20, depth=3, n_seeds=3)
N_ITEMS, K = 400, 20


def make_index_lab(folder: Path, dim: int = 32) -> IndexLab:
    """A hundred products of four pictures in three categories; some near-duplicates."""
    rng = np.random.default_rng(1)
    products = np.repeat(np.arange(100), 4)
    centres = unit(rng, 100, dim)
    features = centres[products] + 0.1 * rng.normal(size=(400, dim)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    categories = np.array(NAMES)[products % 3]
    group = np.full(400, -1)
    group[:40] = np.repeat(np.arange(20), 2)
    kept = np.ones(400, bool)
    kept[1:40:2] = False

    def asked(seed):
        noise = 0.1 * np.random.default_rng(seed).normal(size=(60, dim)).astype(np.float32)
        photos = centres[:60] + noise
        photos /= np.linalg.norm(photos, axis=1, keepdims=True)
        names = np.array(NAMES)[np.arange(60) % 3]
        return Asked(photos, np.arange(60), names, ("",) * 60)

    task = IndexTask(features, products, categories, kept, group, asked(2), asked(3), asked(3))
    settings = IndexSettings(sizes=(500, 1000), n_peers=500, n_queries=30, traffic_s=0.3)
    return IndexLab(task, settings, 0, folder)


def make_ranking_lab() -> RankingLab:
    """Pages of listings whose signals sell, some of them missing."""
    rng = np.random.default_rng(0)
    quality = pd.DataFrame(
        {
            "sales": np.exp(rng.normal(3.2, 1.5, N_ITEMS)),
            "conversion_rate": rng.beta(2, 40, N_ITEMS),
            "applause_rate": rng.beta(20, 2, N_ITEMS),
            "price": np.exp(rng.normal(4, 0.7, N_ITEMS)),
        }
    )
    quality.iloc[::7, 0] = np.nan
    quality.iloc[::50] = np.nan
    categories = rng.choice(["bags", "shoes"], N_ITEMS)
    sides = (_pages(rng, n) for n in (90, 90, 150))
    return RankingLab(RankTask(quality, categories, *sides, False), RANKING, 0, 200)


def _pages(rng: np.random.Generator, n: int) -> ResultPages:
    relevance = rng.choice(4, (n, K), p=[0.4, 0.2, 0.2, 0.2])
    similarity = np.sort(rng.normal(0.15 * relevance, 0.3))[:, ::-1].astype(np.float32)
    return ResultPages(rng.integers(0, N_ITEMS, (n, K)), similarity, relevance, np.arange(n) // 3)
