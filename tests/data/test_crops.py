"""What a box shows of a photo, at a network's full size."""

import numpy as np
import pytest
from PIL import Image

from vsa.data.crops import crop_square, load_crops, needed_px, with_margin
from vsa.data.images import square

EMPTY_OR_BEYOND = [(0.5, 0.5, 0.5, 0.5), (1, 1, 1, 1), (0, 0, 1e-6, 1), (-1, 0, 3, 2)]


def quarters() -> Image.Image:
    """Four quarters of one colour each, 60 × 40 pixels."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20, 30:], pixels[20:, :30], pixels[20:, 30:] = 80, 160, 240
    return Image.fromarray(pixels)


def test_a_box_shows_what_is_within_it():
    crop = crop_square(quarters(), np.float32([0.5, 0.5, 1, 1]), 16)
    assert (crop.shape, crop.dtype) == ((16, 16, 3), np.uint8)
    assert (
        np.abs(crop[2:, 2:].astype(int) - 240) <= 2
    ).all()  # at the edges, resampling looks over them
    both = crop_square(quarters(), np.float32([0, 0, 1, 0.5]), 16)
    assert (both[:14, :6] == 0).all()
    assert (both[:14, 10:] == 80).all()


def test_the_whole_photo_is_the_square_that_networks_see_anyway():
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (37, 53, 3), np.uint8))
    whole = crop_square(photo, np.float32([0, 0, 1, 1]), 24)
    np.testing.assert_array_equal(whole, square(photo, 24))


@pytest.mark.parametrize(
    "box", [(0.5, 0.5, 0.5, 0.5), (1, 1, 1, 1), (0, 0, 1e-6, 1), (-1, 0, 3, 2)]
)
def test_boxes_of_less_than_a_pixel_or_beyond_the_photo_show_something(box):
    assert crop_square(quarters(), np.float32(box), 8).shape == (8, 8, 3)


def test_a_margin_grows_a_box_by_its_own_sides_and_ends_at_the_photo():
    boxes = np.float32([[0.4, 0.2, 0.6, 0.6], [0, 0.5, 1, 1]])
    grown = with_margin(boxes, 0.25)
    np.testing.assert_allclose(grown, [[0.35, 0.1, 0.65, 0.7], [0, 0.375, 1, 1]], rtol=1e-6)
    np.testing.assert_array_equal(with_margin(boxes, 0), boxes)


def test_a_large_photo_is_decoded_with_the_pixels_that_its_smallest_box_needs(tmp_path):
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (300, 400, 3), np.uint8)
    Image.fromarray(small).resize((3200, 2400)).save(tmp_path / "large.jpg", quality=95)
    box = np.float32([[0.4, 0.4, 0.55, 0.55]])
    found = load_crops(tmp_path, ["large.jpg"], box, 32)[0]
    with Image.open(tmp_path / "large.jpg") as photo:
        exact = crop_square(photo.convert("RGB"), box[0], 32)
    assert np.abs(found.astype(int) - exact).mean() < 3
    assert needed_px(32) * 0.15 >= 32


def test_crops_are_kept_by_photo_box_and_size(tmp_path):
    quarters().save(tmp_path / "a.png")
    first, other = np.float32([[0, 0, 0.5, 0.5]]), np.float32([[0.5, 0, 1, 0.5]])
    cache = tmp_path / "cache"
    for boxes in (first, other, first):
        kept = load_crops(tmp_path, ["a.png"], boxes, 8, cache)
        np.testing.assert_array_equal(kept, load_crops(tmp_path, ["a.png"], boxes, 8))
    assert len(list(cache.iterdir())) == 2
    assert load_crops(tmp_path, [], first[:0], 8, cache).shape == (0, 8, 8, 3)
