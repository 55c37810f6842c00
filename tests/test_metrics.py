import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    log_loss,
    top_k_accuracy_score,
)

from vsa.metrics import (
    accuracy_at_k,
    average_precision,
    box_iou,
    confusion,
    expected_calibration_error,
    identical_recall_at_k,
    linear_recall_at_k,
    ndcg_at_k,
    negative_log_likelihood,
    reliability,
)


def predictions(seed=0, n=200, c=6):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(c), n), rng.integers(c, size=n)


@pytest.mark.parametrize("k", [1, 3, 6])
def test_accuracy_at_k_is_sklearns(k):
    probabilities, labels = predictions()
    hits = accuracy_at_k(probabilities, labels, k)
    assert hits.shape == (200,)
    assert hits.dtype == np.float32
    expected = 1.0 if k == 6 else top_k_accuracy_score(labels, probabilities, k=k)
    assert hits.mean() == pytest.approx(expected)


def test_ties_rank_in_class_order():
    tied = np.array([[0.4, 0.4, 0.2], [0.4, 0.4, 0.2]])
    assert accuracy_at_k(tied, np.array([0, 1]), 1).tolist() == [1, 0]
    assert accuracy_at_k(tied, np.array([0, 1]), 2).tolist() == [1, 1]


@given(st.integers(0, 10_000), st.integers(1, 3))
def test_top_one_is_argmax_and_more_places_never_lose_a_hit(seed, n_levels):
    rng = np.random.default_rng(seed)
    scores = rng.integers(n_levels, size=(20, 5)) / n_levels  # many ties
    labels = rng.integers(5, size=20)
    hits = [accuracy_at_k(scores, labels, k) for k in range(1, 6)]
    assert (hits[0] == (scores.argmax(axis=1) == labels)).all()
    assert (np.diff(hits, axis=0) >= 0).all()
    assert hits[-1].all()


def test_negative_log_likelihood_is_sklearns_and_finite():
    probabilities, labels = predictions()
    assert negative_log_likelihood(probabilities, labels).mean() == pytest.approx(
        log_loss(labels, probabilities)
    )
    assert np.isfinite(negative_log_likelihood(np.array([[1.0, 0.0]]), np.array([1]))).all()


def test_confusion_is_sklearns():
    probabilities, labels = predictions()
    predicted = probabilities.argmax(axis=1)
    expected = confusion_matrix(labels, predicted, labels=range(7))
    assert (confusion(labels, predicted, 7) == expected).all()


def test_reliability_is_sklearns():
    probabilities, labels = predictions(n=500)
    table = reliability(probabilities, labels, 10)
    assert len(table) == 10
    assert table["count"].sum() == 500
    filled = table[table["count"] > 0]
    hits = probabilities.argmax(axis=1) == labels
    accuracy, confidence = calibration_curve(hits, probabilities.max(axis=1), n_bins=10)
    np.testing.assert_allclose(filled["accuracy"], accuracy)
    np.testing.assert_allclose(filled["confidence"], confidence)


def test_bins_are_closed_on_the_right():
    table = reliability(np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([0, 0]), 2)
    assert table["count"].tolist() == [1, 1]


def test_calibration_error_of_a_known_case():
    # confidence 0.8 and right in half of the cases: a gap of 0.3
    probabilities = np.tile([0.8, 0.2], (10, 1))
    labels = np.array([0, 1] * 5)
    assert expected_calibration_error(probabilities, labels) == pytest.approx(0.3)


def test_calibration_error_of_calibrated_predictions_is_small():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), 20_000)
    labels = (probabilities.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    assert expected_calibration_error(probabilities, labels) < 0.02
    overconfident = np.eye(4)[probabilities.argmax(axis=1)]
    assert expected_calibration_error(overconfident, labels) > 0.3


def test_identical_recall_counts_a_hit_within_k():
    ranked = np.array([["a", "b", "c"], ["x", "y", "z"], ["q", "q", "r"]])
    queries = np.array(["b", "w", "q"])
    assert identical_recall_at_k(ranked, queries, 1).tolist() == [0, 0, 1]
    assert identical_recall_at_k(ranked, queries, 2).tolist() == [1, 0, 1]
    assert identical_recall_at_k(ranked, queries).tolist() == [1, 0, 1]


def test_missing_results_are_never_hits():
    ranked = np.array([["a", None]], dtype=object)
    assert identical_recall_at_k(ranked, np.array(["b"], dtype=object)).tolist() == [0]


def test_average_precision_of_a_full_ranking_is_sklearns():
    rng = np.random.default_rng(0)
    ranked = rng.integers(4, size=(30, 25))
    queries = rng.integers(4, size=30)
    relevant = ranked == queries[:, None]
    expected = [average_precision_score(row, -np.arange(25)) for row in relevant]
    found = average_precision(ranked, queries, relevant.sum(axis=1))
    np.testing.assert_allclose(found, expected)


def test_average_precision_of_a_cut_list():
    ranked = np.array([[1, 1], [1, 0], [0, 1], [0, 0]])
    found = average_precision(ranked, np.ones(4, int), np.full(4, 5))
    assert found.tolist() == [1, 0.5, 0.25, 0]


@pytest.mark.parametrize(
    "call",
    [
        lambda: accuracy_at_k(np.ones((2, 3)), np.array([0, 3]), 1),
        lambda: accuracy_at_k(np.ones((2, 3)), np.array([0, -1]), 1),
        lambda: accuracy_at_k(np.ones((2, 3)), np.array([0]), 1),
        lambda: confusion(np.array([2]), np.array([0]), 2),
        lambda: reliability(np.array([[3.0, 1.0]]), np.array([0]), 5),
        lambda: identical_recall_at_k(np.zeros((1, 3)), np.array([np.nan])),
        lambda: identical_recall_at_k(np.zeros((1, 3)), np.array([0]), 4),
        lambda: average_precision(np.zeros((1, 3)), np.array([0]), np.array([0])),
        lambda: average_precision(np.zeros((1, 3)), np.array([0]), np.array([2])),
    ],
)
def test_what_cannot_be_judged_raises(call):
    with pytest.raises(ValueError):
        call()


def test_iou_of_known_pairs():
    boxes = np.array([[0, 0, 2, 2], [0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 4, 4]], float)
    others = np.array([[1, 1, 3, 3], [0, 0, 1, 1], [2, 2, 3, 3], [1, 1, 2, 3]], float)
    assert box_iou(boxes, others) == pytest.approx([1 / 7, 1, 0, 2 / 16])
    assert box_iou(others, boxes) == pytest.approx(box_iou(boxes, others))


def test_iou_refuses_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="do not fit"):
        box_iou(np.zeros((2, 4)), np.zeros((3, 4)))


def test_linear_recall_counts_what_is_as_good_as_the_scan_s_last():
    exact = np.array([[0.9, 0.8, 0.8], [0.5, 0.4, -np.inf], [0.9, 0.8, 0.7]], np.float32)
    found = np.array([[0.9, 0.8, 0.7], [0.5, 0.4, -np.inf], [0.7, -np.inf, -np.inf]], np.float32)
    np.testing.assert_allclose(linear_recall_at_k(found, exact), [2 / 3, 1, 1 / 3])
    with pytest.raises(ValueError, match="do not fit"):
        linear_recall_at_k(found, exact[:, :2])


def test_ndcg_is_one_for_the_scan_s_order_and_falls_with_every_swap():
    exact = np.array([[3, 1, 2]] * 4)
    found = np.array([[3, 1, 2], [1, 3, 2], [3, 7, 1], [-1, -1, -1]])
    weight = 1 / np.log2([2, 3, 4])
    ideal = np.array([1, 2 / 3, 1 / 3]) @ weight
    by_hand = [
        1,
        np.array([2 / 3, 1, 1 / 3]) @ weight / ideal,
        np.array([1, 0, 2 / 3]) @ weight / ideal,
        0,
    ]
    np.testing.assert_allclose(ndcg_at_k(found, exact), by_hand)
