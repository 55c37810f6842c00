"""What is asked of pictures is made once, and by hand comes out the same."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from small_lineage import make_lineage_lab

from vsa.data.crops import crop_square, with_margin
from vsa.study.lineage.pictures import remembered, unit


@pytest.fixture
def lab(tmp_path):
    return make_lineage_lab(tmp_path / "shop")


def test_what_boxes_show_is_what_cutting_by_hand_shows(lab):
    photos = lab.photos["val"]
    boxes = np.tile(np.float32([0.2, 0.1, 0.7, 0.8]), (len(photos), 1))
    cut = [
        crop_square(Image.fromarray(photo), with_margin(boxes)[0], lab.ground.image_px)
        for photo in np.array(photos.detail)
    ]
    maps = lab.ground.look(np.stack(cut))["last"].astype(np.float32)
    np.testing.assert_allclose(photos.pooled_at(boxes), unit(maps.mean(axis=(1, 2))), atol=1e-6)


def test_a_box_that_was_shown_is_not_looked_at_again(lab, monkeypatch):
    looked = []
    look = lab.ground.look

    def counted(squares, description=""):
        looked.append(len(squares))
        return look(squares, description)

    monkeypatch.setattr(lab.ground, "look", counted)
    photos = lab.photos["val"]
    boxes = np.tile(np.float32([0, 0, 0.5, 0.5]), (len(photos), 1))
    first = photos.pooled_at(boxes)
    boxes[2] = [0.5, 0.5, 1, 1]
    again = photos.pooled_at(boxes)
    assert looked == [len(photos), 1]
    same = np.arange(len(photos)) != 2
    assert np.array_equal(first[same], again[same])
    assert not np.array_equal(first[2], again[2])
    photos.one(2).pooled_at(boxes[[2]])  # a photo whose time is taken is looked at anew
    assert looked == [len(photos), 1, 1]


def test_a_function_is_asked_once_for_each_set(lab):
    asked = []

    def named(pictures):
        """Words."""
        asked.append(len(pictures))
        return pictures.paths[0]

    once = remembered(named)
    photos = lab.photos["val"]
    assert once(photos) == once(photos) == photos.paths[0]
    assert once(photos.one(1)) == photos.paths[1]
    assert once(photos.one(1)) == photos.paths[1]
    assert asked == [len(photos), 1, 1]
    assert (once.__name__, once.__doc__) == ("named", "Words.")


def test_what_settings_share_is_made_once(lab):
    asked = []

    def counted(pictures):
        asked.append(len(pictures))
        return len(pictures)

    for of in (lab.shared("shared", counted), lab.shared("shared", len)):
        assert of(lab.catalogue) == len(lab.catalogue)
    assert asked == [len(lab.catalogue)]
