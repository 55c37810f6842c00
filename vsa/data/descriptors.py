"""Classical image descriptors: no training, no weights, a few lines of numpy each.

They make the weak baseline engine whose result lists the simulated shoppers see
(``vsa.study.simulate.clicks``), and find duplicates and poor pictures (``vsa.category.selection``).
All take uint8 RGB images of shape (n, h, w, 3) and work through them in chunks, so that a
memory-mapped store larger than memory will do.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

DESCRIPTOR_PX = 64  # side of the squares that descriptors, hashes and quality are computed of
VERSION = 1
_CHUNK_PIXELS = 2**21  # about 100 MB of float32 intermediates
_HUE, _SATURATION, _VALUE = 8, 4, 4  # bins of the joint histogram
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
_HASH_PX, _N_FREQUENCIES = 32, 8  # a hash is of the lowest ones, along either side


def colour_histogram(images: np.ndarray) -> np.ndarray:
    """Joint histogram of hue, saturation and value, float32 of shape (n, 128).

    Roots of the bins' shares of the pixels: unit length, and inner products are Bhattacharyya
    coefficients. Colours are read to 5 bits a channel; the palest pixels all count as of hue 0, for
    theirs is noise.
    """
    return _in_chunks(_colour_histogram, images)


def thumbnail(images: np.ndarray, px: int = 8) -> np.ndarray:
    """Area-averaged thumbnails of px × px, float32 of shape (n, 3·px²).

    Each is centred on its mean and of unit length, or zero where the image is of one grey.
    """
    return _in_chunks(lambda chunk: _thumbnail(chunk, px), images)


def weak_features(images: np.ndarray) -> np.ndarray:
    """Feature of the weak baseline engine: colour histogram and thumbnail.

    float32 of shape (n, 320) and unit length; inner products are cosines.
    """
    return _unit(np.hstack([colour_histogram(images), thumbnail(images)]))


def perceptual_hash(images: np.ndarray) -> np.ndarray:
    """64-bit DCT hash, uint8 of shape (n, 8), ready for faiss' binary indexes.

    Each bit says whether one of the 8 × 8 lowest frequencies of the 32 × 32 grey image exceeds
    their median; scaling, recompression and mild retouching change few bits.
    """
    return _in_chunks(_perceptual_hash, images)


def sharpness(images: np.ndarray) -> np.ndarray:
    """Variance of the Laplacian of the grey image, float32 of shape (n,), in squared grey levels.

    It depends on the size at which images are decoded; compare like with like.
    """
    return _in_chunks(_sharpness, images)


def contrast(images: np.ndarray) -> np.ndarray:
    """Standard deviation of the grey image, float32 of shape (n,), in grey levels of 0 to 255."""
    return _in_chunks(lambda chunk: _grey(chunk).std(axis=(1, 2)), images)


def _in_chunks(describe: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.ndarray:
    n, height, width, _ = images.shape
    step = max(1, _CHUNK_PIXELS // (height * width))
    parts = [describe(np.asarray(images[i : i + step])) for i in range(0, max(n, 1), step)]
    return np.concatenate(parts)


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)


def _grey(images: np.ndarray) -> np.ndarray:
    return images.astype(np.float32) @ _LUMA  # (n, h, w)


@functools.cache
def _colour_bins() -> np.ndarray:
    """The histogram bin of each colour of 5 bits a channel, uint8 of shape (32, 32, 32)."""
    levels = np.arange(4, 256, 8, dtype=np.float64)
    red, green, blue = np.meshgrid(levels, levels, levels, indexing="ij")
    value = np.maximum(np.maximum(red, green), blue)
    range_ = value - np.minimum(np.minimum(red, green), blue)
    safe = np.where(range_ > 0, range_, 1)
    sector = np.where(
        value == red,
        (green - blue) / safe % 6,
        np.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )  # hue in [0, 6)
    v = (value * (_VALUE / 256)).astype(np.uint8)
    s = np.minimum(range_ / value * _SATURATION, _SATURATION - 1).astype(np.uint8)
    h = np.where(s > 0, sector * (_HUE / 6), 0).astype(np.uint8)
    return (h * _SATURATION + s) * _VALUE + v


def _colour_histogram(images: np.ndarray) -> np.ndarray:
    n, height, width, _ = images.shape
    n_bins = _HUE * _SATURATION * _VALUE
    red, green, blue = np.moveaxis(images >> 3, -1, 0)
    bins = _colour_bins()[red, green, blue]  # (n, h, w)
    flat = (bins + np.arange(n)[:, None, None] * n_bins).ravel()
    counts = np.bincount(flat, minlength=n * n_bins).reshape(n, n_bins)
    return np.sqrt(counts / (height * width)).astype(np.float32)


def _area_weights(n_from: int, n_to: int) -> np.ndarray:
    """Shares of `n_from` pixels in `n_to` equal intervals: rows (n_to, n_from) that sum to 1."""
    edges = np.linspace(0, n_from, n_to + 1)
    left, right = np.arange(n_from), np.arange(1, n_from + 1)
    overlap = np.minimum(edges[1:, None], right) - np.maximum(edges[:-1, None], left)
    return (np.maximum(overlap, 0) * (n_to / n_from)).astype(np.float32)


def _resize(planes: np.ndarray, px: int) -> np.ndarray:
    """Area-average planes (..., h, w) to (..., px, px)."""
    rows, columns = (_area_weights(size, px) for size in planes.shape[-2:])
    return rows @ planes @ columns.T


def _thumbnail(images: np.ndarray, px: int) -> np.ndarray:
    planes = np.moveaxis(images, -1, 1).astype(np.float32)
    pixels = _resize(planes, px).reshape(len(images), 3 * px * px)
    centred = pixels - pixels.mean(axis=1, keepdims=True)
    centred[np.abs(centred).max(axis=1, initial=0) < 1e-2] = 0  # rounding, not a picture
    return _unit(centred)


def _perceptual_hash(images: np.ndarray) -> np.ndarray:
    if not len(images):
        return np.empty((0, 8), np.uint8)
    cosines = _cosines(_HASH_PX, _N_FREQUENCIES)
    spectrum = cosines @ _resize(_grey(images), _HASH_PX) @ cosines.T
    # Rounded, lest the bits of a flat or symmetric picture, whose frequencies vanish, be noise.
    low = np.round(spectrum.reshape(len(images), _N_FREQUENCIES**2), 1)
    median = np.median(low[:, 1:], axis=1, keepdims=True)  # the mean brightness is no frequency
    return np.packbits(low > median, axis=1)


def _cosines(n: int, n_kept: int) -> np.ndarray:
    """Rows of the orthonormal DCT-II of n values, of the lowest frequencies: (n_kept, n)."""
    angles = np.pi / n * np.outer(np.arange(n_kept), np.arange(n) + 0.5)
    return np.cos(angles) * np.sqrt(np.where(np.arange(n_kept) > 0, 2, 1) / n)[:, None]


def _sharpness(images: np.ndarray) -> np.ndarray:
    grey = _grey(images)
    if min(grey.shape[1:]) < 3:
        return np.zeros(len(images), np.float32)
    inner = grey[:, 1:-1, 1:-1]
    vertical = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1]
    horizontal = grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    return (vertical + horizontal - 4 * inner).var(axis=(1, 2))
