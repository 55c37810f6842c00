"""Boxes from clicks: pictures whose boxes are known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from vsa.data.images import square
from vsa.embedding.boxes import (
    Objectness,
    apart_boxes,
    before_ground,
    best_boxes,
    learn_from_boxes,
    learn_from_clicks,
    read_objectness,
    write_objectness,
)
from vsa.embedding.local import LocalFeatures, first_centre
from vsa.metrics import box_iou
from vsa.runtime.device import pick_device
from vsa.runtime.errors import InputError
from vsa.runtime.inference import ready

G, C = 10, 6
GOODS, GROUND = 0, 1  # channels; the others hold surroundings


def scene(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Local features of photos with one object each, and the true boxes in shares."""
    maps = rng.normal(0, 0.3, (n, G, G, C)).astype(np.float32)
    maps[..., 2:] += 2 * (rng.random((n, G, G, C - 2)) < 0.3)
    boxes = np.empty((n, 4), np.float32)
    for row in range(n):
        left, top = rng.integers(0, 5, 2)
        right, bottom = left + rng.integers(3, 6), top + rng.integers(3, 6)
        maps[row, top:bottom, left:right] = rng.normal(0, 0.3, (bottom - top, right - left, C))
        maps[row, top:bottom, left:right, GOODS] += 2
        boxes[row] = np.array([left, top, right, bottom]) / G
    return maps, boxes


def studio(rng: np.random.Generator, n: int) -> np.ndarray:
    """Local features of catalogue pictures: goods in the middle of a plain ground."""
    maps = rng.normal(0, 0.05, (n, G, G, C)).astype(np.float32)
    maps[..., GROUND] += 3
    maps[:, 3:7, 3:7] = rng.normal(0, 0.3, (n, 4, 4, C))
    maps[:, 3:7, 3:7, GOODS] += 2
    return maps


def test_the_best_box_is_that_of_the_known_picture():
    scores = np.zeros((2, G, G))
    scores[0, 2:5, 3:9] = 1
    scores[1, 0:10, 0:2] = 1
    expected = np.array([[3, 2, 9, 5], [0, 0, 2, 10]]) / G
    np.testing.assert_allclose(best_boxes(scores), expected, atol=1e-6)
    shifted = best_boxes(scores, centre=0)  # cells look half a cell to the upper left
    np.testing.assert_allclose(shifted[0], expected[0] - 0.05, atol=1e-6)
    np.testing.assert_allclose(shifted[1], [0, 0, 0.15, 1], atol=1e-6)  # the edge stays the edge


def test_a_map_without_any_difference_gives_a_box_of_the_picture():
    found = best_boxes(np.ones((1, 4, 4)))[0]
    assert (found[2:] > found[:2]).all()
    assert ((found >= 0) & (found <= 1)).all()
    assert best_boxes(np.ones((0, 4, 4))).shape == (0, 4)


def test_boxes_apart_are_each_the_best_of_what_those_before_leave():
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores = rng.normal(size=(G, G)).astype(np.float32)
        found = np.rint(apart_boxes(scores) * G).astype(int)
        excess, worth = (scores - scores.mean()).astype(float), []
        for left, top, right, bottom in found:
            worth.append(excess[top:bottom, left:right].sum())
            excess[top:bottom, left:right] = -1000
            sums = [
                excess[y:below, x:beyond].sum()
                for y, below in itertools.combinations(range(G + 1), 2)
                for x, beyond in itertools.combinations(range(G + 1), 2)
            ]
            if len(worth) < len(found):
                left, top, right, bottom = found[len(worth)]
                assert excess[top:bottom, left:right].sum() == pytest.approx(max(sums))
            else:
                assert len(found) == 5 or max(sums) < 0.2 * worth[0]
        assert min(worth) >= 0.2 * worth[0]


def test_goods_are_told_from_the_ground_of_a_catalogue_picture():
    found = before_ground(studio(np.random.default_rng(0), 5))
    expected = np.zeros((G, G), bool)
    expected[3:7, 3:7] = True
    assert (found == expected).mean() > 0.98


def test_clicks_teach_where_the_goods_are_as_well_as_drawn_boxes_do():
    rng = np.random.default_rng(1)
    photos, _ = scene(rng, 60)
    weight = learn_from_clicks(photos, studio(rng, 12), np.arange(12) + 1)
    asked, true = scene(rng, 40)
    iou = box_iou(best_boxes(asked @ weight), true)
    constant = box_iou(np.tile(np.median(true, axis=0), (40, 1)), true)
    assert iou.mean() > 0.85 > constant.mean() + 0.2
    labelled, boxes = scene(rng, 60)
    by_labels = box_iou(best_boxes(asked @ learn_from_boxes(labelled, boxes)), true)
    assert by_labels.mean() == pytest.approx(iou.mean(), abs=0.1)


@pytest.fixture(scope="module")
def objectness():
    torch.manual_seed(0)
    net = LocalFeatures("googlenet_4a").eval().requires_grad_(False)
    weight = np.random.default_rng(0).normal(size=512).astype(np.float32)
    return Objectness(net, weight, 96, 0.25)


def test_maps_are_of_the_stride_that_was_asked_for(objectness):
    assert objectness.net(torch.zeros(1, 3, 96, 96)).shape == (1, 512, 6, 6)
    mobile = LocalFeatures("mobilenet_v2")
    assert mobile(torch.zeros(1, 3, 96, 96)).shape == (1, 96, 6, 6)
    assert LocalFeatures("mobilenet_v2", stride=32)(torch.zeros(1, 3, 96, 96)).shape[1] == 1280
    with pytest.raises(InputError, match="no map of stride 32"):
        LocalFeatures("googlenet_4a", stride=32)


def test_cells_of_padded_strides_look_up_and_left():
    torch.manual_seed(0)
    assert first_centre(LocalFeatures("mobilenet_v2").eval(), pick_device()) < 0.25


def test_boxes_outlive_writing_and_freezing(objectness, tmp_path):
    device = pick_device()
    pixels = np.random.default_rng(0).integers(0, 256, (12, 9, 3), np.uint8)
    photo = Image.fromarray(pixels).resize((90, 120))
    photos = square(photo, objectness.image_px)[None]
    expected = objectness.boxes(photos, device)
    write_objectness(tmp_path, objectness)
    again = read_objectness(tmp_path, device)
    assert again.digest == objectness.digest
    np.testing.assert_array_equal(again.boxes(photos, device), expected)
    frozen = Objectness(ready(again.net, device), again.weight, again.image_px, again.centre)
    np.testing.assert_allclose(frozen.boxes(photos, device), expected, atol=1e-6)
