"""Lists: what goes where, and which are visited."""

import numpy as np
import pytest

from vsa.index.lists import FAR, hamming, nearest, train_lists
from vsa.runtime.errors import InputError


def popcount(a, b):
    return np.unpackbits(a ^ b, axis=-1).sum(axis=-1)


@pytest.fixture(scope="module")
def items():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (3000, 8), np.uint8), rng.choice(3, 3000, p=[0.6, 0.3, 0.1])


@pytest.fixture(scope="module")
def lists(items):
    return train_lists(*items, ["bags", "shoes", "toys"], 60, 0)


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


def test_every_item_goes_to_the_nearest_list_of_its_category(items, lists):
    codes, categories = items
    found = lists.assign(codes, categories)
    assert (lists.category[found] == categories).all()
    for item in range(0, 3000, 97):
        own = np.flatnonzero(lists.category == categories[item])
        best = popcount(codes[item], lists.centroids[own]).min()
        assert popcount(codes[item], lists.centroids[found[item]]) == best


def test_a_category_has_lists_by_its_share_of_the_items(lists):
    counts = np.bincount(lists.category)
    assert counts[0] > counts[1] > counts[2] >= 1
    assert abs(counts.sum() - 60) <= 3
    assert (np.diff(lists.category) >= 0).all()


def test_a_query_visits_the_nearest_lists(items, lists):
    code = items[0][5]
    distances = popcount(code, lists.centroids)
    assert lists.probe(code, 4).tolist() == nearest(distances.astype(np.int32), 4).tolist()
    only = lists.probe(code, 4, np.array([2]))
    assert (lists.category[only] == 2).all()
    assert len(lists.probe(code, 10**6)) == len(lists)


def test_a_category_without_items_has_a_list(items):
    codes, categories = items
    lists = train_lists(codes[categories < 2], categories[categories < 2], ["a", "b", "c"], 20, 0)
    assert (lists.category == 2).sum() == 1
    assert lists.assign(codes[:3], np.full(3, 2)).tolist() == [len(lists) - 1] * 3


def test_names_have_codes(lists):
    assert lists.category_codes(["toys", "bags"]).tolist() == [2, 0]
    with pytest.raises(InputError, match="no category 'hats'"):
        lists.category_codes(["hats"])
