"""Boxes from clicks, by a network that stays as it was pretrained (paper section 3.2).

The paper's boxes come from the triplet loss through a mask. On photographs, with some hundred
products to learn from, that pull is too weak. Clicks say something simpler: what a clicked
catalogue picture shows before its plain ground are goods. Three linear steps follow from it.

1. *Goods or anything*: cells of clicked pictures that differ from the picture's edge, against all
   cells of training photos, which hold goods and surroundings alike (learning from positive and
   unlabelled examples).
2. Each training photo's box by that score is its pseudo-box.
3. *Within or without*: cells within the pseudo-boxes against those without. Now both sides are
   photos, so that nothing is left of what tells a studio from a street.

Both scores are Fisher's linear discriminants of local features, the last map of stride 16 of a
pretrained network. A photo's box is the rectangle of cells whose scores exceed the photo's mean
by the most in sum. No setting is chosen on a shop's photos, and a photo asked later needs no click.
The design is not blind to labels: stage, a single round of step 3 (a second made boxes worse) and
the alignment of cells were settled with true boxes of vpr2023's training and validation photos in
view.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from vsa.data.images import load_images
from vsa.embedding.local import (
    LocalFeatures,
    first_centre,
    in_batches,
    local_features,
    pretrained_features,
)
from vsa.embedding.task import EmbeddingTask
from vsa.models.backbones import without_weights
from vsa.runtime.device import Device
from vsa.runtime.fingerprint import key, state_digest

VERSION = 1
N_LIKELY = 5  # boxes of a photo that are worth showing, at most
MAX_PHOTOS, MAX_CLICKED = 500, 300  # that are learned from: more change next to nothing
_SHRINKAGE = 0.1  # of the covariance towards a multiple of the identity
_LEAST = 0.2  # of the best box's excess: what another one is worth that is shown beside it
_GROUND = 0.4  # of the way from a picture's ground to its most different cell: from there, goods


@dataclass(frozen=True)
class Objectness:
    """A linear score of local features, high on goods, and the boxes that it gives."""

    net: LocalFeatures
    weight: np.ndarray  # float32 (c,)
    image_px: int  # of the square pictures that it sees
    centre: float  # of the first cell, in cells from the picture's edge; see `first_centre`

    def boxes(self, images: np.ndarray, device: Device) -> np.ndarray:
        """Boxes of images, uint8 (n, S, S, 3): float32 (n, 4), shares of the sides."""
        found = [np.empty((0, 4), np.float32)]
        for part in in_batches(images, "locate goods"):
            scores = local_features(self.net, part, device) @ self.weight
            found.append(best_boxes(scores, self.centre))
        return np.concatenate(found)

    def likely_boxes(self, images: np.ndarray, device: Device) -> list[np.ndarray]:
        """Of each image its box, and after it those of other things, float32 (m, 4) each.

        Of m boxes, at most `N_LIKELY`, the first is that of `boxes`. Others lie beside it.
        """
        found = []
        for part in in_batches(images):
            scores = local_features(self.net, part, device) @ self.weight
            found += [apart_boxes(score, self.centre) for score in scores]
        return found

    @property
    def digest(self) -> str:
        """What tells it from others, for caches."""
        state = dict(self.net.state_dict()) | {"score": torch.from_numpy(self.weight)}
        return key({"objectness": VERSION}, state=state_digest(state), px=self.image_px)


def learn_objectness(
    task: EmbeddingTask,
    root: Path,
    architecture: str,
    image_px: int,
    device: Device,
    cache: Path | None = None,
    *,
    boxes: np.ndarray | None = None,
) -> Objectness:
    """Learn from the clicks of training photos; their boxes and products are not looked at.

    With `boxes`, float32 (n, 4) of all queries, it learns from these in place of the clicks.

    Of many photos, `MAX_PHOTOS` evenly over the table are taken, and of pictures the `MAX_CLICKED`
    that were clicked most. Raises InputError for a backbone that has no map of this stride, or
    whose ImageNet weights cannot be had.

    Parameters
    ----------
    root, cache : of the pictures' files, as of `vsa.data.images.load_images`.
    image_px : of the squares that local features are taken from.
    """
    net = pretrained_features(architecture, device)
    rows = task.rows("train")
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MAX_PHOTOS)).astype(int))]
    centre = first_centre(net, device)

    def features(table: pd.DataFrame, chosen: np.ndarray) -> np.ndarray:
        squares = load_images(root, table.path.iloc[chosen].tolist(), image_px, cache)
        return local_features(net, squares, device)

    photos = features(task.queries, rows)
    if boxes is not None:
        return Objectness(net, learn_from_boxes(photos, boxes[rows], centre), image_px, centre)
    n_clicks = count_clicks(task)
    clicked = np.argsort(-n_clicks, kind="stable")[: min(MAX_CLICKED, int((n_clicks > 0).sum()))]
    pictures = features(task.catalogue, clicked)
    weight = learn_from_clicks(photos, pictures, n_clicks[clicked], centre)
    return Objectness(net, weight, image_px, centre)


def count_clicks(task: EmbeddingTask) -> np.ndarray:
    """How often each catalogue picture was clicked for training photos, int64 (m,)."""
    pages = task.pages.of(task.rows("train"))
    return np.bincount(pages.image[pages.clicked], minlength=len(task.catalogue))


def learn_from_clicks(
    photos: np.ndarray, clicked: np.ndarray, n_clicks: np.ndarray, centre: float = 0.5
) -> np.ndarray:
    """The score that clicks teach, float32 (c,): the three steps above.

    Parameters
    ----------
    photos : local features of training photos, float32 (n, G, G, c).
    clicked : of catalogue pictures that were clicked for them, float32 (m, G, G, c).
    n_clicks : how often each was, (m,).
    centre : as of `Objectness`.
    """
    scale = _spread(photos)
    photos, clicked = photos / scale, clicked / scale
    goods = before_ground(clicked)
    weights = np.broadcast_to(np.asarray(n_clicks, float)[:, None, None], goods.shape)[goods]
    cells = photos.reshape(-1, photos.shape[-1])
    first = _discriminant(clicked[goods], cells, weights)
    pseudo = best_boxes(photos @ first, centre)
    return (_within_or_without(photos, pseudo, centre) / scale).astype(np.float32)


def learn_from_boxes(photos: np.ndarray, boxes: np.ndarray, centre: float = 0.5) -> np.ndarray:
    """The score that drawn boxes, float32 (n, 4), would teach: what clicks are compared with."""
    scale = _spread(photos)
    return (_within_or_without(photos / scale, boxes, centre) / scale).astype(np.float32)


def before_ground(maps: np.ndarray) -> np.ndarray:
    """Which cells of pictures (n, G, G, c) differ from the picture's edge, bool (n, G, G)."""
    edge = np.ones(maps.shape[1:3], bool)
    edge[1:-1, 1:-1] = False
    ground = maps[:, edge].mean(axis=1)
    distance = np.linalg.norm(maps - ground[:, None, None], axis=-1)
    flat = distance.reshape(len(maps), -1)
    low, high = np.quantile(flat, 0.1, axis=1), flat.max(axis=1)
    return distance > (low + _GROUND * (high - low))[:, None, None]


def best_boxes(scores: np.ndarray, centre: float = 0.5) -> np.ndarray:
    """The rectangle of cells whose scores exceed their picture's mean by the most in sum.

    Parameters
    ----------
    scores : (n, G, G), rows from the top.
    centre : as of `Objectness`; the outermost cells reach to the picture's edge.

    Returns
    -------
    float32 (n, 4), shares of the sides.
    """
    n, g, _ = scores.shape
    excess = scores - scores.mean(axis=(1, 2), keepdims=True)
    sides = _edges(g, centre)
    boxes = np.empty((n, 4), np.float32)
    for row, cells in enumerate(excess):
        x_low, y_low, x_high, y_high, _ = _best_rectangle(cells)
        boxes[row] = sides[x_low], sides[y_low], sides[x_high], sides[y_high]
    return boxes


def apart_boxes(scores: np.ndarray, centre: float = 0.5, n_most: int = N_LIKELY) -> np.ndarray:
    """The best rectangle of one picture's scores (G, G), then the best beside it, and so on.

    What was found is taken away before the next is looked for. They end where one exceeds the
    mean by less than a fifth of what the first does.

    Returns
    -------
    float32 (m, 4) with 1 ≤ m ≤ `n_most`, shares of the sides.
    """
    excess = (scores - scores.mean()).astype(float)
    never = -np.abs(excess).sum()  # which no rectangle makes up for
    sides, first = _edges(len(scores), centre), 0.0
    found: list[list[float]] = []
    for _ in range(n_most):
        x_low, y_low, x_high, y_high, total = _best_rectangle(excess)
        first = first or total
        if found and total < _LEAST * first:
            break
        found.append([sides[x_low], sides[y_low], sides[x_high], sides[y_high]])
        excess[y_low:y_high, x_low:x_high] = never
    return np.array(found, np.float32)


def _best_rectangle(excess: np.ndarray) -> tuple[int, int, int, int, float]:
    """Sides of the rectangle of greatest sum in (G, G): left, top, right, bottom; and the sum."""
    g = len(excess)
    sums = np.zeros((g + 1, g + 1))
    sums[1:, 1:] = excess.cumsum(axis=0).cumsum(axis=1)
    low, high = np.triu_indices(g + 1, 1)
    strips = sums[high] - sums[low]  # (pairs, G + 1): rows low to high, summed from the left
    totals = strips[:, high] - strips[:, low]
    y, x = np.divmod(totals.argmax(), len(low))
    return int(low[x]), int(low[y]), int(high[x]), int(high[y]), float(totals[y, x])


def write_objectness(folder: Path, found: Objectness) -> None:
    """Write it into an empty folder, in one file."""
    state = {k: v.cpu() for k, v in found.net.state_dict().items()}
    about = {
        "architecture": found.net.architecture,
        "image_px": found.image_px,
        "centre": found.centre,
        "weight": torch.from_numpy(found.weight),
    }
    torch.save({"network": state} | about, folder / "objectness.pth")


def read_objectness(folder: Path, device: Device) -> Objectness:
    """What `write_objectness` wrote, with its network on a device."""
    told = torch.load(folder / "objectness.pth", weights_only=True, map_location="cpu")
    with without_weights(told["architecture"]):
        net = LocalFeatures(told["architecture"])
    net.load_state_dict(told["network"], assign=True)
    net.to(device.device, memory_format=device.memory_format).eval()
    return Objectness(net, told["weight"].numpy(), told["image_px"], told["centre"])


def _edges(g: int, centre: float) -> np.ndarray:
    """Where cells begin and end, as shares of the side: (g + 1,)."""
    edges = (np.arange(g + 1) + centre - 0.5) / g
    edges[0], edges[-1] = 0, 1
    return edges.clip(0, 1)


def _within_or_without(photos: np.ndarray, boxes: np.ndarray, centre: float) -> np.ndarray:
    at = (np.arange(photos.shape[1]) + centre) / photos.shape[1]
    columns, rows = (
        (at >= boxes[:, None, i]) & (at <= boxes[:, None, i + 2]) for i in (0, 1)
    )  # (n, G) each
    within = rows[:, :, None] & columns[:, None, :]
    return _discriminant(photos[within], photos[~within])


def _discriminant(
    first: np.ndarray, second: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Fisher's linear discriminant of two sets of cells, (n, c) and (m, c), shrunk: (c,)."""
    mean = np.average(first, axis=0, weights=weights)
    other = second.mean(axis=0)
    within = (_covariance(first, mean, weights) + _covariance(second, other)) / 2
    ridge = _SHRINKAGE * np.trace(within) / len(within) * np.eye(len(within))
    return np.linalg.solve(within + ridge, mean - other)


def _covariance(
    cells: np.ndarray, mean: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    off = cells - mean.astype(cells.dtype)
    if weights is None:
        return (off.T @ off / len(off)).astype(float)
    return ((off * (weights / weights.sum())[:, None].astype(off.dtype)).T @ off).astype(float)


def _spread(maps: np.ndarray) -> np.ndarray:
    spread = maps.reshape(-1, maps.shape[-1]).std(axis=0)
    return np.where(spread > 0, spread, 1).astype(np.float32)
