"""Local descriptors with geometric verification, as the refined rank's last step."""

from __future__ import annotations

import numpy as np

from vsa.study.index.timing import one_thread
from vsa.study.lineage.aggregation import components, sample
from vsa.study.lineage.lab import LineageLab, best_first, reordered
from vsa.study.lineage.methods import METHODS, Search, method
from vsa.study.lineage.pictures import MIDDLE, Pictures, unit

_TOP, _DIM = 20, 64
_SCALES = (0.5, 0.71, 1.0, 1.41, 2.0)  # of the picture against the photo


def inliers(asked: np.ndarray, offered: np.ndarray) -> np.ndarray:
    """Matches of a map with each of others, (G, G, d) and (k, G, G, d), that agree: int64 (k,).

    A match is a pair of cells that are nearest to each other, both ways, by unit descriptors. Each
    votes, at each scale, for the shift that would take its cell of the photo to that of the
    picture; the most votes for one shift and its neighbours count (a Hough transform, as in Lowe,
    2004, section 7.3).
    """
    k, g = offered.shape[:2]
    n = g * g
    similar = asked.reshape(n, -1) @ offered.reshape(k, n, -1).swapaxes(1, 2)  # (k, n, n)
    there, back = similar.argmax(axis=2), similar.argmax(axis=1)
    picture, cell = np.nonzero(np.take_along_axis(back, there, axis=1) == np.arange(n))
    of_photo, of_picture = (
        np.stack(np.divmod(cells, g), axis=1) for cells in (cell, there[picture, cell])
    )
    side, middle = 2 * g + 3, (4 * g + 2) // 3  # shifts go from −2g to g cells, in steps of 1.5
    most = np.zeros(k, np.int64)
    for scale in _SCALES:
        row, column = np.floor((of_picture - scale * of_photo) / 1.5 + middle).astype(int).T
        flat = np.bincount((picture * side + row) * side + column, minlength=k * side * side)
        votes = flat.reshape(k, side, side)
        four = votes[:, :-1, :-1] + votes[:, 1:, :-1] + votes[:, :-1, 1:] + votes[:, 1:, 1:]
        most = np.maximum(most, four.max(axis=(1, 2)))
    return most


@METHODS.register("local descriptors, verified")
@method("since", grid=[{"weight": w} for w in (0.1, 0.3, 1.0)])
def verified(lab: LineageLab, seed: int, weight: float) -> Search:
    """ILIAS (2025) finds that local descriptors help as the last step, in clutter above all.

    Kept are cells of the middle map as descriptors, matched both ways and verified by votes for a
    shift and a scale, over the first twenty results; descriptors trained for matching are left out.
    """
    small = lab.once(
        ("local", seed),
        lambda: components(sample(lab, MIDDLE, seed), _DIM, whiten=True),
    )

    def of_maps(maps: np.ndarray) -> np.ndarray:
        cells = unit(small.transform(maps.reshape(-1, maps.shape[-1])))
        return cells.reshape(*maps.shape[:3], -1).astype(np.float16)

    offered = lab.once(("local of catalogue", seed), lambda: lab.catalogue.each(of_maps, MIDDLE))
    features = lab.catalogue.pooled
    n_cells = offered.shape[1] * offered.shape[2]

    def verify(photos: Pictures) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Results by appearance, (n, 60), and cosines and inliers of the first, (n, 20) each."""
        cosine = photos.pooled @ features.T
        found = best_first(cosine)
        asked, top = photos.each(of_maps, MIDDLE).astype(np.float32), found[:, :_TOP]
        with one_thread():  # a photo is too little work to share
            agree = [
                inliers(mine, offered[rows].astype(np.float32))
                for mine, rows in zip(asked, top, strict=True)
            ]
        return found, np.take_along_axis(cosine, top, axis=1), np.stack(agree)

    found_by = lab.shared(("verified", seed), verify)

    def rank(photos: Pictures) -> np.ndarray:
        found, near, agree = found_by(photos)
        return reordered(found, near + weight * agree / n_cells)

    return Search(rank, 2 * features.shape[1] + 2 * n_cells * offered.shape[3])
