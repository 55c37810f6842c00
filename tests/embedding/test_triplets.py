import numpy as np
import pytest

from vsa.embedding.mining import PageViews, Triplets
from vsa.embedding.triplets import from_clicks, from_labels
from vsa.runtime.errors import NotApplicable

PAGES_ALL = PageViews(np.arange(3), np.arange(9).reshape(3, 3), np.zeros((3, 3), bool))

TRIPLETS = Triplets(
    np.array([0, 0, 1, 2]),
    np.array([5, 6, 7, 8]),
    np.array([[1, 2, -1], [3, -1, -1], [5, 4, 2], [7, 6, 5]]),
)


def test_a_step_is_a_function_of_seed_and_number():
    source = from_clicks(TRIPLETS, 3, 9)
    first, again, other = (source.draw(3, 0, step) for step in (4, 4, 5))
    for name in ("query", "positive", "negative", "allowed"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.negative, other.negative) or not np.array_equal(
        first.query, other.query
    )


@pytest.mark.parametrize("m", [1, 4, 11])
def test_drawn_triplets_are_mined_ones(m):
    source = from_clicks(TRIPLETS, 3, 9)
    for step in range(20):
        drawn = source.draw(m, 0, step)
        assert len(drawn.query) == m
        for q, p, n in zip(drawn.query, drawn.positive, drawn.negative, strict=True):
            (row,) = np.flatnonzero((TRIPLETS.query == q) & (TRIPLETS.positive == p))
            assert n in TRIPLETS.negatives[row]
            assert n >= 0


def test_what_was_clicked_for_a_query_is_never_its_negative():
    source = from_clicks(TRIPLETS, 3, 9)
    clicked = {0: {5, 6}, 1: {7}, 2: {8}}
    for step in range(20):
        drawn = source.draw(4, 0, step)
        for i, q in enumerate(drawn.query):
            for j, n in enumerate(drawn.negative):
                assert drawn.allowed[i, j] == (n not in clicked[q])


def test_nothing_left_to_learn_from_is_said():
    nothing = Triplets(np.empty(0, int), np.empty(0, int), np.empty((0, 3), int))
    with pytest.raises(NotApplicable, match="no triplet is left"):
        from_clicks(nothing, 3, 9).draw(2, 0, 0)
    labels = np.zeros(9, int)
    source = from_labels(labels[:3], labels, PAGES_ALL, negatives="pages", seed=0)
    assert len(source.triplets) == 0


def test_labels_make_positives_of_one_label_and_negatives_of_others():
    rng = np.random.default_rng(0)
    image_labels = rng.integers(0, 4, 40)
    query_labels = np.array([0, 1, 2, 3, -1])
    page = np.stack([rng.permutation(40)[:10] for _ in range(5)])
    pages = PageViews(np.arange(5), page, np.zeros_like(page, bool))
    for negatives in ("pages", "catalogue"):
        source = from_labels(query_labels, image_labels, pages, negatives=negatives, seed=0)
        found = source.triplets
        assert set(found.query) == {0, 1, 2, 3}
        assert (image_labels[found.positive] == query_labels[found.query]).all()
        for q, row in zip(found.query, found.negatives, strict=True):
            chosen = row[row >= 0]
            assert (image_labels[chosen] != query_labels[q]).all()
            if negatives == "pages":
                assert set(chosen) <= set(page[q])
        drawn = source.draw(6, 0, 0)
        wanted, offered = query_labels[drawn.query], image_labels[drawn.negative]
        assert np.array_equal(drawn.allowed, wanted[:, None] != offered)


def test_labels_take_no_other_negatives():
    pages = PageViews(np.arange(1), np.zeros((1, 1), int), np.zeros((1, 1), bool))
    with pytest.raises(ValueError, match="negatives"):
        from_labels(np.zeros(1), np.zeros(1), pages, negatives="everything", seed=0)
