"""Images as squares, which is what networks and descriptors take; and the store of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from vsa.data.decoding import Source, decode
from vsa.data.files import absolute, fingerprint_files, in_threads
from vsa.runtime.atomic import atomic_file

VERSION = 1  # raise it when a decoded picture becomes another square


def load_image(source: Source, size_px: int) -> np.ndarray:
    """One image as uint8 of shape (size_px, size_px, 3), exactly as `load_images` has it.

    The whole picture is squashed into the square, so that fractional boxes stay valid.
    Raises ImageError.
    """
    return square(decode(source, min_px=size_px), size_px)


def load_images(
    root: Path,
    paths: Sequence[str],
    size_px: int,
    cache: Path | None = None,
    description: str = "decode",
) -> np.ndarray:
    """Images `root`/`paths` as uint8 of shape (n, size_px, size_px, 3), decoded in parallel.

    With `cache` a folder, they are kept there as one file, used again while the images (by path,
    size and time of change) and the versions of decoding and squaring are the same, and returned
    as a read-only memory map. Raises ImageError naming the first file that cannot be decoded.
    """
    files = absolute(root, paths)
    shape = (len(files), size_px, size_px, 3)
    if cache is None or not files:
        images = np.empty(shape, np.uint8)
        _fill(images, files, description)
        return images
    key = fingerprint_files(files, squares=VERSION, size_px=size_px)
    target = cache / f"images-{size_px}px-{key}.npy"
    if not target.exists():
        with atomic_file(target) as draft:
            _fill(np.lib.format.open_memmap(draft, "w+", np.uint8, shape), files, description)
    return np.load(target, mmap_mode="r")


def square(image: Image.Image, size_px: int) -> np.ndarray:
    """A decoded picture as uint8 (size_px, size_px, 3), squashed as a whole."""
    return np.array(image.resize((size_px, size_px), Image.Resampling.BICUBIC))


def _fill(images: np.ndarray, files: Sequence[str], description: str) -> None:
    def load(file: str) -> np.ndarray:
        return load_image(file, images.shape[1])

    for i, image in enumerate(in_threads(load, files, description)):
        images[i] = image
