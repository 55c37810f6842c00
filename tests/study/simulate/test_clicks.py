import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vsa.data.schema import PVLOG, check
from vsa.study.simulate import clicks
from vsa.study.simulate.clicks import clicks_by_rank, pvlog_statistics, simulate_pvlog
from vsa.study.simulate.settings import ClickSettings

SETTINGS = ClickSettings(
    n_results=20, n_sessions_per_query=2, position_bias=0.5, noise_click_rate=0.05, max_clicks=2
)
N_PER_PRODUCT = 4


def changed(**values):
    return dataclasses.replace(SETTINGS, **values)


def shop(n_products=50, seed=0, spread=0.6):
    """Queries, catalogue and unit features around a direction of each product."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((n_products, 16))
    product_of = np.repeat(np.arange(n_products), N_PER_PRODUCT)

    def features(centre):
        noisy = centre + spread * rng.standard_normal(centre.shape)
        return (noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32)

    queries = pd.DataFrame({"query_id": [f"q{i}" for i in range(n_products)]})
    queries["product_id"] = [f"p{i}" for i in range(n_products)]
    queries["category"] = "things"
    catalogue = pd.DataFrame({"image_id": [f"i{i}" for i in range(len(product_of))]})
    catalogue["product_id"] = [f"p{i}" for i in product_of]
    catalogue["category"] = "things"
    return queries, catalogue, features(centres), features(centres[product_of])


def identical(pvlog, queries, catalogue):
    wanted = pvlog.query_id.map(queries.set_index("query_id").product_id)
    return wanted == pvlog.image_id.map(catalogue.set_index("image_id").product_id)


def test_log_fits_the_schema_and_lists_each_session_whole():
    queries, catalogue, *features = shop()
    pvlog = simulate_pvlog(queries, catalogue, *features, SETTINGS, seed=0)
    pd.testing.assert_frame_equal(check(pvlog, PVLOG, "pvlog"), pvlog, check_dtype=False)
    assert len(pvlog) == 50 * 2 * 20
    sessions = pvlog.groupby("session_id")
    assert (sessions["rank"].apply(list).map(lambda r: r == list(range(1, 21)))).all()
    assert (sessions.image_id.nunique() == 20).all()
    for column in ("query_id", "timestamp"):
        assert not pvlog[column].ne(sessions[column].transform("first")).any()
    assert set(pvlog.query_id) == set(queries.query_id)


def test_without_noise_every_click_is_on_the_identical_product():
    queries, catalogue, *features = shop()
    settings_ = changed(noise_click_rate=0)
    pvlog = simulate_pvlog(queries, catalogue, *features, settings_, seed=0)
    assert pvlog.clicked.sum() > 50
    assert identical(pvlog, queries, catalogue)[pvlog.clicked].all()
    assert pvlog_statistics(pvlog, queries, catalogue)["click_precision"] == 1


def test_noise_clicks_come_at_their_rate():
    queries, catalogue, *features = shop(n_products=200)
    queries["product_id"] = "none of these"
    settings_ = changed(position_bias=0, noise_click_rate=0.2)
    pvlog = simulate_pvlog(queries, catalogue, *features, settings_, seed=0)
    assert pvlog.clicked.mean() == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("bias", [0, 0.5, 1])
def test_examination_falls_with_rank_as_the_model_says(bias):
    queries, catalogue, *features = shop(n_products=300)
    queries["product_id"] = "none of these"
    settings_ = changed(position_bias=bias, noise_click_rate=1, n_sessions_per_query=5)
    pvlog = simulate_pvlog(queries, catalogue, *features, settings_, seed=0)
    table = clicks_by_rank(pvlog)
    assert table["rank"].tolist() == list(range(1, 21))
    assert (table.impressions == 1500).all()
    expected = table["rank"] ** -float(bias)
    np.testing.assert_allclose(table.click_rate, expected, atol=0.06)


@pytest.mark.parametrize("max_clicks", [1, 2, 3])
def test_shoppers_leave_after_one_to_max_identical_clicks(max_clicks):
    queries, catalogue, *features = shop(n_products=200, spread=0.01)
    settings_ = changed(position_bias=0, noise_click_rate=1, max_clicks=max_clicks)
    pvlog = simulate_pvlog(queries, catalogue, *features, settings_, seed=0)
    found = pvlog.clicked & identical(pvlog, queries, catalogue)
    counts = found.groupby(pvlog.session_id).sum().value_counts(normalize=True)
    assert sorted(counts.index) == list(range(1, max_clicks + 1))
    np.testing.assert_allclose(counts, 1 / max_clicks, atol=0.1)
    last = pvlog["rank"].where(found).groupby(pvlog.session_id).transform("max")
    assert not pvlog.clicked[pvlog["rank"] > last].any()
    assert pvlog.clicked[pvlog["rank"] < last].all()


def test_clicks_on_shuffled_identities_are_no_better_than_chance():
    queries, catalogue, *features = shop(n_products=200)
    settings_ = changed(noise_click_rate=1, position_bias=0)
    true = simulate_pvlog(queries, catalogue, *features, settings_, seed=0)
    rng = np.random.default_rng(0)
    catalogue["product_id"] = rng.permutation(catalogue.product_id)
    shuffled = simulate_pvlog(queries, catalogue, *features, settings_, seed=0)
    base_rate = N_PER_PRODUCT / len(catalogue)
    assert pvlog_statistics(shuffled, queries, catalogue)["click_precision"] < 3 * base_rate
    assert pvlog_statistics(true, *shop(n_products=200)[:2])["click_precision"] > 10 * base_rate


@settings(max_examples=10, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 5))
def test_order_of_rows_does_not_matter(random, seed):
    queries, catalogue, query_features, catalogue_features = shop(n_products=20)
    catalogue_features[5:9] = catalogue_features[4]  # ties
    q, c = list(range(len(queries))), list(range(len(catalogue)))
    random.shuffle(q)
    random.shuffle(c)
    pvlog = simulate_pvlog(queries, catalogue, query_features, catalogue_features, SETTINGS, seed)
    shuffled = simulate_pvlog(
        queries.iloc[q], catalogue.iloc[c], query_features[q], catalogue_features[c], SETTINGS, seed
    )
    pd.testing.assert_frame_equal(pvlog, shuffled)


def test_seed_decides_and_sessions_differ():
    queries, catalogue, *features = shop()
    first = simulate_pvlog(queries, catalogue, *features, SETTINGS, seed=0)
    pd.testing.assert_frame_equal(
        first, simulate_pvlog(queries, catalogue, *features, SETTINGS, seed=0)
    )
    other = simulate_pvlog(queries, catalogue, *features, SETTINGS, seed=1)
    assert (first.image_id != other.image_id).any()
    pages = first.groupby(["query_id", "session_id"]).image_id.apply(tuple)
    assert (pages.groupby("query_id").nunique() == 2).mean() > 0.9
    clicks = first.groupby("session_id").clicked.apply(tuple)
    assert clicks.nunique() > 10


def test_a_session_does_not_depend_on_how_many_follow():
    queries, catalogue, *features = shop()
    two = simulate_pvlog(queries, catalogue, *features, SETTINGS, seed=0)
    three = simulate_pvlog(queries, catalogue, *features, changed(n_sessions_per_query=3), seed=0)
    common = three[three.session_id.isin(two.session_id)].reset_index(drop=True)
    pd.testing.assert_frame_equal(two, common)


def test_better_results_stand_higher():
    queries, catalogue, query_features, catalogue_features = shop()
    pvlog = simulate_pvlog(queries, catalogue, query_features, catalogue_features, SETTINGS, 0)
    scores = (
        query_features[pvlog.query_id.str[1:].astype(int)]
        * catalogue_features[pvlog.image_id.str[1:].astype(int)]
    ).sum(axis=1)
    by_rank = pd.Series(scores).groupby(pvlog["rank"]).mean()
    assert (np.diff(by_rank[::3]) < 0).all()


def test_pictures_of_the_query_s_category_come_first_and_others_fill_the_page():
    queries, catalogue, *features = shop()
    catalogue["category"] = np.where(np.arange(len(catalogue)) % 20 == 0, "rare", "things")  # 10
    queries["category"] = "rare"
    queries.loc[:9, "category"] = None
    pvlog = simulate_pvlog(queries, catalogue, *features, SETTINGS, 0)
    rare = pvlog.image_id.map(catalogue.set_index("image_id").category) == "rare"
    of_rare = pvlog.query_id.map(queries.set_index("query_id").category).notna()
    assert (rare[of_rare] == (pvlog["rank"][of_rare] <= 10)).all()
    assert rare[~of_rare].mean() < 0.2


@pytest.mark.parametrize("n_best", [1, 4, 11, 30])
def test_the_best_of_equal_scores_are_the_first(n_best):
    scores = np.random.default_rng(0).integers(0, 4, (12, 30)).astype(float)
    scores[0] = 1.0
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :n_best]
    assert clicks._best(scores, n_best).tolist() == expected.tolist()


def test_query_of_unknown_product_gets_noise_only():
    queries, catalogue, *features = shop()
    queries["product_id"] = None
    catalogue.loc[:3, "product_id"] = None
    pvlog = simulate_pvlog(queries, catalogue, *features, changed(noise_click_rate=0), seed=0)
    assert not pvlog.clicked.any()
    statistics = pvlog_statistics(pvlog, queries, catalogue)
    assert statistics["clicks"] == 0
    assert np.isnan(statistics["click_precision"])
    assert np.isnan(statistics["false_negatives"])


@pytest.mark.parametrize(("n_queries", "n_images"), [(0, 10), (3, 1), (3, 5), (3, 0), (0, 0)])
def test_small_tables(n_queries, n_images):
    queries, catalogue, query_features, catalogue_features = shop()
    pvlog = simulate_pvlog(
        queries[:n_queries],
        catalogue[:n_images],
        query_features[:n_queries],
        catalogue_features[:n_images],
        SETTINGS,
        seed=0,
    )
    assert len(pvlog) == n_queries * 2 * min(n_images, 20)
    check(pvlog, PVLOG, "pvlog")
    assert pvlog_statistics(pvlog, queries, catalogue)["impressions"] == len(pvlog)


def test_statistics_by_hand():
    queries = pd.DataFrame({"query_id": ["q", "r"], "product_id": ["p", None]})
    catalogue = pd.DataFrame({"image_id": ["a", "b", "c"], "product_id": ["p", "p", "o"]})
    rows = [
        ("q/0", "q", 1, "a", True),
        ("q/0", "q", 2, "b", False),
        ("q/0", "q", 3, "c", True),
        ("q/1", "q", 1, "c", False),
        ("r/0", "r", 1, "a", True),
    ]
    pvlog = pd.DataFrame(rows, columns=["session_id", "query_id", "rank", "image_id", "clicked"])
    assert pvlog_statistics(pvlog, queries, catalogue) == {
        "sessions": 3,
        "impressions": 5,
        "clicks": 3,
        "click_through_rate": 3 / 5,
        "sessions_with_click": pytest.approx(2 / 3),
        "click_precision": 1 / 2,
        "false_negatives": 1 / 2,
    }
    assert clicks_by_rank(pvlog).to_numpy().tolist() == [
        [1, 3, 2, 2 / 3],
        [2, 1, 0, 0],
        [3, 1, 1, 1],
    ]
