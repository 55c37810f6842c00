"""Raw or filtered clicks: the better map is kept, and nothing is learned twice without need."""

from __future__ import annotations

import numpy as np
import pytest

from vsa.embedding.adapt import adapt, mapping
from vsa.embedding.losses import PAPER
from vsa.embedding.mining import Mining, RawTriplets, Thresholds, Triplets
from vsa.embedding.settings import EmbeddingSettings
from vsa.embedding.triplets import from_clicks
from vsa.embedding.which_clicks import FILTERED, RAW, adapt_by_best, triplet_sources

SETTINGS = EmbeddingSettings(
    adapted_dim=8, n_adapt_triplets=16, n_adapt_steps=16, adapt_learning_rate=1e-2
)
N = 24


def unit(rng: np.random.Generator) -> np.ndarray:
    values = rng.normal(size=(N, 12))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def triplets(shift: int) -> Triplets:
    """Each photo clicks for the image that far on."""
    rows = np.arange(N)
    negatives = (rows[:, None] + shift + np.arange(1, 5)) % N
    return Triplets(rows, (rows + shift) % N, negatives)


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    return unit(rng), unit(rng)


@pytest.mark.parametrize("right", [0, 5])
def test_the_better_of_both_is_kept_with_both_curves(features, right):
    photos, catalogue = features
    sources = {name: from_clicks(triplets(s), N, N) for name, s in ((FILTERED, 0), (RAW, 5))}
    wanted = (np.arange(N) + right) % N

    def judge(to):
        return float((to(photos) * to(catalogue)[wanted]).sum(axis=1).mean())

    known = (np.arange(N), SETTINGS, PAPER, 0, judge)
    found = adapt_by_best([photos], catalogue, sources, *known)
    alone = {name: adapt([photos], catalogue, one, *known) for name, one in sources.items()}
    best = FILTERED if right == 0 else RAW
    assert found.clicks == best
    other = RAW if best == FILTERED else FILTERED
    assert alone[best].curve.score.max() > alone[other].curve.score.max()
    assert judge(mapping(found.head)) == pytest.approx(alone[best].curve.score.max())
    for name, one in alone.items():
        part = found.curve[found.curve.clicks == name]
        np.testing.assert_allclose(part.score, one.curve.score, rtol=1e-5)


def test_of_equal_ones_the_paper_s_filter_is_kept(features):
    photos, catalogue = features
    sources = {name: from_clicks(triplets(0), N, N) for name in (FILTERED, RAW)}
    found = adapt_by_best(
        [photos], catalogue, sources, np.arange(N), SETTINGS, PAPER, 0, lambda to: 0.5
    )
    assert found.clicks == FILTERED
    assert found.step == 0


def mined(epsilon: float, gamma: float) -> Mining:
    near = np.linspace(0, 1, N, dtype=np.float32)
    raw = RawTriplets(triplets(0), near, np.ones((N, 4), np.float32))
    return Mining(raw, raw, Thresholds(epsilon, gamma), 0.0)


@pytest.mark.parametrize(
    ("epsilon", "gamma", "names"),
    [(0.5, 0.0, [FILTERED, RAW]), (np.inf, 0.0, [RAW]), (np.inf, 2.0, [RAW]), (-1.0, 0.0, [RAW])],
)
def test_a_filter_that_takes_nothing_or_everything_leaves_raw_clicks_alone(epsilon, gamma, names):
    assert list(triplet_sources(mined(epsilon, gamma), N, N)) == names
