"""Keys of cached products: whatever made them counts."""

from __future__ import annotations

import numpy as np
import pytest

from vsa.runtime import fingerprint as module
from vsa.runtime.fingerprint import checksum, fingerprint


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (200, 16, 16, 3), dtype=np.uint8)


def test_a_fingerprint_changes_with_the_source_and_with_each_parameter():
    same = fingerprint(module, a=1, b="x")
    assert same == fingerprint(module, b="x", a=1)
    assert len({same, fingerprint(a=1, b="x"), fingerprint(module, a=2, b="x")}) == 3


@pytest.mark.parametrize("row", [0, 57, 199])
def test_one_replaced_image_of_many_changes_the_checksum(images: np.ndarray, row: int):
    before = checksum(images)
    images[row] = 255 - images[row]
    assert checksum(images) != before


def test_exchanged_images_change_the_checksum(images: np.ndarray):
    before = checksum(images)
    images[[3, 4]] = images[[4, 3]]
    assert checksum(images) != before
    images[[3, 4]] = images[[4, 3]]
    assert checksum(images) == before
