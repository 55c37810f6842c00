"""Boxes that people give: what is none is said, and pixels are told from shares."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from vsa.data.boxes import check_box, require_pixels
from vsa.runtime.errors import InputError


@pytest.mark.parametrize("box", [[0, 0, 100, 100], [10, 20, 300, 400], (10.0, 20.0, 300.0, 400.0)])
def test_a_box_in_pixels_is_told_from_one_in_shares(box):
    with pytest.raises(InputError) as error:
        check_box(box)
    text = str(error.value)
    assert f"the box [{', '.join(f'{side:g}' for side in box)}] seems to be in pixels" in text
    assert "between 0 and 1, are wanted" in text
    assert "divide pixels by width and height" in text


@pytest.mark.parametrize("box", ["abcd", [0, 0, 1], None, [0, 0, "x", 1], [0, 0, 1, np.nan]])
def test_what_is_no_box_is_told(box):
    with pytest.raises(InputError, match="is no box"):
        check_box(box)


@pytest.mark.parametrize("box", [[0.5, 0.1, 0.5, 0.9], [0.6, 0.1, 0.5, 0.9]])
def test_a_box_without_area_is_told(box):
    with pytest.raises(InputError, match="is empty"):
        check_box(box)


@pytest.mark.parametrize("box", [[1.1, 0, 1.5, 1], [-0.5, 0, 0, 1], [0, 1, 1, 1.4]])
def test_a_box_outside_of_the_photo_is_told(box):
    with pytest.raises(InputError, match="lies outside of the photo"):
        check_box(box)


def test_a_box_that_reaches_over_the_edge_is_cut():
    assert check_box([-0.1, 0.2, 0.5, 1.2]).tolist() == [0, pytest.approx(0.2), 0.5, 1]


def test_a_box_has_to_show_a_pixel():
    whole = Image.new("RGB", (40, 20))
    half = whole.resize((20, 10))
    file = io.BytesIO()
    whole.save(file, "PNG")
    for photo, decoded in ((whole, whole), (file, whole), (file.getvalue(), half)):
        require_pixels(check_box([0.5, 0.5, 0.5 + 1 / 40, 0.55]), photo, decoded)
        with pytest.raises(InputError, match="smaller than a pixel of the photo"):
            require_pixels(check_box([0.5, 0.5, 0.52, 0.9]), photo, decoded)
