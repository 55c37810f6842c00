"""What a telephone's camera and an upload do to a picture: light, blur, noise, JPEG."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageFilter

from vsa.study.simulate.synthetic.backgrounds import smooth_noise


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    """Compress and decompress."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    buffer.seek(0)
    return Image.open(buffer, formats=["JPEG"]).convert("RGB")


def blur(image: Image.Image, rng: np.random.Generator, strength: float) -> Image.Image:
    """Defocus, motion or neither; `strength` 1 is a blur of up to about 1.5 % of the side."""
    kind = rng.random()
    if kind < 0.4:
        radius = rng.uniform(0.002, 0.011) * strength * image.width
        return image.filter(ImageFilter.GaussianBlur(radius))
    if kind < 0.65:
        length = rng.uniform(0.008, 0.03) * strength * image.width
        direction = rng.uniform(0, np.pi)
        step = length * np.array([np.cos(direction), np.sin(direction)])
        moved, half = (_shifted(image, *(step * part)) for part in (1, 0.5))
        return Image.blend(Image.blend(image, moved, 0.5), half, 1 / 3)
    return image


def _shifted(image: Image.Image, dx: float, dy: float) -> Image.Image:
    """Moved by that many pixels, and enlarged just enough to leave no gap at the edge."""
    n_px = image.width
    across, down = (1 - abs(dx) / n_px, 0, max(dx, 0)), (0, 1 - abs(dy) / n_px, max(dy, 0))
    return image.transform(
        image.size, Image.Transform.AFFINE, (*across, *down), Image.Resampling.BILINEAR
    )


def light_and_noise(image: Image.Image, rng: np.random.Generator, strength: float) -> Image.Image:
    """Uneven light, a shadow's edge, colour temperature, exposure, sensor noise."""
    n_px = image.width
    pixels = np.array(image, np.float32)
    warmth, tint = rng.normal(0, (0.06, 0.02)) * strength
    gain = np.array([1 + warmth, 1 + tint, 1 - warmth]) * np.exp(rng.normal(-0.02, 0.11) * strength)
    field = 1 + 0.4 * strength * (smooth_noise(n_px, (2, 2), rng) - 0.5)
    if rng.random() < 0.35 * strength:
        field *= _cast_shadow(n_px, rng)
    contrast = rng.uniform(1 - 0.18 * strength, 1.05)
    for channel, factor in enumerate((contrast * gain).astype(np.float32)):
        pixels[..., channel] *= field * factor
    pixels += np.float32(118 * (1 - contrast))
    sigma = np.float32(rng.uniform(1, 9) * strength)
    noise = rng.standard_normal(pixels.shape, np.float32)
    noise *= sigma
    pixels += noise
    return Image.fromarray(np.clip(pixels, 0, 255, out=pixels).astype(np.uint8))


def _cast_shadow(n_px: int, rng: np.random.Generator) -> np.ndarray:
    """A half plane in soft shadow, as a factor of shape (n_px, n_px)."""
    angle, at, softness = rng.uniform(0, 2 * np.pi), rng.uniform(-0.3, 0.3), rng.uniform(8, 40)
    axis = np.linspace(-0.5, 0.5, n_px, dtype=np.float32)
    distance = axis[None] * np.cos(angle) + axis[:, None] * np.sin(angle) - at
    depth = rng.uniform(0.15, 0.4)
    return (1 - depth / (1 + np.exp(-softness * distance))).astype(np.float32)
