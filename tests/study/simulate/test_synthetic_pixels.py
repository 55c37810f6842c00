"""What was made quicker in drawing the shop gives the very pixels of the plain way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vsa.study.simulate.synthetic import backgrounds, degrade, photos
from vsa.study.simulate.synthetic.families import make_products
from vsa.study.simulate.synthetic.placing import VISIBLE, tight_box
from vsa.study.simulate.synthetic.png import save_png


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (33, 20)])
def test_a_png_holds_the_picture_without_loss(tmp_path: Path, size: tuple[int, int]) -> None:
    pixels = noise(*size)
    save_png(Image.fromarray(pixels), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        image.verify()  # checksums of the chunks
    with Image.open(tmp_path / "a.png") as image:
        assert (np.asarray(image) == pixels).all()


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("factor", [0.0, 0.37, 1.0, 1.09, 3.0])
def test_grey_levels_are_scaled_and_clipped(mode: str, factor: float) -> None:
    image = Image.fromarray(noise(40, 30)).convert(mode)
    expected = np.minimum(np.asarray(image) * np.float32(factor), 255).astype(np.uint8)
    assert (np.asarray(photos._scaled(image, factor)) == expected).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_colours_are_blended_by_weight(dtype: type) -> None:
    rng = np.random.default_rng(1)
    first, second = rng.uniform(-40, 300, (2, 3)).astype(dtype)
    weight = rng.random((9, 14), np.float32)
    expected = np.clip(first + weight[..., None] * (second - first), 0, 255).astype(np.uint8)
    assert (np.asarray(backgrounds._mix(first, second, weight)) == expected).all()


def test_a_box_is_of_what_is_visible() -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[3:8, 5:9] = VISIBLE
    mask[15, 20] = VISIBLE - 1
    assert tight_box(Image.fromarray(mask)) == (5 / 30, 3 / 20, 9 / 30, 8 / 20)


@pytest.mark.parametrize("seed", range(6))
def test_light_is_one_factor_per_pixel_and_channel(seed: int) -> None:
    pixels = noise(24, 24)

    def plainly(rng: np.random.Generator, strength: float) -> np.ndarray:
        warmth, tint = rng.normal(0, (0.06, 0.02)) * strength
        exposure = np.exp(rng.normal(-0.02, 0.11) * strength)
        gain = np.array([1 + warmth, 1 + tint, 1 - warmth]) * exposure
        field = 1 + 0.4 * strength * (degrade.smooth_noise(24, (2, 2), rng) - 0.5)
        if rng.random() < 0.35 * strength:
            field *= degrade._cast_shadow(24, rng)
        contrast = rng.uniform(1 - 0.18 * strength, 1.05)
        lit = pixels.astype(np.float32) * (field[..., None] * (contrast * gain).astype(np.float32))
        lit += np.float32(118 * (1 - contrast))
        sigma = np.float32(rng.uniform(1, 9) * strength)
        lit += rng.standard_normal(lit.shape, np.float32) * sigma
        return np.clip(lit, 0, 255).astype(np.uint8)

    expected = plainly(np.random.default_rng(seed), 0.8)
    taken = degrade.light_and_noise(Image.fromarray(pixels), np.random.default_rng(seed), 0.8)
    assert (np.asarray(taken) == expected).all()


def test_products_do_not_depend_on_who_makes_the_categories() -> None:
    def backwards(work, categories):
        made = {category: work(category) for category in reversed(list(categories))}
        return [made[category] for category in reversed(made)]

    assert make_products(3, 2, backwards) == make_products(3, 2)
