"""Rows of notebook 07 that find the object, judged by IoU and by looking at their boxes again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vsa.embedding.boxes import best_boxes
from vsa.runtime.inference import one_core
from vsa.runtime.seeds import generator
from vsa.runtime.training import Group, fit
from vsa.study.lineage.aggregation import components
from vsa.study.lineage.lab import LineageLab
from vsa.study.lineage.methods import METHODS, Search, method
from vsa.study.lineage.pictures import LAST, Pictures, unit
from vsa.study.lineage.pooling import all_rectangles, as_shares, region_sums

_LEARNED = 500  # training photos that boxes are learned from, at most
_LABELS = ["categories"]
_GREY = 127  # of the patch that covers a place
_N_PLACES, _PATCH = 6, 0.3  # places a side, and the patch's side as a share


def labelled_maps(lab: LineageLab, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Maps of training photos whose category is known, unit cells (n, G, G, c), and the codes."""

    def draw() -> tuple[np.ndarray, np.ndarray]:
        labels = lab.categories("train")
        rows = generator(seed, "labelled").permutation(np.flatnonzero(labels >= 0))[:_LEARNED]
        rows = np.sort(rows)
        return unit(lab.photos["train"].maps[LAST][rows].astype(np.float32)), labels[rows]

    return lab.once(("labelled maps", seed), draw)


def cell_classifier(
    maps: np.ndarray, labels: np.ndarray, n_steps: int, rate: float, seed: int, *, by_maximum: bool
) -> nn.Linear:
    """A linear layer over cells whose maximum, or mean, over a map names the category."""
    torch.manual_seed(seed)
    net = nn.Linear(maps.shape[-1], int(labels.max()) + 1)

    def batches(first: int) -> Iterator[np.ndarray]:
        for step in range(first, n_steps):
            yield generator(seed, "cells", step).integers(len(maps), size=64)

    def loss_of(rows: np.ndarray, step: int) -> tuple[Tensor, dict[str, float | Tensor]]:
        scores = 10 * net(torch.from_numpy(maps[rows])).flatten(1, 2)
        pooled = scores.amax(dim=1) if by_maximum else scores.mean(dim=1)
        return cross_entropy(pooled, torch.from_numpy(labels[rows])), {}

    with one_core():  # a step is too little work to share
        fit(net, [Group(net.parameters(), rate)], batches, loss_of, n_steps, "learn score maps")
    return net.eval()


def _scores(net: nn.Linear, maps: np.ndarray) -> np.ndarray:
    """Scores of all cells, (n, G, G, C)."""
    with torch.inference_mode():
        return np.asarray(10 * net(torch.from_numpy(unit(maps))).numpy())


def of_class(scores: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Each map's scores of its own class, (n, G, G)."""
    return np.take_along_axis(scores, classes[:, None, None, None], axis=3)[..., 0]


@METHODS.register("localisation for free")
@method("[2]", needs=_LABELS, learns=True, effort=3)
def for_free(lab: LineageLab, seed: int) -> Search:
    """Oquab et al. (2015) train a classifier by the maximum of its score maps, which shows where.

    Kept are the score of each cell, global max pooling, and a box: the rectangle of cells whose
    scores exceed the map's mean by the most. Layers below stay frozen, pictures have one size.
    """
    s = lab.settings
    net = cell_classifier(
        *labelled_maps(lab, seed), s.n_steps, s.learning_rate, seed, by_maximum=True
    )

    def of_maps(maps: np.ndarray) -> np.ndarray:
        scores = _scores(net, maps)
        return best_boxes(of_class(scores, scores.max(axis=(1, 2)).argmax(axis=1)), lab.centre)

    return lab.by_boxes(lambda photos: photos.each(of_maps))


@METHODS.register("self-taught localisation")
@method("[19]", grid=[{"price": p} for p in (0.5, 0.75, 1.0)], needs=_LABELS, learns=True, effort=3)
def self_taught(lab: LineageLab, seed: int, price: float) -> Search:
    """Bergamo et al. (2014) mask regions: where the class score drops most, there is the object.

    Kept are the drop of the named class's log-probability, over all rectangles of cells, as a
    share of the largest, and a price of their area. Cells of the last map are masked, by the mean
    cell, and no pixels, so that one pass is enough; their merging of segments is left out.
    """
    s, (maps, labels) = lab.settings, labelled_maps(lab, seed)
    learn = partial(cell_classifier, maps, labels, s.n_steps, s.learning_rate, seed)
    net = lab.once(("classifier by mean", seed), partial(learn, by_maximum=False))
    g = maps.shape[1]
    regions = all_rectangles(g)
    area = np.array([(b - a) * (y - x) for a, b, x, y in regions], np.float32) / g**2
    ground = _scores(net, maps).mean(axis=(0, 1, 2))  # of the mean cell, (C,)

    def shares(cells: np.ndarray) -> np.ndarray:
        """Of the largest drop, for each region: (n, r)."""
        drop = score_drops(_scores(net, cells), ground, regions)
        return drop / np.maximum(drop.max(axis=1, keepdims=True), 1e-9)

    dropped = lab.shared(("drops", seed), lambda photos: photos.each(shares))
    boxes = as_shares(regions, g)
    return lab.by_boxes(lambda photos: boxes[(dropped(photos) - price * area).argmax(axis=1)])


def score_drops(scores: np.ndarray, ground: np.ndarray, regions: Any) -> np.ndarray:
    """What the named class's log-probability loses by masking each region: (n, r).

    `scores`, (n, G, G, C), are of cells, whose mean is the class score; a masked cell has those of
    the ground, (C,).
    """
    n_cells = scores.shape[1] * scores.shape[2]
    whole = scores.mean(axis=(1, 2))  # (n, C)
    masked = whole[:, None] - region_sums(scores - ground, regions) / n_cells  # (n, r, C)
    named = whole.argmax(axis=1)[:, None]
    before = np.take_along_axis(_log_softmax(whole), named, axis=1)
    after = np.take_along_axis(_log_softmax(masked), named[:, None], axis=2)[..., 0]
    return np.asarray(before - after)


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    top = scores - scores.max(axis=-1, keepdims=True)
    return top - np.log(np.exp(top).sum(axis=-1, keepdims=True))


@METHODS.register("multi-fold multiple instances")
@method("[15]", grid=[{"rounds": 1}, {"rounds": 3}], needs=_LABELS, learns=True, effort=3)
def multi_fold(lab: LineageLab, seed: int, rounds: int) -> Search:
    """Cinbis et al. (2017) learn detectors from image labels, and choose each photo's window by
    detectors that were learned on other folds.

    Kept are folds, rounds and linear classifiers, from the whole photo on; proposals are all
    rectangles of the last map's cells with at least half its sides. Fisher vectors, selective
    search and refinement by edges are left out.
    """
    maps, labels = labelled_maps(lab, seed)
    return lab.by_boxes(multi_fold_boxes(maps, labels, rounds, seed))


def multi_fold_boxes(
    maps: np.ndarray, labels: np.ndarray, rounds: int, seed: int, n_folds: int = 3
) -> Callable[[Pictures], np.ndarray]:
    """What `multi_fold` learns of unit maps (n, G, G, c) and labels (n,): photos → boxes."""
    from sklearn.linear_model import RidgeClassifier  # slow to import

    g, classes = maps.shape[1], np.unique(labels)
    regions = all_rectangles(g, least=max(1, g // 2))
    cells = maps.reshape(-1, maps.shape[-1])
    some = cells[:: max(1, len(cells) // 20_000)]
    axes = components(some, 64).components_.T.astype(np.float32)

    def windows(of: np.ndarray) -> np.ndarray:
        return unit(region_sums(of @ axes, regions))  # (n, r, d)

    offered = windows(maps)
    whole = int(np.argmax([(b - a) * (y - x) for a, b, x, y in regions]))
    chosen = np.full(len(maps), whole)
    fold = generator(seed, "folds").permutation(len(maps)) % n_folds
    column = {name: number for number, name in enumerate(classes)}

    def learn(rows: np.ndarray) -> Any:
        return RidgeClassifier(alpha=1.0).fit(offered[rows, chosen[rows]], labels[rows])

    def scores(by: Any, of: np.ndarray) -> np.ndarray:
        """Of each window for each class, (n, r, C)."""
        found = by.decision_function(of.reshape(-1, of.shape[-1])).reshape(*of.shape[:2], -1)
        if found.shape[2] == 1:  # of two classes, the second one's alone
            found = np.concatenate([-found, found], axis=2)
        full = np.full((*of.shape[:2], len(classes)), -np.inf)
        full[..., [column[name] for name in by.classes_]] = found
        return full

    for _ in range(rounds):
        following = chosen.copy()
        for part in range(n_folds):
            mine, others = np.flatnonzero(fold == part), np.flatnonzero(fold != part)
            if len(mine) and len(np.unique(labels[others])) > 1:
                found = scores(learn(others), offered[mine])
                own = np.array([column[name] for name in labels[mine]])
                following[mine] = found[np.arange(len(mine)), :, own].argmax(axis=1)
        chosen = following
    final, boxes = learn(np.arange(len(maps))), as_shares(regions, g)

    def of_maps(some: np.ndarray) -> np.ndarray:
        found = scores(final, windows(unit(some)))
        named = found.max(axis=1).argmax(axis=1)
        return boxes[found[np.arange(len(some)), :, named].argmax(axis=1)]

    return lambda photos: photos.each(of_maps)


@METHODS.register("occlusion")
@method("[5]", needs=["true boxes"], is_slow=True, effort=3)
def occlusion(lab: LineageLab, seed: int) -> Search:
    """Zeiler and Fergus (2014) cover patch after patch, to see by what the answer is moved.

    Kept is how far the feature moves, cell by cell, and a box of it, whose IoU with the true one
    says whether the network looks at the object. Deconvolution is left out; a few photos are asked.
    """

    def locate(photos: Pictures) -> np.ndarray:
        moved = [moved_by_patches(lab.ground, square) for square in photos.squares]
        return best_boxes(np.stack(moved))

    return Search(locate=locate)


def moved_by_patches(ground: Any, square: np.ndarray) -> np.ndarray:
    """1 − cosine of the features of a picture, uint8 (S, S, 3), and of it covered: (6, 6)."""
    px = len(square)
    centres = (np.arange(_N_PLACES) + 0.5) / _N_PLACES
    spans = np.stack([centres - _PATCH / 2, centres + _PATCH / 2], axis=1).clip(0, 1)
    covered = np.repeat(square[None], _N_PLACES**2 + 1, axis=0)
    places = [(rows, columns) for rows in spans for columns in spans]
    for copy, place in zip(covered[1:], places, strict=True):
        (top, bottom), (left, right) = (np.round(side * px).astype(int) for side in place)
        copy[top:bottom, left:right] = _GREY
    features = unit(ground.look(covered)[LAST].astype(np.float32).mean(axis=(1, 2)))
    return (1 - features[1:] @ features[0]).reshape(_N_PLACES, _N_PLACES)
