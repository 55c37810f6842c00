import dataclasses
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vsa.embedding.mining import (
    FusedDistance,
    PageViews,
    Triplets,
    choose_thresholds,
    make_pages,
    mine,
    mining_statistics,
    shuffle_clicks,
)
from vsa.embedding.task import mine_clicks
from vsa.runtime.errors import InputError, NotApplicable

N_QUERIES, N_IMAGES, N_RESULTS = 6, 20, 7


def make_log(seed=0, click_rate=0.3):
    """Pages of one or two sessions per query, and features of everything."""
    rng = np.random.default_rng(seed)
    query = np.repeat(np.arange(N_QUERIES), 2)
    image = np.stack([rng.permutation(N_IMAGES)[:N_RESULTS] for _ in query])
    pages = PageViews(query, image, rng.random(image.shape) < click_rate)
    parts = [
        (rng.standard_normal((N_QUERIES, d)), rng.standard_normal((N_IMAGES, d))) for d in (3, 5)
    ]
    return pages, parts


def tables():
    queries = pd.DataFrame({"query_id": [f"q{i}" for i in range(3)]})
    catalogue = pd.DataFrame({"image_id": [f"i{i}" for i in range(5)]})
    rows = [("s0", "q1", 1, "i3", False), ("s0", "q1", 2, "i0", True), ("s1", "q2", 1, "i4", True)]
    pvlog = pd.DataFrame(rows, columns=["session_id", "query_id", "rank", "image_id", "clicked"])
    return pvlog, queries, catalogue


def test_pages_are_rows_of_the_tables_in_order_of_rank():
    pvlog, queries, catalogue = tables()
    pages = make_pages(pvlog.sample(frac=1, random_state=0), queries, catalogue)
    assert pages.query.tolist() == [1, 2]
    assert pages.image.tolist() == [[3, 0], [4, -1]]
    assert pages.clicked.tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize("dtype", [str, object])
@pytest.mark.parametrize("seed", range(3))
def test_pages_of_any_log_are_those_of_reading_it_row_by_row(dtype, seed):
    """Sessions in any order and mixed up, of removed images and of queries that are not here."""
    rng = np.random.default_rng(seed)
    queries = pd.DataFrame({"query_id": [f"q{i}" for i in rng.permutation(9)[:6]]})
    catalogue = pd.DataFrame({"image_id": [f"i{i}" for i in rng.permutation(30)[:20]]})
    rows = [
        (f"{session}/{'ab'[session % 2]}", f"q{session % 9}", rank, f"i{image}", rng.random() < 0.3)
        for session in range(14)
        for rank, image in enumerate(rng.permutation(30)[: rng.integers(1, 9)], start=1)
    ]
    columns = ["session_id", "query_id", "rank", "image_id", "clicked"]
    log = pd.DataFrame(rows, columns=columns).sample(frac=1, random_state=seed)
    log = log.astype(dict.fromkeys(("session_id", "query_id", "image_id"), dtype))

    read: dict[str, list] = {}
    for row in log.sort_values("rank").itertuples():
        if row.query_id in set(queries.query_id) and row.image_id in set(catalogue.image_id):
            read.setdefault(row.session_id, []).append(row)
    expected = [read[session] for session in sorted(read)]
    pages = make_pages(log, queries, catalogue)
    assert queries.query_id[pages.query].tolist() == [page[0].query_id for page in expected]
    for images, clicked, page in zip(pages.image, pages.clicked, expected, strict=True):
        shown = images[images >= 0]
        assert catalogue.image_id[shown].tolist() == [row.image_id for row in page]
        assert clicked.tolist() == [row.clicked for row in page] + [False] * (images < 0).sum()
        assert (images[len(shown) :] == -1).all()


def test_results_that_selection_removed_are_left_out():
    pvlog, queries, catalogue = tables()
    pages = make_pages(pvlog, queries, catalogue.drop(3).reset_index(drop=True))
    assert pages.image.tolist() == [[0], [3]]


def test_a_log_without_clicks_and_one_of_strangers():
    pvlog, queries, catalogue = tables()
    with pytest.raises(NotApplicable, match="no click"):
        make_pages(pvlog.assign(clicked=False), queries, catalogue)
    with pytest.raises(InputError, match="shares no query"):
        make_pages(pvlog.assign(query_id="nobody"), queries, catalogue)


def test_distance_is_the_mean_of_scaled_euclidean_distances():
    pages, parts = make_log()
    distance = FusedDistance(parts, pages, seed=0)
    query, image = np.array([0, 4]), np.array([7, 2])
    expected = np.mean(
        [
            np.linalg.norm(q[query] - c[image], axis=1) / scale
            for (q, c), scale in zip(parts, distance.scales, strict=True)
        ],
        axis=0,
    )
    assert distance.to_query(query, image) == pytest.approx(expected, rel=1e-5)
    everything = np.repeat(pages.query, N_RESULTS), pages.image.ravel()
    assert distance.to_query(*everything).mean() == pytest.approx(1, abs=1e-5)
    assert distance.between(image, image) == pytest.approx([0, 0])


@given(st.integers(0, 300), st.floats(0.6, 1.3), st.floats(0.6, 1.3))
@settings(max_examples=25, deadline=None)
def test_triplets_meet_both_inequalities_and_none_is_missing(seed, epsilon, gamma):
    pages, parts = make_log(seed)
    distance = FusedDistance(parts, pages, seed=0)
    found = mine(pages, distance).filtered(epsilon, gamma)

    def dist(q, d):
        return distance.to_query(np.array([q]), np.array([d]))[0]

    clicked_for = {
        q: {
            int(d)
            for s in np.flatnonzero(pages.query == q)
            for d in pages.image[s][pages.clicked[s]]
        }
        for q in range(N_QUERIES)
    }
    expected = []
    for session, column in zip(*np.nonzero(pages.clicked), strict=True):
        q, click = int(pages.query[session]), int(pages.image[session, column])
        if dist(q, click) > epsilon:
            continue
        negatives = {
            int(d)
            for d in pages.image[session]
            if int(d) not in clicked_for[q]
            and min(dist(q, d), distance.between(np.array([d]), np.array([click]))[0]) >= gamma
        }
        if negatives:
            expected.append((q, click, frozenset(negatives)))
    rows = zip(found.query, found.positive, found.negatives, strict=True)
    got = [(int(q), int(p), frozenset(int(n) for n in row if n >= 0)) for q, p, row in rows]
    assert Counter(got) == Counter(expected)


def test_a_page_where_everything_is_clicked_makes_no_triplet():
    pages, parts = make_log()
    everything = PageViews(pages.query, pages.image, np.ones_like(pages.clicked))
    assert len(mine(everything, FusedDistance(parts, pages, 0)).triplets) == 0


def test_thresholds_separate_what_distance_separates():
    """Features that tell products apart: every stray click goes, every right one stays."""
    rng = np.random.default_rng(0)
    products = np.repeat(np.arange(20), 5)
    centres = rng.standard_normal((20, 16))
    queries = centres + 0.01 * rng.standard_normal(centres.shape)
    images = centres[products] + 0.01 * rng.standard_normal((100, 16))
    page = np.stack([rng.permutation(100)[:40] for _ in range(20)])
    clicked = rng.random(page.shape) < 0.2
    pages = PageViews(np.arange(20), page, clicked)
    candidates = mine(pages, FusedDistance([(queries, images)], pages, 0))
    thresholds = choose_thresholds(candidates, np.arange(20), products)
    found = candidates.filtered(thresholds.epsilon, thresholds.gamma)
    before = mining_statistics(candidates.triplets, np.arange(20), products)
    after = mining_statistics(found, np.arange(20), products)
    assert before["click_precision"] < 0.5
    assert before["false_negatives"] > 0
    assert after["click_precision"] == 1
    assert after["false_negatives"] == 0


def test_nothing_to_separate_filters_nothing():
    pages, parts = make_log()
    candidates = mine(pages, FusedDistance(parts, pages, 0))
    thresholds = choose_thresholds(candidates, np.full(N_QUERIES, -5), np.arange(N_IMAGES))
    assert thresholds.epsilon == np.inf
    assert thresholds.gamma == -np.inf
    found = candidates.filtered(thresholds.epsilon, thresholds.gamma)
    assert len(found) == len(candidates.triplets)


def test_statistics():
    triplets = Triplets(
        np.array([0, 0, 1]), np.array([0, 1, 2]), np.array([[1, 2], [2, -1], [0, 1]])
    )
    found = mining_statistics(triplets, np.array([10, 11]), np.array([10, 11, 11]))
    assert found == {
        "queries": 2,
        "triplets": 3,
        "triplets_per_query": 1.5,
        "click_precision": pytest.approx(2 / 3),
        "false_negatives": pytest.approx(1 / 5),
    }


def test_shuffled_clicks_keep_their_number_on_each_page():
    pages, _ = make_log()
    pages.image[0, 4:] = -1
    pages.clicked[0, 4:] = False
    found = shuffle_clicks(pages, seed=0)
    assert (found.clicked.sum(axis=1) == pages.clicked.sum(axis=1)).all()
    assert not found.clicked[pages.image < 0].any()
    assert (found.clicked != pages.clicked).any()


def test_clicks_are_mined_as_if_there_were_no_test_photos(task):
    features = tuple(np.asarray(side) for side in task.local)
    pages = task.pages
    spoilt = dataclasses.replace(pages, image=pages.image.copy())
    is_test = np.isin(pages.query, task.rows("test"))
    assert is_test.any()
    spoilt.image[is_test] = spoilt.image[is_test][:, ::-1] * 0
    before, after = (mine_clicks(task, features, 0, some) for some in (pages, spoilt))
    assert before.thresholds == after.thresholds
    for name in ("query", "positive", "negatives"):
        assert np.array_equal(getattr(before.filtered, name), getattr(after.filtered, name))
