"""Grown catalogues are like what they grew from."""

import numpy as np
import pytest
from random_features import unit

from vsa.study.simulate.growth import local_dimension, make_growth, neighbour_similarity


@pytest.fixture(scope="module")
def real():
    """Two categories, each a curved sheet of four dimensions in sixteen."""
    rng = np.random.default_rng(0)
    parts = []
    for _ in range(2):
        x = np.tanh(rng.normal(size=(1500, 4)) @ rng.normal(size=(4, 16))) + rng.normal(size=16)
        parts.append(x / np.linalg.norm(x, axis=1, keepdims=True))
    return np.concatenate(parts).astype(np.float32), np.repeat(["bags", "shoes"], 1500)


def test_parts_depend_on_their_number_alone(real):
    growth = make_growth(*real, seed=1)
    first, names = growth.draw(3, 500)
    again, _ = make_growth(*real, seed=1).draw(3, 500)
    np.testing.assert_array_equal(first, again)
    assert first.dtype == np.float16
    assert set(names) == {"bags", "shoes"}
    assert not np.array_equal(first, growth.draw(4, 500)[0])
    assert not np.array_equal(first, make_growth(*real, seed=2).draw(3, 500)[0])


def test_a_catalogue_is_its_parts(real):
    growth = make_growth(*real, seed=1)
    features, names = growth.catalogue(700, part_size=300)
    np.testing.assert_array_equal(features[300:600], growth.draw(1, 300)[0])
    np.testing.assert_allclose(np.linalg.norm(features.astype("f4"), axis=1), 1, atol=2e-3)
    assert len(names) == 700


def test_grown_items_are_new_and_lie_where_real_ones_do(real):
    features, names = real
    held_out = np.arange(len(features)) % 2 == 0
    growth = make_growth(features[~held_out], names[~held_out], 0)
    grown = growth.draw(0, int((~held_out).sum()))[0].astype(np.float32)
    asked = features[held_out]
    for rank in (5, 20):
        other, own = (neighbour_similarity(asked, f)[rank] for f in (features[~held_out], grown))
        assert own == pytest.approx(other, abs=0.02)
    other, own = (local_dimension(asked, f) for f in (features[~held_out], grown))
    assert own == pytest.approx(other, rel=0.35)
    assert (grown @ features[~held_out].T).max(axis=1).mean() < 0.9999


def test_local_dimension_is_that_of_the_data():
    rng = np.random.default_rng(0)
    for dim in (3, 6):
        flat = rng.normal(size=(4000, dim)).astype(np.float32)
        flat = np.concatenate([flat * 0.1, np.ones((4000, 1), np.float32)], axis=1)
        flat /= np.linalg.norm(flat, axis=1, keepdims=True)
        assert local_dimension(flat[:300], flat[300:]) == pytest.approx(dim, rel=0.25)


def test_a_tiny_category_can_grow():
    features = unit(np.random.default_rng(0), 20)
    names = np.array(["a"] * 18 + ["b", "c"])
    grown, owner = make_growth(features, names, 0).draw(0, 200)
    assert np.isfinite(grown.astype(np.float32)).all()
    lone = grown[owner == "b"].astype(np.float32)
    np.testing.assert_allclose(lone @ features[18], 1, atol=1e-2)
