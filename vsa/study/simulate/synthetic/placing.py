"""Putting a sprite into a picture: size, rotation, perspective; and the box that results."""

from __future__ import annotations

import numpy as np
from PIL import Image

VISIBLE = 64  # an alpha from which a pixel counts as part of the object

_IS_VISIBLE = [0] * VISIBLE + [255] * (256 - VISIBLE)

Box = tuple[float, float, float, float]  # x_min, y_min, x_max, y_max, fractions of the picture


def quad(
    size: tuple[int, int],
    centre: tuple[float, float],
    box_px: tuple[float, float],
    degrees: float,
    skew: np.ndarray,
    limit_px: float,
) -> np.ndarray:
    """Where the corners of a sprite of `size` go, in pixels, (4, 2), clockwise from the upper left.

    The corners are turned by `degrees`, moved by `skew` (4, 2) in fractions of the sprite, and
    scaled so that their bounding box has the area box_px[0] · box_px[1], yet no side beyond
    `limit_px`.
    """
    w, h = size
    a = np.radians(degrees)
    corners = (np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]) + skew) * (w, h)
    corners = corners @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
    extent = np.ptp(corners, axis=0)
    scale = min(np.sqrt(box_px[0] * box_px[1] / extent.prod()), limit_px / extent.max())
    corners *= scale
    return corners - (corners.min(0) + corners.max(0)) / 2 + centre


def warp(sprite: Image.Image, corners: np.ndarray, n_px: int, oversample: int) -> Image.Image:
    """The sprite mapped onto `corners`, as an RGBA layer of the picture; the rest transparent.

    A perspective transform; antialiased by drawing `oversample` times too large.
    """
    x0, y0 = np.floor(np.maximum(corners.min(0), 0)).astype(int).tolist()
    x1, y1 = np.ceil(np.minimum(corners.max(0), n_px)).astype(int).tolist()
    layer = Image.new("RGBA", (n_px, n_px))
    if x1 <= x0 or y1 <= y0:
        return layer
    w, h = sprite.size
    source = np.array([(0, 0), (w, 0), (w, h), (0, h)], float)
    coefficients = _homography((corners - (x0, y0)) * oversample, source)
    patch = sprite.transform(
        ((x1 - x0) * oversample, (y1 - y0) * oversample),
        Image.Transform.PERSPECTIVE,
        coefficients,
        Image.Resampling.BILINEAR,
    )
    layer.paste(patch.reduce(oversample), (x0, y0))
    return layer


def _homography(to: np.ndarray, source: np.ndarray) -> list[float]:
    """The 8 coefficients that map the points `to` (4, 2) onto `source`, as PIL wants them."""
    x, y = to.T
    u, v = source.T
    zero, one = np.zeros(4), np.ones(4)
    rows = np.concatenate(
        [
            np.stack([x, y, one, zero, zero, zero, -u * x, -u * y], 1),
            np.stack([zero, zero, zero, x, y, one, -v * x, -v * y], 1),
        ]
    )
    return np.linalg.solve(rows, np.concatenate([u, v])).tolist()


def tight_box(mask: Image.Image) -> Box:
    """The smallest box around the pixels of an alpha mask ("L") that are VISIBLE or more."""
    bounds = mask.point(_IS_VISIBLE).getbbox()
    if bounds is None:
        raise ValueError("nothing of the object is visible in its mask")
    left, top, right, bottom = bounds
    return left / mask.width, top / mask.height, right / mask.width, bottom / mask.height
