"""One training loop for every variant (paper section 3.2): features, boxes, or both, from triplets.

The number of steps is fixed, never the time. What a step draws depends on the seed and its number
alone, so a run that continues from a checkpoint sees the batches it would have seen.
"""

from __future__ import annotations

import pickle
import time
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
from vsa.embedding.losses import LOSSES, TripletBatch
from vsa.embedding.triplets import DrawnTriplets, TripletSource
from vsa.runtime.atomic import atomic_file
from vsa.runtime.batches import prefetch, to_tensor
from vsa.runtime.deadline import DEADLINE, Stopped
from vsa.runtime.device import Device
from vsa.runtime.errors import InputError
from vsa.runtime.progress import progress
from vsa.runtime.seeds import generator

_WHOLE = (-1.0, -1.0, 2.0, 2.0)  # a box so far outside that the mask is 1 everywhere
_CHECKPOINT_S = 60.0


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

    With the file `checkpoint` there, training continues from it; it is written every minute, and
    the caller removes it once the result is safe. Raises FloatingPointError where the loss is no
    number, InputError for a checkpoint that cannot be read or written, and Stopped, with the
    checkpoint written, after the first step that ends past `DEADLINE`.
    """
    whole = torch.tensor(_WHOLE, device=device.device)
    net.requires_grad_(stage.trains != "boxes")
    net.localiser.requires_grad_(stage.trains != "features")
    optimizer, schedule = _optimizer(net, stage)
    log = _resume(checkpoint, net, optimizer, schedule)
    batches = prefetch(_batches(source, images, stage, seed, len(log)))
    saved = ready = time.perf_counter()
    for batch, drawn in progress(batches, description, stage.n_steps - len(log)):
        arrived = time.perf_counter()
        step = len(log)
        net.train_branches(features=stage.trains != "boxes", boxes=stage.trains != "features")
        start, end = stage.slope
        slope = start + (end - start) * step / stage.n_steps
        with device.autocast():
            triplets, boxes = _forward(net, to_tensor(batch, device), drawn, stage, slope, whole)
        loss = LOSSES[stage.loss](triplets, stage.margin)
        value = loss.value
        if boxes is not None and stage.size_prior:
            sides = (boxes[:, 2:] - boxes[:, :2]).mean(dim=0)
            value = value + stage.size_prior * (sides - stage.expected_side).square().sum()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
        schedule.step()
        number = value.item()  # waits for the device, so the times below are whole steps
        if not np.isfinite(number):
            raise FloatingPointError(
                f"the loss is {number} at step {step} of {description}: a learning rate "
                f"({stage.learning_rate}, boxes {stage.box_learning_rate}) is probably too high"
            )
        done = time.perf_counter()
        times = (1e3 * (arrived - ready), 1e3 * (done - ready))
        log.append((step, number, loss.active_share, *_health(triplets.query, boxes), *times))
        ready = done
        is_late = DEADLINE.passed()
        if is_late or done - saved > _CHECKPOINT_S:
            _save(checkpoint, net, optimizer, schedule, log)
            saved = done
        if is_late:
            raise Stopped(f"{description}: {len(log)} of {stage.n_steps} steps")
    net.requires_grad_(True)
    return pd.DataFrame(log, columns=_COLUMNS)


_COLUMNS = [
    "step",
    "loss",
    "active_share",
    "feature_cosine",
    "mean_side",
    "centre_spread",
    "wait_ms",
    "step_ms",
]


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


def _optimizer(
    net: JointNet, stage: Stage
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    groups = {
        "features": ([*net.backbone.parameters(), *net.head.parameters()], stage.learning_rate),
        "boxes": ([*net.localiser.parameters()], stage.box_learning_rate),
    }
    chosen = [stage.trains] if stage.trains != "both" else list(groups)
    rates = [groups[name][1] for name in chosen]
    optimizer = torch.optim.AdamW(
        [{"params": groups[name][0], "lr": groups[name][1]} for name in chosen], weight_decay=0.05
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rates, total_steps=stage.n_steps, pct_start=0.25
    )
    return optimizer, schedule


@torch.no_grad()
def _health(query: Tensor, boxes: Tensor | None) -> tuple[float, float, float]:
    m = len(query)
    cosines = query @ query.T
    between = float((cosines.sum() - cosines.trace()) / max(m * (m - 1), 1))
    if boxes is None:
        return between, float("nan"), float("nan")
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    spread = float(centres.std(dim=0, correction=0).mean())
    return between, float((boxes[:, 2:] - boxes[:, :2]).mean()), spread


def _save(
    path: Path,
    net: JointNet,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    log: list[tuple],
) -> None:
    state = {
        "net": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "rng": torch.get_rng_state(),
        "rng_cuda": torch.cuda.get_rng_state_all(),
        "log": log,
    }
    try:
        with atomic_file(path) as draft:
            torch.save(state, draft)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise InputError(
            f"the checkpoint could not be written ({error}); the one before it, if any, is whole",
            cure="Free some space on that disk and start again: training continues from it",
            file=path,
        ) from error


def _resume(
    path: Path,
    net: JointNet,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> list[tuple]:
    if not path.is_file():
        return []
    try:
        state = torch.load(path, weights_only=True)
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["rng"])
        torch.cuda.set_rng_state_all(state["rng_cuda"])
        return list(state["log"])
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.PickleError) as error:
        raise InputError(
            f"the checkpoint does not fit this network or is damaged ({type(error).__name__})",
            cure="Remove it, and this stage is trained from its beginning",
            file=path,
        ) from error


def train_boxes_supervised(
    net: JointNet,
    boxes: np.ndarray,
    images: np.ndarray,
    stage: Stage,
    device: Device,
    seed: int,
    description: str = "supervised boxes",
) -> pd.DataFrame:
    """Train the localiser alone on true boxes: what it could reach with labels (a ceiling).

    Parameters
    ----------
    boxes : float32 (n, 4), shares of the sides.
    images : uint8 (n, S, S, 3).

    Returns
    -------
    Log with columns step and loss (mean L1 distance of a side).
    """
    net.requires_grad_(False)
    net.localiser.requires_grad_(True)
    optimizer, schedule = _optimizer(net, stage)
    log = []
    draw = partial(_labelled_batch, boxes, images, 2 * stage.n_triplets, seed)
    batches = prefetch(draw(step) for step in range(stage.n_steps))
    for step, (batch, target) in enumerate(progress(batches, description, stage.n_steps)):
        net.train_branches(features=False, boxes=True)
        with device.autocast():
            predicted = net.locate(to_tensor(batch, device))
        loss = (predicted - torch.from_numpy(target).to(device.device)).abs().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        log.append((step, loss.item()))
    net.requires_grad_(True)
    return pd.DataFrame(log, columns=["step", "loss"])


def _labelled_batch(
    boxes: np.ndarray, images: np.ndarray, size: int, seed: int, step: int
) -> tuple[np.ndarray, np.ndarray]:
    rng = generator(seed, "labelled boxes", step)
    rows = rng.choice(len(images), size, replace=len(images) < size)
    batch, target = images[rows], boxes[rows].copy()
    mirrored = rng.random(size) < 0.5
    batch[mirrored] = batch[mirrored, :, ::-1]
    target[mirrored, 0::2] = 1 - target[mirrored, 2::-2]
    return batch, target
