"""Photos of the rendered shop, drawn once more with objects of another size."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from vsa.study.simulate.settings import SyntheticSize
from vsa.study.simulate.synthetic import load_synthetic, redraw

SIZE = SyntheticSize(n_products_per_category=2, image_px=48)


@pytest.fixture
def shop(tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_ARTIFACTS_DIR", str(tmp_path))
    return load_synthetic(SIZE, 0)


def areas(boxes):
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)


def test_objects_grow_with_the_share_and_all_else_is_drawn_alike(shop):
    ids = shop.queries.query_id.tolist()[:12]
    found = {share: redraw(SIZE, 0, ids, share, 0) for share in (0.1, 0.5, 0.9)}
    means = [areas(boxes).mean() for _, _, boxes in found.values()]
    assert means == sorted(means)
    assert means[0] < 0.13
    assert means[-1] > 0.5
    # what is far from both objects is the photo's own clutter, in its own light
    pictures = []
    for root, paths, boxes in (found[0.1], found[0.5]):
        assert paths == [f"{name}.png" for name in ids]
        assert boxes.shape == (12, 4)
        pictures.append(np.stack([np.asarray(Image.open(root / path)) for path in paths]))
    corner = [picture[:, :6, :6].astype(float) for picture in pictures]
    other = np.roll(corner[1], 1, axis=0)
    assert np.abs(corner[0] - corner[1]).mean() < 0.5 * np.abs(corner[0] - other).mean()


def test_another_seed_draws_other_photos_of_the_same_products(shop):
    ids = shop.queries.query_id.tolist()[:3]
    first, second = (redraw(SIZE, 0, ids, 0.5, drawn_by) for drawn_by in (0, 1))
    assert first[0] != second[0]
    assert not np.array_equal(first[2], second[2])
    again = redraw(SIZE, 0, ids, 0.5, 0)
    assert again[0] == first[0]
    assert np.array_equal(again[2], first[2])
