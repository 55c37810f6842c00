"""Training of the category classifier (paper section 3.1): softmax, random crops, flips.

Either the whole network learns, as the paper's, or only a softmax over a pretrained one
(`vsa.category.head`).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from vsa.category.batches import crop_batches
from vsa.category.head import look, train_head
from vsa.category.model import CategoryNet
from vsa.category.settings import ClassifierSettings
from vsa.runtime.batches import to_tensor
from vsa.runtime.device import Device
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
    images : uint8 (n, S, S, 3) with S = ``settings.stored_px``.
    labels : int64 (n,) in [0, n_classes).
    checkpoint : as of `vsa.runtime.training.fit`.

    Returns
    -------
    The network, and its log: columns step, loss, wait_ms (the loop waited for data), step_ms.
    """
    if settings.trains == "head":
        views = look(images, settings, device)
        return train_head(views, labels, n_classes, settings, device, seed, description, checkpoint)
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
