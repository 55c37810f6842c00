"""A linear map of features that stay as they are, learned from triplets."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vsa.embedding.adapt import POWERS, adapt, apply, mapping
from vsa.embedding.losses import PAPER
from vsa.embedding.mining import PageViews
from vsa.embedding.settings import EmbeddingSettings
from vsa.embedding.triplets import TripletSource, from_labels

N, DIM, NOISE = 40, 24, 12
SETTINGS = EmbeddingSettings(
    adapted_dim=16, n_adapt_triplets=32, n_adapt_steps=80, adapt_learning_rate=1e-2
)


def unit(values: np.ndarray) -> np.ndarray:
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def made(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two photos of each product, and a catalogue; half of the dimensions are loud noise."""
    rng = np.random.default_rng(seed)
    of_product = rng.normal(size=(N, DIM - NOISE))
    products = np.repeat(np.arange(N), 2)

    def seen(rows: np.ndarray) -> np.ndarray:
        signal = of_product[rows] + 0.2 * rng.normal(size=(len(rows), DIM - NOISE))
        return unit(np.concatenate([signal, 3 * rng.normal(size=(len(rows), NOISE))], axis=1))

    return seen(products), seen(np.arange(N)), products, np.arange(N)


def source(products: np.ndarray, offered: np.ndarray) -> TripletSource:
    rng = np.random.default_rng(1)
    pages = PageViews(
        np.arange(len(products)),
        rng.integers(0, len(offered), (len(products), 10)),
        np.zeros((len(products), 10), bool),
    )
    return from_labels(products, offered, pages, negatives="pages", seed=0)


def first_hits(features: np.ndarray, catalogue: np.ndarray, products: np.ndarray) -> float:
    return float(((features @ catalogue.T).argmax(axis=1) == products).mean())


def test_what_is_learned_looks_away_from_noise():
    photos, catalogue, products, offered = made()

    def judge(to):
        return first_hits(to(photos), to(catalogue), products)

    learn_from = np.arange(len(photos))
    found = adapt(
        [photos], catalogue, source(products, offered), learn_from, SETTINGS, PAPER, 0, judge
    )
    assert judge(mapping(found.head)) > judge(lambda features: features) + 0.2
    assert list(found.curve.power[:3]) == list(POWERS)
    assert len(found.curve) == 3 + 8
    assert found.curve.step.max() == SETTINGS.n_adapt_steps
    kept = found.curve[(found.curve.step == found.step) & (found.curve.power == found.power)]
    assert kept.score.iloc[0] == found.curve.score.max()
    assert judge(mapping(found.head)) == pytest.approx(found.curve.score.max())
    assert len(found.log) == SETTINGS.n_adapt_steps


def test_training_that_makes_it_worse_is_not_kept():
    photos, catalogue, products, offered = made()
    calls = iter([0.1, 0.3, 0.2, *np.linspace(0.29, 0.1, 8)])
    found = adapt(
        [photos],
        catalogue,
        source(products, offered),
        np.arange(len(photos)),
        SETTINGS,
        PAPER,
        0,
        lambda to: next(calls),
    )
    assert (found.step, found.power) == (0, POWERS[1])
    start = unit(apply(found.head, photos))
    scores = iter([0.1, 0.3, 0.2, *[0.0] * 8])
    again = adapt(
        [photos],
        catalogue,
        source(products, offered),
        np.arange(len(photos)),
        dataclasses.replace(SETTINGS, n_adapt_steps=8),
        PAPER,
        1,
        lambda to: next(scores),
    )
    np.testing.assert_allclose(apply(again.head, photos), start, atol=1e-6)


def test_the_same_seed_gives_the_same_map_and_views_are_drawn_for_each_photo():
    photos, catalogue, products, offered = made()
    views = [photos, made(seed=5)[0]]

    def learn(seed: int, some: list[np.ndarray]) -> np.ndarray:
        learn_from = np.arange(len(photos))
        found = adapt(
            some,
            catalogue,
            source(products, offered),
            learn_from,
            SETTINGS,
            PAPER,
            seed,
            lambda to: first_hits(to(photos), to(catalogue), products),
        )
        return apply(found.head, photos)

    first, again, other, alone = (
        learn(0, views),
        learn(0, views),
        learn(1, views),
        learn(0, [photos]),
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    assert not np.allclose(first, alone)


def test_components_of_fewer_pictures_than_dimensions_can_be_had():
    photos, catalogue, products, offered = made()
    few = dataclasses.replace(SETTINGS, adapted_dim=64, n_adapt_steps=8)
    found = adapt(
        [photos], catalogue, source(products, offered), np.arange(4), few, PAPER, 0, lambda to: 0.5
    )
    assert found.head.linear.out_features == DIM
    assert np.isfinite(apply(found.head, photos)).all()
