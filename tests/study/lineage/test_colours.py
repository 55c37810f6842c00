"""Palettes: known colours, and a distance that is scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import wasserstein_distance_nd

from vsa.study.lineage.colours import distances, palette_distance, palettes, to_lab


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),  # as published for sRGB's red under D65
        ((0, 0, 255), (32.30, 79.19, -107.86)),
    ],
)
def test_known_colours(rgb, lab):
    np.testing.assert_allclose(to_lab(np.array(rgb, np.uint8)), lab, atol=0.1)


def test_a_picture_of_two_colours_has_them_in_their_shares():
    picture = np.zeros((24, 24, 3), np.uint8)
    picture[:6] = (255, 0, 0)  # a quarter: two of eight parts
    found = palettes(picture[None])[0]
    red = np.linalg.norm(found - to_lab(np.uint8([255, 0, 0])), axis=1) < 0.5
    black = np.linalg.norm(found, axis=1) < 0.5
    assert (red.sum(), black.sum()) == (2, 6)


def test_each_palette_has_eight_parts_whatever_the_picture():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (4, 40, 40, 3), np.uint8)
    assert palettes(noise).shape == (4, 8, 3)
    assert palettes(np.zeros((1, 5, 5, 3), np.uint8)).shape == (1, 8, 3)
    assert np.isfinite(palettes(noise)).all()


def test_the_distance_is_scipys_transport():
    rng = np.random.default_rng(0)
    for _ in range(5):
        first, second = rng.normal(0, 30, (2, 8, 3)).astype(np.float32)
        wanted = wasserstein_distance_nd(first, second)
        assert palette_distance(first, second) == pytest.approx(wanted, rel=1e-4)
        apart = np.linalg.norm(first.mean(axis=0) - second.mean(axis=0))
        assert apart <= wanted + 1e-4  # the bound by which candidates are chosen


def test_distances_are_of_the_named_pairs():
    rng = np.random.default_rng(0)
    asked, offered = rng.random((2, 8, 3)), rng.random((5, 8, 3))
    found = distances(asked, offered, np.array([[4, 0, 1], [2, 3, 4]]))
    assert found.shape == (2, 3)
    assert found[1, 0] == pytest.approx(palette_distance(asked[1], offered[2]), rel=1e-5)
