"""Rows of notebook 07 that make one feature of a frozen network's maps, and learn no weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vsa.runtime.seeds import generator
from vsa.study.lineage.lab import LineageLab, best_first, reordered
from vsa.study.lineage.methods import METHODS, Search, method
from vsa.study.lineage.pictures import LAST, MIDDLE, Pictures, unit
from vsa.study.lineage.pooling import (
    all_rectangles,
    as_shares,
    gem,
    integral_maxima,
    r_mac_regions,
    region_maxima,
    vlad,
)

_SAMPLE = 8_000  # cells or regions that components and words are learned from
_TOP = 20  # results that are looked at again
_TOGETHER = 32  # photos, whose rectangles are in memory


def components(features: np.ndarray, dim: int | None = None, *, whiten: bool = False) -> Any:
    """Principal components of features (n, d): scikit-learn's, all, or at most as many as said."""
    from sklearn.decomposition import PCA  # slow to import

    n = min(dim or features.shape[1], features.shape[1], len(features) - 1)
    return PCA(n, whiten=whiten, svd_solver="covariance_eigh").fit(features)


def sample(lab: LineageLab, layer: str, seed: int, n: int = _SAMPLE) -> np.ndarray:
    """Cells of a map of training photos and catalogue, drawn at random, float32 (≤ n, c)."""

    def draw() -> np.ndarray:
        rng, parts = generator(seed, "cells", layer), []
        for pictures in lab.seen:
            maps = pictures.maps[layer]
            chosen = rng.permutation(len(maps))[: max(1, n // (2 * maps.shape[1] ** 2))]
            parts.append(maps[np.sort(chosen)].astype(np.float32).reshape(-1, maps.shape[-1]))
        return np.concatenate(parts)

    return lab.once(("cells", layer, seed, n), draw)


def seen_features(lab: LineageLab) -> np.ndarray:
    """The network's own features of what may be learned from, float32 (n, c)."""
    return np.concatenate([pictures.pooled for pictures in lab.seen])


def first_of(found: Any, dim: int, *, whiten: bool) -> Callable[[np.ndarray], np.ndarray]:
    """A function of features (n, d) → their first `dim` components, whitened or not.

    How many are asked for changes none of them, so that one PCA serves all dimensions.
    """
    axes = found.components_[:dim]
    if whiten:
        spread = np.sqrt(found.explained_variance_[:dim, None])
        axes = axes / np.maximum(spread, np.finfo(np.float32).eps)
    return lambda features: (features - found.mean_) @ axes.T


@METHODS.register("off the shelf, cosine")
@method("[23]", effort=0)
def off_the_shelf(lab: LineageLab, seed: int) -> Search:
    """Razavian et al. (2014) take a pretrained network's feature as it is, for anything.

    Kept is the mean of the last map, compared by cosine; jittered copies and the power transform
    are left out.
    """
    return lab.by_features(lambda pictures: pictures.pooled)


@METHODS.register("off the shelf, linear SVM")
@method("[23]", grid=[{"c": 0.1}, {"c": 1.0}], needs=["categories"], effort=2)
def linear_svm(lab: LineageLab, seed: int, c: float) -> Search:
    """Razavian et al. (2014) put a linear SVM on a pretrained network's features.

    Kept is one that tells the shop's categories: pictures of the category it names come first, in
    the order of cosines; an SVM for each object that is looked for is left out.
    """
    from sklearn.svm import LinearSVC  # slow to import

    labels = np.concatenate([lab.categories("train"), lab.categories("catalogue")])
    known = labels >= 0
    svm = LinearSVC(C=c, tol=1e-3, random_state=seed).fit(seen_features(lab)[known], labels[known])
    offered, of_pictures = lab.catalogue.pooled, lab.categories("catalogue")

    def rank(photos: Pictures) -> np.ndarray:
        same = svm.predict(photos.pooled)[:, None] == of_pictures
        return best_first(photos.pooled @ offered.T + 2 * same)

    return Search(rank, 2 * offered.shape[1])


@METHODS.register("off the shelf, centre crop")
@method("[23]", grid=[{"side": side} for side in (0.5, 0.65, 0.8)])
def centre_crop(lab: LineageLab, seed: int, side: float) -> Search:
    """Razavian et al. (2014) search among patches of several sizes and places.

    Kept is one patch, the middle of the photo, whose size validation photos choose; the search
    over many patches is left out.
    """
    box = np.array([0.5 - side / 2] * 2 + [0.5 + side / 2] * 2, np.float32)
    return lab.by_boxes(lambda photos: np.tile(box, (len(photos), 1)))


@METHODS.register("neural codes")
@method(
    "[1]",
    grid=[{"dim": d, "whiten": w} for w in (False, True) for d in (16, 32, 64, 128, 256, 512)],
)
def neural_codes(lab: LineageLab, seed: int, dim: int, whiten: bool) -> Search:
    """Babenko et al. (2014) compress activations of a classifier's last layers by PCA.

    Kept are the last map's mean and its principal components, whitened or not; which layer is
    asked in the table of factors, and codes learned anew have a row of their own.
    """
    found = lab.once("components", lambda: components(seen_features(lab)))
    to = first_of(found, dim, whiten=whiten)
    return lab.by_features(lambda pictures: to(pictures.pooled))


@METHODS.register("GeM pooling")
@method("since", grid=[{"power": p} for p in (2.0, 3.0, 5.0, 10.0)], effort=0)
def gem_pooling(lab: LineageLab, seed: int, power: float) -> Search:
    """Radenović et al. (2018) pool a map by a generalised mean whose power is learned.

    Kept is that mean, its power chosen by validation photos; fine-tuning and whitening learned
    from matching pairs are left out.
    """
    return lab.by_features(lambda pictures: pictures.each(lambda maps: gem(maps, power)))


@METHODS.register("R-MAC")
@method("[17]", grid=[{"levels": n, "dim": d} for n in (2, 3) for d in (64, 256)])
def r_mac(lab: LineageLab, seed: int, levels: int, dim: int) -> Search:
    """Tolias et al. (2016) sum the maxima over squares of a map, each whitened by PCA before.

    Kept are squares, whitening learned from the shop's own pictures, and the sum; larger pictures
    and query expansion are left out.
    """
    describe = r_mac_of(lab, seed, levels, dim)
    return lab.by_features(describe)


def r_mac_of(lab: LineageLab, seed: int, levels: int, dim: int) -> Callable[[Pictures], np.ndarray]:
    """Pictures → R-MAC, float32 (n, d) of unit length."""
    g = lab.catalogue.maps[LAST].shape[1]
    regions = r_mac_regions(g, levels)

    def learn() -> Any:
        rng, parts = generator(seed, "regions"), []
        for pictures in lab.seen:
            maps = pictures.maps[LAST]
            chosen = np.sort(rng.permutation(len(maps))[: _SAMPLE // (2 * len(regions))])
            maxima = region_maxima(maps[chosen].astype(np.float32), regions)
            parts.append(unit(maxima).reshape(-1, maps.shape[-1]))
        return components(np.concatenate(parts))

    found = lab.once(("components of regions", seed, levels), learn)
    to = first_of(found, dim, whiten=True)

    def of_maps(maps: np.ndarray) -> np.ndarray:
        maxima = unit(region_maxima(maps, regions))  # (n, r, c)
        white = to(maxima.reshape(-1, maps.shape[-1]))
        summed = unit(white).reshape(len(maps), len(regions), -1).sum(axis=1)
        return unit(summed)

    return lab.shared(("R-MAC", seed, levels, dim), lambda pictures: pictures.each(of_maps))


@METHODS.register("R-MAC, box re-ranked")
@method("[17]", grid=[{"weight": 0.5}, {"weight": 1.0}])
def r_mac_reranked(lab: LineageLab, seed: int, weight: float) -> Search:
    """Tolias et al. (2016) look for the rectangle whose maxima fit the other picture best.

    Kept are all rectangles of a photo's map by integral max-pooling, for the first twenty results,
    and a weight beside R-MAC; the search by coarse steps is left out, for a map here is small. The
    photo is the cluttered side, where theirs was the database.
    """
    describe = r_mac_of(lab, seed, 2, 256)
    whole = describe(lab.catalogue)
    offered = lab.once("MAC", lambda: unit(lab.catalogue.each(lambda m: m.max(axis=(1, 2)))))
    g = lab.catalogue.maps[LAST].shape[1]
    regions = all_rectangles(g, least=2)
    boxes = as_shares(regions, g)

    def fit(photos: Pictures) -> tuple[np.ndarray, ...]:
        """Results; cosine, fit and best rectangle of the first of them."""
        cosine = describe(photos) @ whole.T
        found = best_first(cosine)
        top = found[:, :_TOP]
        fits, best = np.empty(top.shape, np.float32), np.empty(top.shape, int)
        for start in range(0, len(photos), _TOGETHER):
            part = slice(start, start + _TOGETHER)
            maps = photos.maps[LAST][part].astype(np.float32)
            pooled = unit(integral_maxima(maps, regions))  # (n, r, c)
            each = pooled @ offered[top[part]].swapaxes(1, 2)  # (n, r, 20)
            fits[part], best[part] = each.max(axis=1), each.argmax(axis=1)
        return found, np.take_along_axis(cosine, top, axis=1), fits, best

    fitted = lab.shared(("fit of rectangles", seed), fit)

    def look(photos: Pictures) -> tuple[np.ndarray, np.ndarray]:
        """Re-ranked results, and the rectangle that fits the first of them best."""
        found, cosine, fits, best = fitted(photos)
        scores = weight * fits + (1 - weight) * cosine
        first = scores.argmax(axis=1)
        return reordered(found, scores), boxes[best[np.arange(len(photos)), first]]

    n_bytes = 2 * (whole.shape[1] + offered.shape[1])
    return Search(lambda photos: look(photos)[0], n_bytes, lambda photos: look(photos)[1])


@METHODS.register("VLAD of columns")
@method("[7]", grid=[{"layer": a, "n_words": n} for a in (MIDDLE, LAST) for n in (8, 16)])
def vlad_of_columns(lab: LineageLab, seed: int, layer: str, n_words: int) -> Search:
    """Ng et al. (2015) take each cell of a map as a local descriptor and aggregate them by VLAD.

    Kept are columns of two layers at two scales, intra-normalised VLAD, and PCA to 128 dimensions;
    larger pictures and a hundred words are left out.
    """
    from sklearn.cluster import KMeans  # slow to import

    cells = sample(lab, layer, seed)
    small = components(cells, 64)
    words = lab.once(
        ("words", layer, n_words, seed),
        lambda: KMeans(n_words, n_init=1, random_state=seed).fit(unit(small.transform(cells))),
    ).cluster_centers_.astype(np.float32)

    def of_maps(maps: np.ndarray) -> np.ndarray:
        scales = [maps, _halved(maps)]
        flat = [scale.reshape(len(maps), -1, maps.shape[-1]) for scale in scales]
        columns = np.concatenate(flat, axis=1)
        reduced = unit(small.transform(columns.reshape(-1, maps.shape[-1])))
        return vlad(reduced.reshape(*columns.shape[:2], -1), words)

    name = layer, n_words, seed
    whole = lab.shared(("VLAD", name), lambda pictures: pictures.each(of_maps, layer))
    found = lab.once(
        ("components of VLAD", name),
        lambda: components(np.concatenate([*map(whole, lab.seen)]), 128),
    )
    return lab.by_features(lambda pictures: found.transform(whole(pictures)))


def _halved(maps: np.ndarray) -> np.ndarray:
    """Means of 2 × 2 cells, an odd last row and column left out."""
    n, g, _, c = maps.shape
    half = max(1, g // 2)
    even = maps[:, : 2 * half, : 2 * half] if g > 1 else maps.repeat(2, 1).repeat(2, 2)
    return even.reshape(n, half, 2, half, 2, c).mean(axis=(2, 4))
