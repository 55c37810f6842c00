"""Lists: what goes where, and which are visited."""

import numpy as np
import pytest
from random_features import unit

from vsa.index import plain
from vsa.index.codec import random_rotation
from vsa.index.lists import train_lists
from vsa.index.model import Model
from vsa.index.view import empty_view
from vsa.runtime.errors import InputError


@pytest.fixture(scope="module")
def items():
    rng = np.random.default_rng(0)
    return unit(rng, 3000), rng.choice(3, 3000, p=[0.6, 0.3, 0.1])


@pytest.fixture(scope="module")
def codec(items):
    return random_rotation(items[0], 64, 0)


@pytest.fixture(scope="module")
def lists(items, codec):
    return train_lists(*items, ["bags", "shoes", "toys"], codec, 60, 0)


def test_every_item_goes_to_the_most_similar_list_of_its_category(items, lists):
    features, categories = items
    found = lists.assign(features, categories)
    assert (lists.category[found] == categories).all()
    similarity = features @ lists.centroids.T
    similarity[categories[:, None] != lists.category] = -1
    best = similarity.max(axis=1)
    np.testing.assert_allclose(similarity[np.arange(len(found)), found], best, atol=1e-6)


def test_lists_are_not_all_alike(items, lists):
    counts = np.bincount(lists.assign(*items), minlength=len(lists))
    assert np.quantile(counts, 0.9) < 5 * np.median(counts)
    np.testing.assert_allclose(np.linalg.norm(lists.centroids, axis=1), 1, atol=1e-5)


def test_a_category_has_lists_by_its_share_of_the_items(lists):
    counts = np.bincount(lists.category)
    assert counts[0] > counts[1] > counts[2] >= 1
    assert abs(counts.sum() - 60) <= 3
    assert (np.diff(lists.category) >= 0).all()


def visited(lists, codec, feature, n_probe, categories=None, n_short=8):
    arrays = empty_view(Model(codec, lists)).arrays
    values = plain.projected(arrays, feature)
    code, weights = np.packbits(values > 0), plain.weights_of(values)
    ranges = lists.ranges(categories)
    return plain.probed(arrays, feature, code, weights, ranges, n_probe, n_short * n_probe)


def test_a_query_visits_the_most_similar_lists(items, lists, codec):
    feature = items[0][5]
    similarity = lists.centroids @ feature
    only = visited(lists, codec, feature, 4, np.array([1]))
    assert (lists.category[only] == 1).all()
    assert sorted(visited(lists, codec, feature, 10**6)) == list(range(len(lists)))
    found = visited(lists, codec, feature, 4, n_short=10**6)  # no short list by code
    assert found.tolist() == np.argsort(-similarity)[:4].tolist()


def test_the_lists_of_categories_are_ranges_of_numbers(lists):
    for wanted in ([0], [2, 0], [1, 1, 2]):
        ranges = lists.ranges(np.array(wanted))
        numbers = np.concatenate([np.arange(*pair) for pair in ranges])
        expected = np.flatnonzero(np.isin(lists.category, wanted))
        np.testing.assert_array_equal(numbers, expected)
    assert lists.ranges().tolist() == [[0, len(lists)]]


def test_similar_lists_have_near_numbers(lists):
    own = lists.centroids[lists.category == 0]
    similarity = own @ own.T
    neighbours = np.diag(similarity, 1).mean()
    assert neighbours > similarity[np.triu_indices(len(own), 5)].mean() + 0.1


def test_the_short_list_by_code_hardly_matters(items, lists, codec):
    found = 0
    for feature in items[0][:50]:
        best = np.argsort(-lists.centroids @ feature)[:3]
        found += len(np.intersect1d(visited(lists, codec, feature, 3), best))
    assert found >= 0.9 * 150


def test_a_category_without_items_has_a_list(items, codec):
    features, categories = items
    some = categories < 2
    lists = train_lists(features[some], categories[some], ["a", "b", "c"], codec, 20, 0)
    assert (lists.category == 2).sum() == 1
    assert lists.assign(features[:3], np.full(3, 2)).tolist() == [len(lists) - 1] * 3


def test_names_have_codes(lists):
    assert lists.category_codes(["toys", "bags"]).tolist() == [2, 0]
    with pytest.raises(InputError, match="no category 'hats'"):
        lists.category_codes(["hats"])
