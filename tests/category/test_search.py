import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vsa.category.search import nearest_references, vote


def vote_by_the_formula(squared_distances, labels, n_classes, decay):
    """The paper's sum, written with loops."""
    answer = np.zeros((len(labels), n_classes))
    for query, (distances, neighbours) in enumerate(zip(squared_distances, labels, strict=True)):
        weights = [np.exp(-decay * d) for d in distances]
        for weight, label in zip(weights, neighbours, strict=True):
            answer[query, label] += weight / sum(weights)
    return answer


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), decay=st.floats(0, 20), k=st.integers(1, 30))
def test_vote_equals_the_formula(seed, decay, k):
    rng = np.random.default_rng(seed)
    distances = np.sort(rng.uniform(0, 4, (7, k)), axis=1)
    labels = rng.integers(0, 5, (7, k))
    np.testing.assert_allclose(
        vote(distances, labels, 5, decay),
        vote_by_the_formula(distances, labels, 5, decay),
        1e-4,
        atol=1e-6,
    )


def test_vote_survives_weights_that_underflow():
    distances = np.array([[900.0, 901.0]])
    probabilities = vote(distances, np.array([[1, 0]]), 3, decay=10.0)
    assert np.isfinite(probabilities).all()
    assert probabilities[0].argmax() == 1


def test_no_decay_counts_heads():
    probabilities = vote(np.array([[0.0, 1.0, 2.0]]), np.array([[0, 1, 1]]), 2, decay=0.0)
    np.testing.assert_allclose(probabilities, [[1 / 3, 2 / 3]], rtol=1e-6)


def test_nearest_references_equal_brute_force():
    rng = np.random.default_rng(0)
    queries, references = rng.normal(size=(9, 16)), rng.normal(size=(100, 16))
    distances, rows = nearest_references(queries, references, 30)
    full = ((queries[:, None] - references[None]) ** 2).sum(axis=2)
    np.testing.assert_array_equal(rows, full.argsort(axis=1)[:, :30])
    np.testing.assert_allclose(distances, np.sort(full, axis=1)[:, :30], rtol=1e-4)


@pytest.mark.parametrize("n_references", [1, 29])
def test_fewer_references_than_neighbours(n_references):
    references = np.eye(n_references, 32, dtype=np.float32)
    _, rows = nearest_references(references[:1], references)
    assert rows.shape == (1, n_references)
    assert (rows >= 0).all()
