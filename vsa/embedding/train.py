"""Training of the joint network (paper section 3.2): features, boxes, or both, from triplets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vsa.embedding.joint import MIN_SIDE, JointNet
from vsa.embedding.losses import TripletBatch, evaluate
from vsa.embedding.triplets import DrawnTriplets, TripletSource
from vsa.runtime.batches import to_tensor
from vsa.runtime.device import Device
from vsa.runtime.seeds import generator
from vsa.runtime.training import Group, fit

VERSION = 1  # of what stages and supervised boxes learn from a batch
_WHOLE = (-1.0, -1.0, 2.0, 2.0)  # a box so far outside that the mask is 1 everywhere


@dataclass(frozen=True)
class Stage:
    """What one training stage learns, and how."""

    trains: Literal["features", "boxes", "both"]
    n_steps: int
    n_triplets: int  # m
    loss: str  # a name of vsa.embedding.losses.LOSSES
    margin: float  # δ
    learning_rate: float  # of the feature branch
    box_learning_rate: float = 0.0
    slope: tuple[float, float] = (30.0, 30.0)  # k at the first and the last step
    size_prior: float = 0.0  # weight of (mean side − expected side)², over a batch
    expected_side: float = 0.7


@dataclass(frozen=True)
class Images:
    """Square images of the tables' rows, uint8 (n, S, S, 3); a read-only memory map will do."""

    queries: np.ndarray
    catalogue: np.ndarray


def train_stage(
    net: JointNet,
    stage: Stage,
    source: TripletSource,
    images: Images,
    device: Device,
    seed: int,
    checkpoint: Path,
    description: str = "train",
) -> pd.DataFrame:
    """Train `net` in place; the log has one row per step.

    Columns: step, loss, active_share (of triplet terms above zero), feature_cosine (mean between
    different queries: 1 where features have collapsed), mean_side and centre_spread of the boxes
    (NaN where none are learned), wait_ms (for data) and step_ms.

    Continues from `checkpoint`, as `vsa.runtime.training.fit` does, and raises as that and
    `vsa.embedding.losses.evaluate` do.
    """
    whole = torch.tensor(_WHOLE, device=device.device)
    learns_features, learns_boxes = stage.trains != "boxes", stage.trains != "features"
    net.requires_grad_(learns_features)
    net.localiser.requires_grad_(learns_boxes)

    def loss_of(
        batch: tuple[np.ndarray, DrawnTriplets], step: int
    ) -> tuple[Tensor, dict[str, float | Tensor]]:
        pictures, drawn = batch
        net.train_branches(features=learns_features, boxes=learns_boxes)
        start, end = stage.slope
        slope = start + (end - start) * step / stage.n_steps
        with device.autocast():
            triplets, boxes = _forward(net, to_tensor(pictures, device), drawn, stage, slope, whole)
        loss = evaluate(stage.loss, triplets, stage.margin)
        value = loss.value
        if boxes is not None and stage.size_prior:
            sides = (boxes[:, 2:] - boxes[:, :2]).mean(dim=0)
            value = value + stage.size_prior * (sides - stage.expected_side).square().sum()
        return value, {"active_share": loss.active_share} | _health(triplets.query, boxes)

    batches = partial(_batches, source, images, stage, seed)
    log = fit(net, _groups(net, stage), batches, loss_of, stage.n_steps, description, checkpoint)
    net.requires_grad_(True)
    return log


def find_trouble(log: pd.DataFrame) -> list[str]:
    """What went wrong in training although the loss was finite, with the likely cause."""
    end = log.tail(20).mean()
    trouble = []
    if end.feature_cosine > 0.98:
        trouble.append(
            f"features have collapsed (mean cosine {end.feature_cosine:.3f} between different "
            "queries): the learning rate is probably too high, or all negatives too hard"
        )
    if end.mean_side > 0.95:
        trouble.append(
            f"boxes have grown to the whole image (mean side {end.mean_side:.2f}): covering "
            "nothing is the nearest optimum of a joint training without a size prior"
        )
    if end.mean_side < MIN_SIDE + 0.05:
        trouble.append(
            f"boxes have shrunk to the smallest (mean side {end.mean_side:.2f}): the size prior "
            "is probably too weak for the slope"
        )
    if end.centre_spread < 0.01:
        trouble.append(
            f"all boxes have one centre (standard deviation {end.centre_spread:.3f} of the side): "
            "the learning rate of the boxes is probably too low, or the slope too steep"
        )
    if end.active_share == 0:
        trouble.append("no triplet is active any more: the margin is probably too small")
    return trouble


def _forward(
    net: JointNet,
    images: Tensor,
    drawn: DrawnTriplets,
    stage: Stage,
    slope: float,
    whole: Tensor,
) -> tuple[TripletBatch, Tensor | None]:
    """Features of m queries, m positives and m negatives, stacked in this order; query boxes.

    Catalogue pictures show one product each, so only the query is masked.
    """
    m = len(drawn.query)
    boxes = None if stage.trains == "features" else net.locate(images[:m])
    if boxes is None:
        features = net.embed(images)
    elif stage.trains == "both":
        masks = torch.cat([boxes, whole.expand(2 * m, 4)])
        features = net.embed(images, masks, slope)
    else:
        with torch.no_grad():
            catalogue = net.embed(images[m:])
        features = torch.cat([net.embed(images[:m], boxes, slope), catalogue])
    query, positive, negative = features.split(m)
    ids = torch.from_numpy(drawn.query).to(images.device)
    allowed = torch.from_numpy(drawn.allowed).to(images.device)
    return TripletBatch(query, positive, negative, ids, allowed), boxes


def _batches(
    source: TripletSource, images: Images, stage: Stage, seed: int, first: int
) -> Iterator[tuple[np.ndarray, DrawnTriplets]]:
    """Images (3m, S, S, 3) of each step's triplets, half of them mirrored, from step `first` on."""
    for step in range(first, stage.n_steps):
        drawn = source.draw(stage.n_triplets, seed, step)
        batch = np.concatenate(
            [
                images.queries[drawn.query],
                images.catalogue[drawn.positive],
                images.catalogue[drawn.negative],
            ]
        )
        mirrored = generator(seed, "mirror", step).random(len(batch)) < 0.5
        batch[mirrored] = batch[mirrored, :, ::-1]
        yield batch, drawn


def _groups(net: JointNet, stage: Stage) -> list[Group]:
    groups = {
        "features": Group(
            [*net.backbone.parameters(), *net.head.parameters()], stage.learning_rate
        ),
        "boxes": Group([*net.localiser.parameters()], stage.box_learning_rate),
    }
    return [groups[stage.trains]] if stage.trains != "both" else [*groups.values()]


@torch.no_grad()
def _health(query: Tensor, boxes: Tensor | None) -> dict[str, float | Tensor]:
    m = len(query)
    cosines = query @ query.T
    between = (cosines.sum() - cosines.trace()) / max(m * (m - 1), 1)
    if boxes is None:
        return {"feature_cosine": between, "mean_side": np.nan, "centre_spread": np.nan}
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    return {
        "feature_cosine": between,
        "mean_side": (boxes[:, 2:] - boxes[:, :2]).mean(),
        "centre_spread": centres.std(dim=0, correction=0).mean(),
    }


def train_boxes_supervised(
    net: JointNet,
    boxes: np.ndarray,
    images: np.ndarray,
    stage: Stage,
    device: Device,
    seed: int,
    checkpoint: Path | None = None,
    description: str = "supervised boxes",
) -> pd.DataFrame:
    """Train the localiser alone on true boxes: what it could reach with labels (a ceiling).

    Parameters
    ----------
    boxes : float32 (n, 4), shares of the sides.
    images : uint8 (n, S, S, 3).

    Returns
    -------
    Log with columns step, loss (mean L1 distance of a side), wait_ms and step_ms.
    """
    net.requires_grad_(False)
    net.localiser.requires_grad_(True)
    size = 2 * stage.n_triplets

    def batches(first: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for step in range(first, stage.n_steps):
            yield labelled_batch(images, boxes, size, generator(seed, "labelled boxes", step))

    def loss_of(
        batch: tuple[np.ndarray, np.ndarray], step: int
    ) -> tuple[Tensor, dict[str, float | Tensor]]:
        pictures, target = batch
        net.train_branches(features=False, boxes=True)
        with device.autocast():
            predicted = net.locate(to_tensor(pictures, device))
        return (predicted - torch.from_numpy(target).to(device.device)).abs().mean(), {}

    log = fit(net, _groups(net, stage), batches, loss_of, stage.n_steps, description, checkpoint)
    net.requires_grad_(True)
    return log


def labelled_batch(
    images: np.ndarray, boxes: np.ndarray, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8 (size, S, S, 3), with their boxes, float32 (size, 4); half are mirrored."""
    rows = rng.choice(len(images), size, replace=len(images) < size)
    batch, target = images[rows], boxes[rows].copy()
    mirrored = rng.random(size) < 0.5
    batch[mirrored] = batch[mirrored, :, ::-1]
    target[mirrored, 0::2] = 1 - target[mirrored, 2::-2]
    return batch, target
