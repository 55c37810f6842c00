"""Matches that agree on a shift and a scale, where the answer is known."""

from __future__ import annotations

import numpy as np

from vsa.study.lineage.verification import inliers


def unit(cells: np.ndarray) -> np.ndarray:
    return cells / np.linalg.norm(cells, axis=-1, keepdims=True)


def test_what_is_the_same_agrees_everywhere_and_what_is_shuffled_does_not():
    rng = np.random.default_rng(0)
    asked = unit(rng.normal(size=(6, 6, 32)))
    shuffled = rng.permutation(asked.reshape(36, 32)).reshape(6, 6, 32)
    other = unit(rng.normal(size=(6, 6, 32)))
    same, mixed, none = inliers(asked, np.stack([asked, shuffled, other]))
    assert same == 36
    assert mixed < 18  # all cells match, and say different shifts
    assert none < mixed


def test_what_was_shifted_agrees_where_both_show_it():
    rng = np.random.default_rng(1)
    asked, offered = unit(rng.normal(size=(6, 6, 32))), unit(rng.normal(size=(6, 6, 32)))
    offered[3:, 3:] = asked[:3, :3]
    (agree,) = inliers(asked, offered[None])
    assert agree >= 9


def test_what_is_seen_at_half_the_size_agrees():
    rng = np.random.default_rng(2)
    asked, offered = unit(rng.normal(size=(6, 6, 32))), unit(rng.normal(size=(6, 6, 32)))
    offered[:3, :3] = asked[::2, ::2]
    assert inliers(asked, offered[None])[0] >= 9


def test_maps_without_a_match_have_none():
    asked = np.zeros((2, 2, 3), np.float32)
    asked[..., 0] = 1
    assert inliers(asked, asked[None])[0] == 1  # the first cell is everybody's nearest
