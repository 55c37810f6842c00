import colorsys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageFilter
from scipy.fft import dctn

from vsa.data import descriptors
from vsa.data.descriptors import (
    _cosines,
    colour_histogram,
    contrast,
    perceptual_hash,
    sharpness,
    thumbnail,
    weak_features,
)

ALL = [colour_histogram, thumbnail, weak_features, perceptual_hash, sharpness, contrast]
IMAGES = hnp.arrays(
    np.uint8, st.tuples(st.integers(0, 4), st.integers(1, 40), st.integers(1, 40), st.just(3))
)


def photos(n, px=64, seed=0):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (n, 6, 6, 3), np.uint8)
    size = (px, px)
    return np.stack(
        [np.asarray(Image.fromarray(s).resize(size, Image.Resampling.BICUBIC)) for s in small]
    )


def plain(*colours, px=8):
    return np.broadcast_to(np.array(colours, np.uint8)[:, None, None], (len(colours), px, px, 3))


def bits(hashes):
    return np.unpackbits(hashes, axis=1).astype(int)


@pytest.mark.parametrize("describe", ALL)
def test_chunks_and_row_order_do_not_matter(describe, monkeypatch):
    images = photos(23, px=16)
    whole = describe(images)
    monkeypatch.setattr(descriptors, "_CHUNK_PIXELS", 5 * 16 * 16)
    np.testing.assert_allclose(describe(images), whole, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(describe(images[::-1]), whole[::-1], rtol=1e-4, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(IMAGES)
def test_shapes_types_and_ranges(images):
    n = len(images)
    for describe, d in ((colour_histogram, 128), (thumbnail, 192), (weak_features, 320)):
        features = describe(images)
        assert features.shape == (n, d)
        assert features.dtype == np.float32
        lengths = np.linalg.norm(features, axis=1)
        is_unit = np.isclose(lengths, 1, atol=1e-4)
        assert (is_unit | (lengths == 0) if describe is thumbnail else is_unit).all()
    assert perceptual_hash(images).shape == (n, 8)
    assert perceptual_hash(images).dtype == np.uint8
    for measure in (sharpness, contrast):
        assert measure(images).shape == (n,)
        assert measure(images).dtype == np.float32
        assert (measure(images) >= 0).all()


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_bin_of_a_plain_colour_is_that_of_its_hsv(colour):
    quantised = [(channel >> 3) * 8 + 4 for channel in colour]
    hue, saturation, value = colorsys.rgb_to_hsv(*[channel / 256 for channel in quantised])
    s, v = min(int(saturation * 4), 3), int(value * 4)
    h = min(int(hue * 8 + 1e-9), 7) if s else 0
    histogram = colour_histogram(plain(colour))[0]
    assert histogram[(h * 4 + s) * 4 + v] == 1
    assert np.count_nonzero(histogram) == 1


def test_histogram_counts_shares():
    image = np.zeros((1, 4, 4, 3), np.uint8)
    image[0, 0] = 255  # a quarter is white
    histogram = colour_histogram(image)[0] ** 2
    assert sorted(histogram[histogram > 0].tolist()) == pytest.approx([0.25, 0.75])


def test_histogram_ignores_place_and_thumbnail_does_not():
    image = photos(1)
    flipped = image[:, ::-1]
    assert np.array_equal(colour_histogram(image), colour_histogram(flipped))
    assert (thumbnail(image) * thumbnail(flipped)).sum() < 0.9


@pytest.mark.parametrize(
    ("height", "width", "px"), [(8, 8, 8), (16, 24, 8), (37, 50, 8), (5, 3, 8)]
)
def test_thumbnail_is_the_area_average(height, width, px):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    # Repeating each pixel px times makes the cells whole, so that plain means are the oracle.
    large = image.astype(float).repeat(px, axis=0).repeat(px, axis=1)
    cells = large.reshape(px, height, px, width, 3).mean(axis=(1, 3))
    expected = np.moveaxis(cells - cells.mean(), -1, 0).ravel()
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(thumbnail(image[None], px)[0], expected, atol=1e-5)


def test_grey_image_has_no_thumbnail_but_a_feature():
    images = plain((7, 7, 7), (200, 200, 200), px=13)
    assert not thumbnail(images).any()
    assert np.linalg.norm(weak_features(images), axis=1) == pytest.approx(1)


def test_weak_features_are_closer_for_another_take_of_the_same():
    images = photos(20)
    noise = np.random.default_rng(1).integers(-12, 13, images.shape)
    takes = np.clip(images.astype(int) + noise, 0, 255).astype(np.uint8)
    similarity = weak_features(takes) @ weak_features(images).T
    assert (similarity.argmax(axis=1) == np.arange(20)).all()


def test_hash_stands_scaling_and_brightness_and_tells_pictures_apart():
    images = photos(30, px=64)
    original = bits(perceptual_hash(images))
    halved = images.reshape(30, 32, 2, 32, 2, 3).mean(axis=(2, 4)).round().astype(np.uint8)
    darker = (images * 0.8).astype(np.uint8)
    for changed in (halved, darker):
        assert np.abs(bits(perceptual_hash(changed)) - original).sum(axis=1).max() <= 6
    distances = np.abs(original[:, None] - original[None]).sum(axis=2)
    assert distances[~np.eye(30, dtype=bool)].min() > 6


def test_hashes_are_made_of_what_scipy_calls_a_cosine_transform():
    planes = np.random.default_rng(0).uniform(0, 255, (5, 32, 32)).astype(np.float32)
    cosines = _cosines(32, 8)
    lowest = dctn(planes, axes=(1, 2), norm="ortho")[:, :8, :8]
    np.testing.assert_allclose(cosines @ planes @ cosines.T, lowest, atol=5e-3)


def test_hash_bits_split_the_frequencies_in_halves():
    ones = bits(perceptual_hash(photos(50)))[:, 1:].sum(axis=1)
    assert (ones == 31).mean() > 0.9  # of 63, less the median itself; ties by rounding are rare


def test_hash_of_a_plain_image_is_not_noise():
    hashes = perceptual_hash(plain(*[(g, g, g) for g in range(1, 256)], px=17))
    assert (hashes == hashes[0]).all()


def test_sharpness_falls_with_blur_and_contrast_with_fading():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    blurred = [image.filter(ImageFilter.GaussianBlur(radius)) for radius in (0, 1, 2, 4)]
    values = sharpness(np.stack([np.asarray(b) for b in blurred]))
    assert (np.diff(values) < 0).all()
    faded = np.stack([np.asarray(image) // k for k in (1, 2, 4)])
    assert contrast(faded) == pytest.approx(contrast(faded)[0] / np.array([1, 2, 4]), rel=0.02)


def test_sharpness_and_contrast_by_hand():
    image = np.zeros((1, 3, 4, 3), np.uint8)
    image[0, 1, 1] = 10
    assert sharpness(image)[0] == pytest.approx(np.var([-40, 10]), rel=1e-5)
    assert contrast(image)[0] == pytest.approx(np.std([10] + [0] * 11), rel=1e-5)
    assert sharpness(image[:, :2])[0] == 0  # too small to tell
