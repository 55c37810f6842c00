"""Batches of random crops and mirror images, which the category stage learns from (section 3.1)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from vsa.category.settings import ClassifierSettings
from vsa.runtime.seeds import generator

VERSION = 1  # of what is drawn, and of how a crop is resized
_TOGETHER = 256  # crops, in memory as floating-point numbers


def crop_batches(
    images: np.ndarray, labels: np.ndarray, settings: ClassifierSettings, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """``n_steps`` batches of random crops and mirror images, epoch after shuffled epoch.

    With a ``min_scale`` of 1, crops are ``crop_px`` wide, as the paper's; below it, of any side
    between that share of the picture's and the whole, resized, as `resized_crops`.
    """
    rng = generator(seed, "category batches")
    crop = resized_crops if settings.min_scale < 1 else _fixed_crops
    order = np.empty(0, np.int64)
    for _ in range(settings.n_steps):
        while len(order) < settings.batch_size:
            order = np.concatenate([order, rng.permutation(len(images))])
        chosen, order = order[: settings.batch_size], order[settings.batch_size :]
        yield crop(images, chosen, settings.crop_px, settings.min_scale, rng), labels[chosen]


def resized_crops(
    images: np.ndarray,
    rows: np.ndarray,
    size_px: int,
    min_scale: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """A random square of each chosen image, mirrored or not, as uint8 (B, size_px, size_px, 3).

    Parameters
    ----------
    images : uint8 (n, S, S, 3).
    rows : int64 (B,), the images that are wanted.
    min_scale : a square's side is drawn between this share of the image's and all of it.
    """
    sides = rng.uniform(min_scale, 1, len(rows))
    corners = rng.random((len(rows), 2)) * (1 - sides)[:, None]  # left, top
    mirrored = rng.random(len(rows)) < 0.5
    # From places of the crop to those of its image, both between -1 and 1, as torch has them.
    middles = 2 * corners + sides[:, None] - 1
    moves = np.zeros((len(rows), 2, 3), np.float32)
    moves[:, 0, 0], moves[:, 1, 1] = np.where(mirrored, -sides, sides), sides
    moves[:, :, 2] = middles
    crops = np.empty((len(rows), size_px, size_px, 3), np.uint8)
    for part in np.split(np.arange(len(rows)), range(_TOGETHER, len(rows), _TOGETHER)):
        crops[part] = _sampled(images[rows[part]], moves[part], size_px)
    return crops


def _sampled(images: np.ndarray, moves: np.ndarray, size_px: int) -> np.ndarray:
    whole = torch.from_numpy(images).permute(0, 3, 1, 2).float()  # (B, 3, S, S)
    shape = [len(images), 3, size_px, size_px]
    places = nn.functional.affine_grid(torch.from_numpy(moves), shape, align_corners=False)
    crops = nn.functional.grid_sample(whole, places, padding_mode="border", align_corners=False)
    return crops.round().byte().permute(0, 2, 3, 1).numpy()


def _fixed_crops(
    images: np.ndarray, rows: np.ndarray, crop: int, _scale: float, rng: np.random.Generator
) -> np.ndarray:
    corners = rng.integers(0, images.shape[1] - crop + 1, (len(rows), 2))
    mirrored = rng.random(len(rows)) < 0.5
    batch = np.empty((len(rows), crop, crop, 3), np.uint8)
    for slot, (row, (y, x), flip) in enumerate(zip(rows, corners, mirrored, strict=True)):
        window = images[row, y : y + crop, x : x + crop]
        batch[slot] = window[:, ::-1] if flip else window
    return batch
