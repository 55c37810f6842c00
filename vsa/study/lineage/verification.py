"""Local descriptors with geometric verification, as the refined rank's last step."""

from __future__ import annotations

import numpy as np

from vsa.study.lineage.aggregation import components, sample
from vsa.study.lineage.lab import LineageLab, best_first, reordered
from vsa.study.lineage.methods import METHODS, Search, method
from vsa.study.lineage.pictures import MIDDLE, Pictures, unit

_TOP, _DIM = 20, 64
_SCALES = (0.5, 0.71, 1.0, 1.41, 2.0)  # of the picture against the photo


def inliers(asked: np.ndarray, offered: np.ndarray) -> int:
    """Matches of two maps of unit descriptors, (G, G, d), that agree on one shift and scale.

    A match is a pair of cells that are nearest to each other, both ways. Each votes, at each scale,
    for the shift that would take its cell of the photo to that of the picture; the most votes for
    one shift and its neighbours count (a Hough transform, as in Lowe, 2004, section 7.3).
    """
    g = asked.shape[0]
    similar = asked.reshape(g * g, -1) @ offered.reshape(g * g, -1).T
    there, back = similar.argmax(axis=1), similar.argmax(axis=0)
    cells = np.flatnonzero(back[there] == np.arange(g * g))
    if not len(cells):
        return 0
    of_photo, of_picture = (np.stack(np.divmod(c, g), axis=1) for c in (cells, there[cells]))
    most = 0
    for scale in _SCALES:
        shift = np.floor((of_picture - scale * of_photo) / 1.5 + 3 * g).astype(int)
        votes = np.zeros((6 * g + 2, 6 * g + 2), int)
        np.add.at(votes, tuple(shift.T), 1)
        four = votes[:-1, :-1] + votes[1:, :-1] + votes[:-1, 1:] + votes[1:, 1:]
        most = max(most, int(four.max()))
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
        lambda: components(sample(lab, MIDDLE, seed), _DIM, whiten=True, seed=seed),
    )

    def of_maps(maps: np.ndarray) -> np.ndarray:
        cells = unit(small.transform(maps.reshape(-1, maps.shape[-1])))
        return cells.reshape(*maps.shape[:3], -1).astype(np.float16)

    offered = lab.once(("local of catalogue", seed), lambda: lab.catalogue.each(of_maps, MIDDLE))
    features = lab.catalogue.pooled
    n_cells = offered.shape[1] * offered.shape[2]

    def rank(photos: Pictures) -> np.ndarray:
        cosine = photos.pooled @ features.T
        found = best_first(cosine)
        asked, top = photos.each(of_maps, MIDDLE), found[:, :_TOP]
        agree = np.empty(top.shape, np.float32)
        for row, rows in enumerate(top):
            mine = asked[row].astype(np.float32)
            agree[row] = [inliers(mine, offered[one].astype(np.float32)) for one in rows]
        near = np.take_along_axis(cosine, top, axis=1)
        return reordered(found, near + weight * agree / n_cells)

    return Search(rank, 2 * features.shape[1] + 2 * n_cells * offered.shape[3])
