"""Looking again: the part of a photo that a box shows, from the photo's own pixels.

A network sees squares of a fixed size. An object that fills a third of a photo fills a third of its
square; of the cropped photo it fills nearly all, with nine times the pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from vsa.data.decoding import decode
from vsa.data.files import absolute, fingerprint_files, in_threads
from vsa.runtime.atomic import atomic_file
from vsa.runtime.fingerprint import checksum

VERSION = 1  # raise it when a photo and a box become other squares
MARGIN = 0.1  # of a box's sides, on each side: context, and what a box that is a little off cuts
SMALLEST = 0.15  # share of a photo's side: of smaller boxes, large JPEGs show no more detail


def with_margin(boxes: np.ndarray, margin: float = MARGIN) -> np.ndarray:
    """Boxes, float (n, 4) as shares of the sides, grown by a share of theirs and cut to the photo.

    A margin of ``x_min, y_min, x_max, y_max`` is ``margin`` of the box's own width or height.
    """
    more = margin * (boxes[:, 2:] - boxes[:, :2])
    grown = np.concatenate([boxes[:, :2] - more, boxes[:, 2:] + more], axis=1)
    return grown.clip(0, 1).astype(np.float32)


def crop_square(photo: Image.Image, box: np.ndarray, size_px: int) -> np.ndarray:
    """The part of a photo within a box, shares of its sides (4,), as uint8 (S, S, 3).

    Squashed into the square, as whole photos are (`vsa.data.images`). A box narrower than a pixel
    shows that pixel.
    """
    x_min, y_min, x_max, y_max = np.asarray(box, float).clip(0, 1).tolist()
    left, right = _at_least_a_pixel(x_min * photo.width, x_max * photo.width, photo.width)
    top, bottom = _at_least_a_pixel(y_min * photo.height, y_max * photo.height, photo.height)
    part = (left, top, right, bottom)
    return np.array(photo.resize((size_px, size_px), Image.Resampling.BICUBIC, box=part))


def needed_px(size_px: int) -> int:
    """Pixels of a photo's shorter side that the smallest box needs, to be seen in full detail."""
    return math.ceil(size_px / SMALLEST)


def load_crops(
    root: Path,
    paths: Sequence[str],
    boxes: np.ndarray,
    size_px: int,
    cache: Path | None = None,
    description: str = "look again",
) -> np.ndarray:
    """What boxes show of images `root`/`paths`, uint8 (n, size_px, size_px, 3).

    Parameters
    ----------
    boxes : float32 (n, 4), shares of the sides, with the margin that is wanted.
    cache : as of `vsa.data.images.load_images`.
    """
    files = absolute(root, paths)
    shape = (len(files), size_px, size_px, 3)
    if cache is None or not files:
        crops = np.empty(shape, np.uint8)
        _fill(crops, files, boxes, description)
        return crops
    known = fingerprint_files(files, crops=VERSION, size_px=size_px, boxes=checksum(boxes))
    target = cache / f"crops-{size_px}px-{known}.npy"
    if not target.exists():
        with atomic_file(target) as draft:
            crops = np.lib.format.open_memmap(draft, "w+", np.uint8, shape)
            _fill(crops, files, boxes, description)
    return np.load(target, mmap_mode="r")


def _fill(crops: np.ndarray, files: Sequence[str], boxes: np.ndarray, description: str) -> None:
    size_px = crops.shape[1]

    def load(asked: tuple[str, np.ndarray]) -> np.ndarray:
        file, box = asked
        return crop_square(decode(file, min_px=needed_px(size_px)), box, size_px)

    for row, crop in enumerate(in_threads(load, list(zip(files, boxes, strict=True)), description)):
        crops[row] = crop


def _at_least_a_pixel(low: float, high: float, size: int) -> tuple[float, float]:
    if high - low >= 1:
        return low, high
    low = min(max(0.0, (low + high - 1) / 2), size - 1)
    return low, low + 1
