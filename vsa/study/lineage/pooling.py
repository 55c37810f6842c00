"""From the cells of a map to one feature: plain functions, each of a published idea."""

from __future__ import annotations

import numpy as np

Regions = tuple[tuple[int, int, int, int], ...]  # of cells: top, bottom, left, right (exclusive)


def gem(maps: np.ndarray, power: float) -> np.ndarray:
    """Generalised mean of the cells of maps, (n, G, G, c) ≥ 0 → (n, c).

    1 is their mean, and the higher the power, the nearer to their maximum (Radenović et al., 2018).
    """
    raised = np.maximum(maps, 1e-6) ** power
    return np.asarray(raised.mean(axis=(1, 2)) ** (1 / power), np.float32)


def r_mac_regions(g: int, levels: int) -> Regions:
    """The squares of R-MAC on a map of g × g cells: l × l of them, of side 2g / (l + 1), at l."""
    found: list[tuple[int, int, int, int]] = []
    for level in range(1, levels + 1):
        side = max(1, int(2 * g / (level + 1)))
        at = np.floor(np.linspace(0, g - side, level)).astype(int)
        found += [(y, y + side, x, x + side) for y in at for x in at]
    return tuple(dict.fromkeys(found))


def all_rectangles(g: int, least: int = 1) -> Regions:
    """All rectangles of cells of a map of g × g whose sides have at least so many."""
    pairs = [(a, b) for a in range(g) for b in range(a + least, g + 1)]
    return tuple((y0, y1, x0, x1) for y0, y1 in pairs for x0, x1 in pairs)


def as_shares(regions: Regions, g: int) -> np.ndarray:
    """Regions as boxes x_min, y_min, x_max, y_max in shares of the sides, float32 (r, 4)."""
    top, bottom, left, right = np.array(regions, np.float32).T / g
    return np.stack([left, top, right, bottom], axis=1)


def region_maxima(maps: np.ndarray, regions: Regions) -> np.ndarray:
    """Maximum over each region's cells, (n, G, G, c) → (n, r, c)."""
    return np.stack([maps[:, a:b, x:y].max(axis=(1, 2)) for a, b, x, y in regions], axis=1)


def region_sums(maps: np.ndarray, regions: Regions) -> np.ndarray:
    """Sum over each region's cells by an integral image, (n, G, G, c) → (n, r, c)."""
    n, g, _, c = maps.shape
    table = np.zeros((n, g + 1, g + 1, c))  # float64: differences of sums lose digits
    table[:, 1:, 1:] = maps.cumsum(axis=1, dtype=np.float64).cumsum(axis=2)
    a, b, x, y = np.array(regions).T
    sums = table[:, b, y] - table[:, a, y] - table[:, b, x] + table[:, a, x]
    return np.asarray(sums, np.float32)


def integral_maxima(maps: np.ndarray, regions: Regions, power: float = 10.0) -> np.ndarray:
    """Approximate maxima of regions, (n, r, c): (Σ x^α)^(1/α), by one integral image.

    Integral max-pooling (Tolias et al., 2016, section 4.2): all rectangles cost one pass.
    """
    top = np.maximum(maps.max(axis=(1, 2), keepdims=True), 1e-6)  # kept small, lest powers overflow
    sums = region_sums((np.maximum(maps, 0) / top).astype(np.float64) ** power, regions)
    return np.asarray(np.maximum(sums, 0) ** (1 / power) * top[:, :, 0], np.float32)


def vlad(columns: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Vectors of locally aggregated descriptors, (n, k, d) and (w, d) → (n, w·d) of unit length.

    For each word the sum of what its columns differ from it by, brought to unit length by itself
    (intra-normalisation), then the whole (Jégou et al., 2010; Ng et al., 2015).
    """
    n, k, d = columns.shape
    flat = columns.reshape(-1, d)
    distances = (words**2).sum(axis=1) - 2 * flat @ words.T
    nearest = distances.argmin(axis=1)  # (n·k,)
    found = np.zeros((n * len(words), d), np.float32)
    place = np.repeat(np.arange(n), k) * len(words) + nearest
    np.add.at(found, place, flat - words[nearest])
    found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
    whole = found.reshape(n, len(words) * d)
    return whole / np.maximum(np.linalg.norm(whole, axis=1, keepdims=True), 1e-12)
