"""Rankers fitted to simulated sessions, what is kept for the engine, and what the ledger gets."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from small_labs import RANKING, K, make_ranking_lab

from vsa.data.schema import QUALITY
from vsa.ranking.blend import TOLERANCE, blend, choose_weight
from vsa.ranking.features import PRICE, quality_array
from vsa.ranking.models import APPEARANCE, GBDT_LR, LR, RANKERS, Rule
from vsa.ranking.serve import open_ranker, save_ranker
from vsa.runtime.errors import InputError
from vsa.study.ledger.ledger import Ledger
from vsa.study.ranking.experiment import ORACLE, SHUFFLED, RankingLab
from vsa.study.ranking.plots import conversion_plot
from vsa.study.ranking.prepare import RankTask, relevance_of
from vsa.study.ranking.results import RankingResults, calibration_error
from vsa.study.run import make_run
from vsa.study.simulate.shoppers import IDENTICAL, NAMES, SHARES, conversion_rate


@pytest.fixture(scope="module")
def lab() -> RankingLab:
    return make_ranking_lab()


@pytest.mark.parametrize("name", list(RANKERS))
def test_scores_lie_between_0_and_1(lab, name):
    scores = lab.test_scores[name][0]
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert scores.std() > 0


def test_learned_scores_are_near_the_true_probabilities(lab):
    for name, (predicted, truth) in lab.calibration().items():
        assert calibration_error(predicted, truth) < 0.2 * truth.mean(), name
        assert np.corrcoef(predicted[0].ravel(), truth[0].ravel())[0, 1] > 0.15, name


def test_calibration_error_is_the_mean_gap():
    truth = np.linspace(0.01, 0.2, 600)
    assert calibration_error(truth, truth) == 0
    assert calibration_error(truth + 0.05, truth) == pytest.approx(0.05)


def test_the_weight_keeps_appearance_and_gains_conversion(lab):
    page, p = lab.task.choose, lab.probabilities("choose")

    def worth(order):
        return conversion_rate(np.take_along_axis(p, order, -1))

    limits = (
        lambda ndcg: 1.0,
        lambda ndcg: float(ndcg.mean()),
        lambda ndcg: float(ndcg.min() == 1),
    )
    chosen = [choose_weight(page.similarity, p, worth, SHARES, limit) for limit in limits]
    free, bound, fixed = chosen
    assert free.value > bound.value > fixed.value
    assert free.ndcg < 1 - TOLERANCE <= bound.ndcg < fixed.ndcg == 1
    assert fixed.weight == 0
    assert fixed.value == pytest.approx(float((conversion_rate(p) @ [0.4, 0.35, 0.25]).mean()))


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


class Dearest(Rule):
    """A stranger's: what is dear comes first."""

    def score(self, x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x[:, PRICE]))


@pytest.fixture
def registered(monkeypatch):
    """Registers a ranker for the time of a test."""
    monkeypatch.setattr(RANKERS, "_entries", dict(RANKERS._entries))
    return RANKERS.register


def fresh(lab: RankingLab) -> RankingLab:
    return RankingLab(lab.task, dataclasses.replace(RANKING, n_seeds=1), 0, 50)


def test_a_ranker_of_ones_own_is_in_tables_and_figures(lab, registered):
    registered("dearest first", lambda settings, seed: Dearest())
    results = RankingResults(
        Ledger.open(make_run("synthetic", "smoke", 0), "05_quality_rerank"), fresh(lab)
    )
    results.own_order()
    results.blended()
    results.gains()
    for title in ("own order", "appearance kept", "gain over appearance only"):
        assert "dearest first" in results.ledger.table(title).index
    assert "over dearest first" in results.ledger.table("GBDT + LR over others").index
    own, kept = results.points("own order"), results.points("appearance kept")
    labels = conversion_plot(own, kept, {}).axes[0].get_legend_handles_labels()[1]
    assert "dearest first" in labels


def test_scores_that_are_none_name_the_ranker(lab, registered):
    for number, bad in enumerate((np.nan, 1.5, -0.1)):
        ranker = Rule()
        ranker.score = lambda x, bad=bad: np.full(len(x), bad)
        registered(f"bad {number}", lambda settings, seed, ranker=ranker: ranker)
        with pytest.raises(InputError, match=f"'bad {number}' gives scores that are not"):
            fresh(lab).scores(fresh(lab).fits[0], f"bad {number}", "test")


def test_a_name_of_the_study_is_not_a_rankers(lab, registered):
    registered(ORACLE, lambda settings, seed: Dearest())
    with pytest.raises(InputError, match="calls something else"):
        _ = fresh(lab).fits


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
    ledger = Ledger.open(make_run("synthetic", "laptop", 0), "05_quality_rerank")
    results = RankingResults(ledger, lab)
    results.penalties()
    results.own_order()
    results.blended()
    results.gains()
    results.segments()
    results.importance()
    results.calibration(lab.calibration())
    results.latency(lab.published())
    results.claim()
    ledger.save()
    assert "**C5 reproduced**" in ledger.verdicts()
    oracle = ledger.value(ledger.section, "own order", ORACLE, "conversion rate")
    assert oracle > ledger.value(ledger.section, "own order", LR, "conversion rate")
    assert set(results.points("own order")) > set(results.points("appearance kept"))
    assert results.reading().count("**GBDT + LR**") == len(lab.fits[0].rankers) - 2
    assert "not compared" not in results.reading()


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
    results = RankingResults(ledger, RankingLab(task, RANKING, 0, 50))
    results.own_order()
    assert not ledger.table("own order, simulated quality signals").empty
