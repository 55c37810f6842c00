"""Published ways to pool, against plain loops on toys."""

from __future__ import annotations

import numpy as np
import pytest

from vsa.study.lineage.pooling import (
    all_rectangles,
    as_shares,
    gem,
    integral_maxima,
    r_mac_regions,
    region_maxima,
    region_sums,
    vlad,
)


@pytest.fixture
def maps() -> np.ndarray:
    return np.random.default_rng(0).random((3, 4, 4, 5), np.float32)


def test_r_mac_has_the_squares_of_the_work():
    # Tolias et al.: l × l squares of side 2 min(W, H) / (l + 1) at scale l
    assert r_mac_regions(4, 1) == ((0, 4, 0, 4),)
    regions = r_mac_regions(6, 3)
    assert len(regions) == 1 + 4 + 9
    assert {(b - a, y - x) for a, b, x, y in regions} == {(6, 6), (4, 4), (3, 3)}
    assert regions[1:5] == ((0, 4, 0, 4), (0, 4, 2, 6), (2, 6, 0, 4), (2, 6, 2, 6))


def test_r_mac_squares_lie_within_maps_of_any_size():
    for g in range(1, 15):
        for a, b, x, y in r_mac_regions(g, 3):
            assert 0 <= a < b <= g
            assert 0 <= x < y <= g


def test_maxima_and_sums_of_regions_are_those_of_loops(maps):
    regions = all_rectangles(4)
    assert len(regions) == 100  # (4 · 5 / 2)²
    maxima, sums = region_maxima(maps, regions), region_sums(maps, regions)
    for n in range(3):
        for r, (a, b, x, y) in enumerate(regions):
            for channel in range(5):
                cells = [maps[n, i, j, channel] for i in range(a, b) for j in range(x, y)]
                assert maxima[n, r, channel] == max(cells)
                assert sums[n, r, channel] == pytest.approx(sum(cells), rel=1e-5)


def test_integral_max_pooling_is_the_root_of_a_sum_of_powers_and_near_the_maximum(maps):
    regions = all_rectangles(4, least=2)
    found = integral_maxima(maps, regions, power=10)
    for r, (a, b, x, y) in enumerate(regions):
        part = maps[:, a:b, x:y].astype(float)
        wanted = (part**10).sum(axis=(1, 2)) ** 0.1
        np.testing.assert_allclose(found[:, r], wanted, rtol=1e-3)
    exact = region_maxima(maps, regions)
    assert (found >= exact * 0.999).all()
    assert (found <= exact * 16**0.1 * 1.001).all()


def test_integral_max_pooling_of_nothing_is_zero_and_large_numbers_do_not_overflow():
    assert integral_maxima(np.zeros((1, 2, 2, 1), np.float32), all_rectangles(2)).max() < 1e-5
    large = np.full((1, 2, 2, 1), 3e6, np.float32)
    assert integral_maxima(large, ((0, 1, 0, 1),))[0, 0, 0] == pytest.approx(3e6, rel=1e-3)


def test_rectangles_in_shares():
    assert as_shares(((0, 2, 1, 4),), 4).tolist() == [[0.25, 0.0, 1.0, 0.5]]


def test_gem_lies_between_mean_and_maximum(maps):
    np.testing.assert_allclose(gem(maps, 1.0), maps.mean(axis=(1, 2)), rtol=1e-5)
    wanted = ((maps.astype(float) ** 3).mean(axis=(1, 2))) ** (1 / 3)
    np.testing.assert_allclose(gem(maps, 3.0), wanted, rtol=1e-5)
    assert (gem(maps, 60.0) > 0.95 * maps.max(axis=(1, 2))).all()


def test_vlad_is_that_of_loops():
    rng = np.random.default_rng(1)
    columns, words = rng.random((2, 7, 3), np.float32), rng.random((4, 3), np.float32)
    found = vlad(columns, words)
    for n in range(2):
        sums = np.zeros((4, 3))
        for column in columns[n]:
            word = min(range(4), key=lambda w: ((column - words[w]) ** 2).sum())
            sums[word] += column - words[word]
        for word in range(4):
            length = np.sqrt((sums[word] ** 2).sum())
            sums[word] = sums[word] / length if length else 0
        wanted = sums.ravel() / np.sqrt((sums**2).sum())
        np.testing.assert_allclose(found[n], wanted, atol=1e-5)


def test_vlad_of_the_words_themselves_is_zero_not_nan():
    words = np.eye(3, dtype=np.float32)
    assert np.array_equal(vlad(words[None], words), np.zeros((1, 9)))
