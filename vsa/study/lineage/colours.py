"""Colour palettes [4]: a few colours of a picture, and what it costs to make one of another."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from vsa.study.lineage.lab import LineageLab, best_first, reordered
from vsa.study.lineage.methods import METHODS, Search, method
from vsa.study.lineage.pictures import Pictures, remembered

_N_CLUSTERS, _N_PARTS = 5, 8  # colours, and equal parts that their shares are rounded to
_N_PIXELS = 24  # a side: of the square that colours are clustered in
_ROUNDS = 8  # of k-means
_N_EXACT = 120  # pictures with the nearest mean colour, whose distance is computed


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB, uint8 (…, 3) → CIE L*a*b* under D65, float32 (…, 3)."""
    share = rgb.astype(np.float32) / 255
    linear = np.where(share > 0.04045, ((share + 0.055) / 1.055) ** 2.4, share / 12.92)
    matrix = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], np.float32
    )
    xyz = linear @ matrix.T / np.array([0.9505, 1.0, 1.089], np.float32)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    lightness, a, b = 116 * f[..., 1] - 16, f[..., 0] - f[..., 1], f[..., 1] - f[..., 2]
    return np.stack([lightness, 500 * a, 200 * b], axis=-1).astype(np.float32)


def palettes(images: np.ndarray) -> np.ndarray:
    """Palettes of images, uint8 (n, S, S, 3): eight colours of equal share, float32 (n, 8, 3).

    Colours are centres of k-means in L*a*b*, started evenly along lightness, so that nothing is
    drawn; a colour of three eighths of the picture is there three times.
    """
    step = max(1, images.shape[1] // _N_PIXELS)
    found = np.empty((len(images), _N_PARTS, 3), np.float32)
    for row in range(len(images)):
        pixels = to_lab(np.asarray(images[row])[::step, ::step].reshape(-1, 3))
        found[row] = _palette(pixels)
    return found


def _palette(pixels: np.ndarray) -> np.ndarray:
    order = np.argsort(pixels[:, 0], kind="stable")
    middles = ((np.arange(_N_CLUSTERS) + 0.5) / _N_CLUSTERS * len(pixels)).astype(int)
    centres = pixels[order[middles]]
    for _ in range(_ROUNDS):
        nearest = ((pixels[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
        counts = np.bincount(nearest, minlength=_N_CLUSTERS)
        sums = np.stack([np.bincount(nearest, c, _N_CLUSTERS) for c in pixels.T], axis=1)
        centres = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
    exact = counts / counts.sum() * _N_PARTS
    parts = np.floor(exact).astype(int)
    largest = np.argsort(parts - exact, kind="stable")  # the largest remainders get the rest
    parts[largest[: _N_PARTS - parts.sum()]] += 1
    return np.repeat(centres, parts, axis=0)


def palette_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Least mean distance in L*a*b* that colours travel from one palette (8, 3) to another.

    Parts are equal, so that the earth mover's distance is an assignment.
    """
    return float(distances(first[None], second[None], np.zeros((1, 1), int))[0, 0])


def distances(asked: np.ndarray, offered: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Palette distances (n, k) of each palette asked (n, 8, 3) to the offered rows (n, k)."""
    found = np.empty(pairs.shape, np.float32)
    for row, (mine, rows) in enumerate(zip(asked, pairs, strict=True)):
        costs = np.linalg.norm(mine[:, None] - offered[rows][:, None], axis=3)  # (k, 8, 8)
        found[row] = [cost[linear_sum_assignment(cost)].mean() for cost in costs]
    return found


@remembered
def _palettes_of(pictures: Pictures) -> np.ndarray:
    return palettes(pictures.squares)


@METHODS.register("palette")
@method("[4]", effort=0)
def palette(lab: LineageLab, seed: int) -> Search:
    """Bhardwaj et al. (2013) search fashion by a palette of the few colours that make a picture up.

    Kept are palettes clustered in L*a*b* and compared by the earth mover's distance, exactly for
    the pictures of the nearest mean colour, which bounds it from below; taking away the background
    is left out.
    """
    offered = _palettes_of(lab.catalogue)
    means = offered.mean(axis=1)

    def rank(photos: Pictures) -> np.ndarray:
        asked = _palettes_of(photos)
        bound = np.linalg.norm(asked.mean(axis=1)[:, None] - means, axis=2)
        near = np.argsort(bound, axis=1, kind="stable")[:, :_N_EXACT]
        exact = distances(asked, offered, near)
        return np.take_along_axis(near, best_first(-exact), axis=1)

    return Search(rank, _N_PARTS * 3)  # a byte for each coordinate


@METHODS.register("palette re-ranks appearance")
@method("[4]", grid=[{"weight": w} for w in (0.002, 0.005, 0.01)])
def palette_reranks(lab: LineageLab, seed: int, weight: float) -> Search:
    """Bhardwaj et al. (2013) combine colour with what else is known of a picture.

    Kept is a palette's distance, weighted, taken from the cosine of the first sixty results;
    patterns and the shopper's feedback are left out.
    """
    offered, features = _palettes_of(lab.catalogue), lab.catalogue.pooled

    def compare(photos: Pictures) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Results by appearance, their cosines, and their palettes' distances, (n, 60) each."""
        cosine = photos.pooled @ features.T
        found = best_first(cosine)
        near = np.take_along_axis(cosine, found, axis=1)
        return found, near, distances(_palettes_of(photos), offered, found)

    compared = lab.shared("palettes compared", compare)

    def rank(photos: Pictures) -> np.ndarray:
        found, near, exact = compared(photos)
        return reordered(found, near - weight * exact)

    return Search(rank, 2 * features.shape[1] + _N_PARTS * 3)
