"""Rankers, their blend with appearance, what is kept for the engine, and what the ledger gets."""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import GradientBoostingClassifier

from vsa.data.schema import QUALITY
from vsa.metrics import ndcg_at_k
from vsa.ranking.blend import TOLERANCE, appearance_ndcg, best_first, blend, choose_weight
from vsa.ranking.features import (
    N_FEATURES,
    PRICE,
    SALES,
    Filling,
    page_features,
    quality_array,
    relative,
)
from vsa.ranking.forest import grow_forest
from vsa.ranking.models import APPEARANCE, GBDT_LR, LR, make_rankers, observations
from vsa.ranking.serve import open_ranker, save_ranker
from vsa.runtime.errors import InputError
from vsa.study.ledger.ledger import Ledger
from vsa.study.ranking.experiment import ORACLE, SHUFFLED, RankLab
from vsa.study.ranking.results import RankJudge, calibration_error
from vsa.study.ranking.task import Pages, RankTask, relevance_of
from vsa.study.run import make_run
from vsa.study.settings import RankingSettings
from vsa.study.simulate.shoppers import IDENTICAL, NAMES, conversion_rate

SETTINGS = RankingSettings(n_sessions=60, n_trees=20, depth=3, n_seeds=3)
N_ITEMS, K = 400, 20


def pages(rng: np.random.Generator, n: int) -> Pages:
    relevance = rng.choice(4, (n, K), p=[0.4, 0.2, 0.2, 0.2])
    similarity = np.sort(rng.normal(0.15 * relevance, 0.3))[:, ::-1].astype(np.float32)
    return Pages(rng.integers(0, N_ITEMS, (n, K)), similarity, relevance, np.arange(n) // 3)


@pytest.fixture(scope="module")
def lab() -> RankLab:
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
    sides = (pages(rng, 90), pages(rng, 90), pages(rng, 150))
    return RankLab(RankTask(quality, categories, *sides, False), SETTINGS, 0, 200)


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


@pytest.mark.parametrize("name", list(make_rankers(SETTINGS, 0)))
def test_scores_lie_between_0_and_1(lab, name):
    scores = lab.test_scores[name][0]
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert scores.std() > 0


def test_a_ranker_that_was_not_fitted_says_so():
    rankers = make_rankers(SETTINGS, 0)
    for name in (GBDT_LR, "GBDT only"):
        with pytest.raises(ValueError, match="fit"):
            rankers[name].score(np.zeros((1, N_FEATURES), np.float32))


def test_learned_scores_are_near_the_true_probabilities(lab):
    for name, (predicted, truth) in lab.calibration().items():
        assert calibration_error(predicted, truth) < 0.2 * truth.mean(), name
        assert np.corrcoef(predicted[0].ravel(), truth[0].ravel())[0, 1] > 0.15, name


def test_calibration_error_is_the_mean_gap():
    truth = np.linspace(0.01, 0.2, 600)
    assert calibration_error(truth, truth) == 0
    assert calibration_error(truth + 0.05, truth) == pytest.approx(0.05)


def test_missing_signals_are_filled_and_counted():
    similarity = np.array([0.9, 0.5, 0.1])
    quality = np.array([[9, 0.1, 0.9, 50], [np.nan] * 4, [3, 0.2, np.nan, 200]])
    filling = Filling.of(quality)
    x = page_features(similarity, quality, filling)
    assert np.isfinite(x).all()
    assert x.shape == (len(NAMES), 3, N_FEATURES)
    assert x[0, 1, SALES] == pytest.approx((np.log1p(9) + np.log1p(3)) / 2)
    np.testing.assert_allclose(x[0, :, PRICE], [np.log(0.5), 0, np.log(2)], atol=1e-6)
    nothing = np.full((3, 4), np.nan)
    assert np.isfinite(page_features(similarity, nothing, Filling.of(nothing))).all()


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


def test_the_weight_keeps_appearance_and_gains_conversion(lab):
    page, p = lab.task.choose, lab.probabilities("choose")
    free = choose_weight(page.similarity, p, p, lambda ndcg: 1.0)
    bound = choose_weight(page.similarity, p, p, lambda ndcg: float(ndcg.mean()))
    fixed = choose_weight(page.similarity, p, p, lambda ndcg: float(ndcg.min() == 1))
    assert free.conversion > bound.conversion > fixed.conversion
    assert free.ndcg < 1 - TOLERANCE <= bound.ndcg < fixed.ndcg == 1
    assert fixed.weight == 0
    assert fixed.conversion == pytest.approx(float((conversion_rate(p) @ [0.4, 0.35, 0.25]).mean()))


def test_every_choice_keeps_appearance(lab):
    for name, choices in lab.choices.items():
        for choice in choices:
            assert choice.ndcg >= 1 - TOLERANCE, name


def test_the_oracle_is_a_ceiling_and_appearance_the_start(lab):
    best = lab.own_order[ORACLE].conversion
    for outcome in (*lab.own_order.values(), *lab.blended.values(), *lab.controls.values()):
        assert (outcome.conversion <= best + 1e-12).all()
    assert (lab.own_order[APPEARANCE].ndcg == 1).all()
    assert (lab.blended[APPEARANCE].ndcg == 1).all()


def test_quality_gains_conversion_and_shuffled_signals_do_not(lab):
    before = lab.blended[APPEARANCE].conversion.mean()
    assert lab.blended[GBDT_LR].conversion.mean() > 1.03 * before
    assert lab.controls[SHUFFLED].conversion.mean() < 1.01 * before


def test_relevance_is_the_closest_relation():
    wanted = (np.array([1]), np.array(["tee"]), np.array(["shirt"]))
    offered = (
        np.array([[1, 2, 3, 4]]),
        np.array([["tee", "tee", "tank", "tote"]]),
        np.array([["shirt", "shirt", "shirt", "bags"]]),
    )
    assert relevance_of(wanted, offered).tolist() == [[IDENTICAL, 2, 1, 0]]


def test_a_ranker_is_kept_and_opened(lab, tmp_path):
    ranker = lab.published()
    save_ranker(tmp_path / "ranker", ranker)
    opened = open_ranker(tmp_path / "ranker")
    page = lab.task.test
    quality = lab.task.quality.iloc[page.rows[0]]
    for segment in (None, *NAMES):
        one, other = (r.order(page.similarity[0], quality, segment) for r in (ranker, opened))
        np.testing.assert_array_equal(one.order, other.order)
        np.testing.assert_array_equal(one.score, other.score)
        assert one.order.dtype == np.int64
        assert sorted(one.order) == list(range(K))
        assert one.score.dtype == np.float32
        assert 0 <= one.score.min() <= one.score.max() <= 1
        assert (np.diff(one.score[one.order]) <= 0).all()


def test_the_engine_orders_a_page_as_the_experiment_did(lab):
    ranker, page = lab.published(), lab.task.test
    scores = blend(page.similarity[:, None], lab.test_scores[GBDT_LR][0], ranker.weight)
    for row in range(20):
        quality = quality_array(lab.task.quality)[page.rows[row]]
        for number, name in enumerate(NAMES):
            found = ranker.order(page.similarity[row], quality, name)
            np.testing.assert_allclose(found.score, scores[row, number], atol=1e-6)


def test_bad_pages_are_refused(lab, tmp_path):
    ranker = lab.published()
    quality = pd.DataFrame(np.ones((3, 4)), columns=QUALITY)
    with pytest.raises(InputError, match="portrait"):
        ranker.order(np.zeros(3), quality, "window shopper")
    with pytest.raises(ValueError, match="similarities"):
        ranker.order(np.zeros(2), quality)
    with pytest.raises(ValueError, match="finite"):
        ranker.order(np.array([0, np.nan, 0]), quality)
    with pytest.raises(ValueError, match="price"):
        ranker.order(np.zeros(3), quality.drop(columns="price"))
    with pytest.raises(ValueError, match="4"):
        ranker.order(np.zeros(3), np.ones((3, 5)))
    assert len(ranker.order(np.zeros(0), np.zeros((0, 4))).order) == 0
    with pytest.raises(InputError, match="05_quality_rerank"):
        open_ranker(tmp_path / "nowhere")


def test_a_page_without_any_signal_is_still_ordered(lab):
    similarity = np.linspace(1, 0, K)
    ranked = lab.published().order(similarity, np.full((K, 4), np.nan))
    assert sorted(ranked.order) == list(range(K))


def test_the_experiments_become_records_and_a_claim(lab):
    ledger = Ledger.open(make_run("synthetic", "smoke", 0), "05_quality_rerank")
    judge = RankJudge(ledger, lab)
    judge.penalties()
    judge.own_order()
    judge.blended()
    judge.gains()
    judge.segments()
    judge.importance()
    judge.calibration(lab.calibration())
    judge.latency(lab.published())
    judge.claim()
    ledger.save()
    assert "**C5 reproduced**" in ledger.verdicts()
    oracle = ledger.value(ledger.section, "own order", ORACLE, "conversion rate")
    assert oracle > ledger.value(ledger.section, "own order", LR, "conversion rate")
    assert set(judge.points("own order")) > set(judge.points("appearance kept"))
    assert judge.reading().count("**GBDT + LR**") == 4
    assert "not compared" not in judge.reading()


def test_simulated_signals_are_named_in_every_table(lab):
    task = RankTask(
        lab.task.quality,
        lab.task.categories,
        lab.task.fit,
        lab.task.choose,
        lab.task.test,
        True,
    )
    ledger = Ledger.open(make_run("grocery", "smoke", 0), "05_quality_rerank")
    judge = RankJudge(ledger, RankLab(task, SETTINGS, 0, 50))
    judge.own_order()
    assert not ledger.table("own order, simulated quality signals").empty
