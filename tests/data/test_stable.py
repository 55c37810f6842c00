"""Folds by product: the same everywhere, for ever."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vsa.data import stable
from vsa.data.stable import product_folds, stable_share


def test_folds_are_the_same_for_ever():
    # as `printf 'fold\\0005008' | sha256sum` begins
    assert stable_share("fold", "5008") == int("861bf0b2d60dd", 16) / 16**13
    assert product_folds(["5008", "71", "9", "3589", "4", "12"]).tolist() == [2, 0, 4, 0, 4, 0]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=4), min_size=1, max_size=40), st.integers(2, 9), st.randoms())
def test_a_product_is_in_one_fold_whoever_is_beside_it(products, n_folds, rnd):
    folds = dict(zip(products, product_folds(products, n_folds).tolist(), strict=True))
    assert set(folds.values()) <= set(range(n_folds))
    shuffled = rnd.sample(products, len(products))
    assert product_folds(shuffled, n_folds).tolist() == [folds[product] for product in shuffled]
    assert product_folds(products[:1], n_folds).tolist() == [folds[products[0]]]


def test_folds_are_about_as_large_as_each_other_and_not_those_of_the_split():
    products = [str(number) for number in range(5000)]
    folds = product_folds(products)
    sizes = np.bincount(folds, minlength=5)
    assert sizes.sum() == 5000
    assert np.abs(sizes - 1000).max() < 4 * np.sqrt(5000 * 0.2 * 0.8)
    is_test = np.array([stable_share("split", product) < 0.25 for product in products])
    shares = [is_test[folds == fold].mean() for fold in range(5)]
    assert np.ptp(shares) < 0.1


@pytest.mark.parametrize(("products", "n_folds"), [(["a"], 1), (["a", None], 5), ([7], 5)])
def test_what_has_no_folds_is_refused(products, n_folds):
    with pytest.raises(ValueError):
        product_folds(products, n_folds)


def test_the_example():
    assert doctest.testmod(stable).failed == 0
    assert product_folds([]).shape == (0,)
