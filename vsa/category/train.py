"""Training of the category classifier (paper section 3.1): softmax, random crops, flips."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from vsa.category.model import CategoryNet
from vsa.category.settings import ClassifierSettings
from vsa.runtime.batches import to_tensor
from vsa.runtime.device import Device
from vsa.runtime.seeds import generator
from vsa.runtime.training import Group, fit

VERSION = 1  # of the network's training: batches and loss


def train_classifier(
    images: np.ndarray,
    labels: np.ndarray,
    n_classes: int,
    settings: ClassifierSettings,
    device: Device,
    seed: int,
    description: str = "train",
    checkpoint: Path | None = None,
) -> tuple[CategoryNet, pd.DataFrame]:
    """Train for a fixed number of steps, never for a fixed time.

    Parameters
    ----------
    images : uint8 (n, S, S, 3) with S = ``settings.store_px``.
    labels : int64 (n,) in [0, n_classes).
    checkpoint : as of `vsa.runtime.training.fit`.

    Returns
    -------
    The network, and its log: columns step, loss, wait_ms (the loop waited for data), step_ms.
    """
    torch.manual_seed(seed)
    net = CategoryNet(settings.architecture, n_classes, pretrained=settings.pretrained)
    net = net.to(device.device, memory_format=device.memory_format)
    net.train()

    def batches(first: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return islice(crop_batches(images, labels, settings, seed), first, None)

    def loss_of(
        batch: tuple[np.ndarray, np.ndarray], step: int
    ) -> tuple[torch.Tensor, dict[str, float | torch.Tensor]]:
        crop, target = batch
        with device.autocast():
            logits, _ = net(to_tensor(crop, device))
        labels_here = torch.from_numpy(target).to(device.device)
        return nn.functional.cross_entropy(logits.float(), labels_here), {}

    groups = [Group(net.parameters(), settings.learning_rate)]
    log = fit(net, groups, batches, loss_of, settings.n_steps, description, checkpoint)
    return net, log


def crop_batches(
    images: np.ndarray, labels: np.ndarray, settings: ClassifierSettings, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """``n_steps`` batches of random crops and mirror images, epoch after shuffled epoch."""
    rng = generator(seed, "category batches")
    size, crop = images.shape[1], settings.crop_px
    order = np.empty(0, np.int64)
    for _ in range(settings.n_steps):
        while len(order) < settings.batch_size:
            order = np.concatenate([order, rng.permutation(len(images))])
        chosen, order = order[: settings.batch_size], order[settings.batch_size :]
        corners = rng.integers(0, size - crop + 1, (len(chosen), 2))
        mirrored = rng.random(len(chosen)) < 0.5
        batch = np.empty((len(chosen), crop, crop, 3), np.uint8)
        for slot, (row, (y, x), flip) in enumerate(zip(chosen, corners, mirrored, strict=True)):
            window = images[row, y : y + crop, x : x + crop]
            batch[slot] = window[:, ::-1] if flip else window
        yield batch, labels[chosen]
