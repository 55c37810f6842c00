"""Rankers, their features, and their blend with appearance."""

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier

from vsa.metrics import ndcg_at_k
from vsa.ranking.blend import appearance_ndcg, best_first, blend
from vsa.ranking.features import (
    PORTRAIT,
    PRICE,
    SALES,
    Filling,
    groups,
    page_features,
    relative,
)
from vsa.ranking.forest import grow_forest
from vsa.ranking.models import GBDT_LR, RANKERS, GbdtLr, make_ranker, observations
from vsa.ranking.segments import Segments
from vsa.ranking.serve import QualityRanker, open_ranker, save_ranker
from vsa.ranking.settings import RankerSettings
from vsa.runtime.errors import InputError

SETTINGS = RankerSettings(n_trees=20, depth=3)
SEGMENTS = Segments(("browser", "collector"), (0.75, 0.25))
NOBODY = Segments()


def fitted(segments: Segments) -> QualityRanker:
    """A GBDT + LR that has learned that what sells is bought, by collectors above all."""
    rng = np.random.default_rng(2)
    quality = np.column_stack([rng.integers(0, 200, 600), rng.random((600, 3))])
    filling = Filling.of(quality)
    x = page_features(rng.random(600), quality, filling, segments)  # (S, 600, F)
    ranker = GbdtLr(SETTINGS, 0)
    seen = np.full(x.shape[:2], 20)
    zeal = np.linspace(0.3, 1, len(x))[:, None]
    bought = rng.binomial(seen, zeal * quality[:, 0] / 250)
    ranker.fit(x.reshape(-1, x.shape[-1]), seen.ravel(), bought.ravel())
    return QualityRanker(ranker.leaves, filling, 1.0, segments)


def test_trees_as_arrays_are_those_of_scikit_learn():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3000, 4)).astype(np.float32)
    bought = rng.random(3000) < 1 / (1 + np.exp(-x[:, 0] + x[:, 1] * x[:, 2]))
    weight = rng.integers(1, 4, 3000).astype(float)
    forest, value, prior = grow_forest(x, bought, weight, SETTINGS, 5)
    model = GradientBoostingClassifier(
        n_estimators=20, max_depth=3, subsample=0.5, min_samples_leaf=30, random_state=5
    ).fit(x, bought, sample_weight=weight)
    leaves = forest.leaves(x)
    np.testing.assert_array_equal(leaves, model.apply(x)[:, :, 0])
    log_odds = np.take_along_axis(value, leaves.T, axis=1).sum(axis=0) + prior
    np.testing.assert_allclose(log_odds, model.decision_function(x), atol=1e-9)


def test_counts_are_observations():
    rows, label, weight = observations(np.array([5, 3, 0, 2]), np.array([2, 0, 0, 2]))
    found = sorted(zip(rows.tolist(), label.tolist(), weight.tolist(), strict=True))
    assert found == [(0, False, 3.0), (0, True, 2.0), (1, False, 3.0), (3, True, 2.0)]
    for bought in (np.zeros(2, int), np.ones(2, int)):
        with pytest.raises(ValueError, match="bought"):
            observations(np.ones(2, int), bought)


def test_a_ranker_that_was_not_fitted_says_so():
    for name in (GBDT_LR, "GBDT only"):
        with pytest.raises(ValueError, match="fit"):
            make_ranker(name, SETTINGS, 0).score(np.zeros((1, PORTRAIT), np.float32))


def test_missing_signals_are_filled_and_counted():
    similarity = np.array([0.9, 0.5, 0.1])
    quality = np.array([[9, 0.1, 0.9, 50], [np.nan] * 4, [3, 0.2, np.nan, 200]])
    filling = Filling.of(quality)
    x = page_features(similarity, quality, filling, SEGMENTS)
    assert np.isfinite(x).all()
    assert x.shape == (2, 3, PORTRAIT + 2)
    assert x[0, 1, SALES] == pytest.approx((np.log1p(9) + np.log1p(3)) / 2)
    np.testing.assert_allclose(x[0, :, PRICE], [np.log(0.5), 0, np.log(2)], atol=1e-6)
    nothing = np.full((3, 4), np.nan)
    assert np.isfinite(page_features(similarity, nothing, Filling.of(nothing), SEGMENTS)).all()


def test_relative_spans_a_page():
    np.testing.assert_allclose(relative(np.array([[1.0, 3, 2], [5, 5, 5]])), [[0, 1, 0.5], [1] * 3])


def test_ndcg_of_appearance_is_that_of_the_metrics():
    orders = np.random.default_rng(0).permuted(np.tile(np.arange(30), (8, 1)), axis=1)
    expected = ndcg_at_k(orders, np.tile(np.arange(30), (8, 1)))
    np.testing.assert_allclose(appearance_ndcg(orders), expected)


def test_a_blend_goes_from_appearance_to_the_score():
    similarity, score = np.array([0.9, 0.8, 0.1]), np.array([0.01, 0.3, 0.9])
    assert list(best_first(blend(similarity, score, 0.0))) == [0, 1, 2]
    assert list(best_first(blend(similarity, score, 1.0))) == [2, 1, 0]
    assert list(best_first(np.zeros(3))) == [0, 1, 2]


def test_groups_of_columns_are_all_that_a_ranker_sees_of_quality():
    assert groups(SEGMENTS)["user portrait"] == [PORTRAIT, PORTRAIT + 1]
    assert "user portrait" not in groups(NOBODY)
    x = page_features(np.ones(3), np.ones((3, 4)), Filling(0, 0, 0), SEGMENTS)
    assert (x[0, :, [PORTRAIT, PORTRAIT + 1]].T == [1, 0]).all()
    assert (x[1, :, [PORTRAIT, PORTRAIT + 1]].T == [0, 1]).all()


@pytest.mark.parametrize(
    ("names", "shares"),
    [
        (("a", "a"), (0.5, 0.5)),
        (("a", " "), (0.5, 0.5)),
        (("a",), (0.5,)),
        (("a",), (0.5, 0.5)),
        (("a", "b"), (1.5, -0.5)),
        (("a", "b"), (1.0, float("nan"))),
        ((), (1.0,)),
    ],
)
def test_segments_that_are_none_are_refused(names, shares):
    with pytest.raises(InputError, match="segments"):
        Segments(names, shares)


@pytest.mark.parametrize("segments", [SEGMENTS, NOBODY])
def test_segments_are_kept_with_the_ranker_and_asked_for_by_name(segments, tmp_path):
    save_ranker(tmp_path / "ranker", fitted(segments))
    ranker = open_ranker(tmp_path / "ranker")
    assert ranker.segments == segments
    similarity, quality = np.array([0.9, 0.8]), np.array([[0, 0.5, 0.5, 1], [200, 0.5, 0.5, 1]])
    assert list(ranker.order(similarity, quality).order) == [1, 0]
    for name in segments.names:
        assert list(ranker.order(similarity, quality, name).order) == [1, 0]
    with pytest.raises(InputError, match="user portrait 'trend follower'"):
        ranker.order(similarity, quality, "trend follower")


def test_the_mean_over_shoppers_weighs_segments_by_their_shares():
    known = {SEGMENTS.names[0]: 0.75, SEGMENTS.names[1]: 0.25}
    ranker = fitted(SEGMENTS)
    quality = np.random.default_rng(3).random((5, 4)) * [200, 1, 1, 1]
    similarity = np.linspace(1, 0, 5)
    x = page_features(similarity, quality, ranker.filling, SEGMENTS)
    mean = sum(
        share * ranker.model.score(part) for share, part in zip(known.values(), x, strict=True)
    )
    assert np.ptp(ranker.model.score(x[0]) - ranker.model.score(x[1])) > 0
    expected = blend(similarity.astype(np.float32), mean, 1.0)
    np.testing.assert_allclose(ranker.order(similarity, quality).score, expected, rtol=1e-6)


def test_what_is_no_ranker_is_refused(monkeypatch):
    monkeypatch.setattr(RANKERS, "_entries", dict(RANKERS._entries))
    with pytest.raises(InputError, match="is a str"):
        RANKERS.register("mine", "not a function")
    RANKERS.register("mine", lambda settings, seed: object())
    with pytest.raises(InputError, match="has no fit and no tune and no score"):
        make_ranker("mine", SETTINGS, 0)
    with pytest.raises(InputError, match="Did you mean GBDT"):
        make_ranker("GBDT + RL", SETTINGS, 0)
