"""Lists: what goes where, and which are visited."""

import numpy as np
import pytest
from random_features import unit

from vsa.index.codec import random_rotation
from vsa.index.lists import FAR, hamming, nearest, train_lists
from vsa.runtime.errors import InputError


def popcount(a, b):
    return np.unpackbits(a ^ b, axis=-1).sum(axis=-1)


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


def test_hamming_counts_differing_bits():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (20, 32), np.uint8)
    np.testing.assert_array_equal(hamming(codes[0], codes), popcount(codes[0], codes))
    assert hamming(codes[0], codes[:0]).shape == (0,)


@pytest.mark.parametrize("n", [1, 3, 10, 50])
def test_nearest_takes_all_that_equal_the_last(n):
    distances = np.random.default_rng(n).integers(0, 9, 40).astype(np.int32)
    last = np.sort(distances)[min(n, 40) - 1]
    assert nearest(distances, n).tolist() == np.flatnonzero(distances <= last).tolist()


def test_nearest_never_takes_what_is_far():
    distances = np.array([3, FAR, 1, FAR], np.int32)
    assert nearest(distances, 3).tolist() == [0, 2]
    assert nearest(distances, 10).tolist() == [0, 2]
    assert nearest(np.full(4, FAR, np.int32), 2).tolist() == []


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


def visited(lists, codec, feature, n_probe, categories=None):
    runs = lists.probe(feature, codec.encode(feature[None])[0], n_probe, categories)
    assert (runs[:, 0] < runs[:, 1]).all()
    assert (runs[1:, 0] > runs[:-1, 1]).all()
    return np.concatenate([np.arange(first, end) for first, end in runs])


def test_a_query_visits_the_most_similar_lists(items, lists, codec, monkeypatch):
    monkeypatch.setattr("vsa.index.lists._GAP", 0)
    feature = items[0][5]
    similarity = lists.centroids @ feature
    only = visited(lists, codec, feature, 4, np.array([1]))
    assert (lists.category[only] == 1).all()
    assert visited(lists, codec, feature, 10**6).tolist() == list(range(len(lists)))
    monkeypatch.setattr("vsa.index.lists._SHORT_LIST", 10**6)  # no short list by code
    found = visited(lists, codec, feature, 4)
    assert found.tolist() == sorted(np.argsort(-similarity)[:4].tolist())


def test_short_gaps_are_visited_too_but_not_across_categories(items, lists, codec, monkeypatch):
    for feature in items[0][:50]:
        gapless = visited(lists, codec, feature, 6, np.array([0, 1]))
        monkeypatch.setattr("vsa.index.lists._GAP", 0)
        wanted = visited(lists, codec, feature, 6, np.array([0, 1]))
        monkeypatch.undo()
        assert set(wanted) <= set(gapless)
        assert (lists.category[gapless] < 2).all()
        for number in np.setdiff1d(gapless, wanted):
            below, above = wanted[wanted < number].max(), wanted[wanted > number].min()
            assert above - below <= 5
            assert lists.category[below] == lists.category[above]


def test_similar_lists_have_near_numbers(lists):
    own = lists.centroids[lists.category == 0]
    similarity = own @ own.T
    neighbours = np.diag(similarity, 1).mean()
    assert neighbours > similarity[np.triu_indices(len(own), 5)].mean() + 0.1


def test_the_short_list_by_code_hardly_matters(items, lists, codec, monkeypatch):
    monkeypatch.setattr("vsa.index.lists._GAP", 0)
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
