"""A softmax over features of a pretrained backbone that stays as it is (paper section 3.1).

Few photographs do not move a whole network far, and moving it takes long. Here every picture is
looked at once by the frozen backbone, at the size that its weights were made for: whole, mirrored,
and as some random crops, so that the softmax judges whole photos and crops alike. It learns from
these features within seconds; the search branch votes with the same features.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from vsa.category.batches import resized_crops
from vsa.category.model import CategoryNet, extract
from vsa.category.settings import ClassifierSettings
from vsa.runtime.device import Device
from vsa.runtime.seeds import generator
from vsa.runtime.training import Group, fit

VERSION = 1  # of the views, and of what is learned from them


def look(
    images: np.ndarray, settings: ClassifierSettings, device: Device, description: str = "look"
) -> np.ndarray:
    """Features of training pictures in all their views, float32 (v, n, d).

    Views are the whole picture, its mirror image, and ``head.n_crops`` random crops whose sides
    are at least ``min_scale`` of the picture's. All seeds learn from the same views.

    Parameters
    ----------
    images : uint8 (n, S, S, 3) with S = ``settings.stored_px``.
    """
    net = _placed(CategoryNet(settings.architecture, 1, pretrained=settings.pretrained), device)
    rng, px = generator(0, "category views"), settings.seen_px
    every = np.arange(len(images))

    def view(number: int) -> np.ndarray:
        if number < 2:
            return images if number == 0 else images[:, :, ::-1]
        return resized_crops(images, every, px, settings.min_scale, rng)

    return np.stack(
        [
            extract(net, view(number), px, device, description=f"{description}, view {number + 1}")
            for number in range(2 + settings.head.n_crops)
        ]
    )


def train_head(
    views: np.ndarray,
    labels: np.ndarray,
    n_classes: int,
    settings: ClassifierSettings,
    device: Device,
    seed: int,
    description: str = "train softmax",
    checkpoint: Path | None = None,
) -> tuple[CategoryNet, pd.DataFrame]:
    """The frozen backbone with a softmax that has learned from its features.

    Parameters
    ----------
    views : float32 (v, n, d), as of `look`.
    labels : int64 (n,) in [0, n_classes).
    checkpoint : as of `vsa.runtime.training.fit`.

    Returns
    -------
    The network, and the log of `vsa.runtime.training.fit`.
    """
    torch.manual_seed(seed)
    net = CategoryNet(settings.architecture, n_classes, pretrained=settings.pretrained)
    net = _placed(net, device)
    for parameter in net.head.parameters():
        nn.init.zeros_(parameter)

    def batches(first: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return islice(_view_batches(views, labels, settings, seed), first, None)

    def loss_of(
        batch: tuple[np.ndarray, np.ndarray], step: int
    ) -> tuple[torch.Tensor, dict[str, float | torch.Tensor]]:
        features, target = (torch.from_numpy(part).to(device.device) for part in batch)
        return nn.functional.cross_entropy(net.head(features), target), {}

    head = settings.head
    groups = [Group(net.head.parameters(), head.learning_rate)]
    log = fit(net.head, groups, batches, loss_of, head.n_steps, description, checkpoint)
    return net, log


def _view_batches(
    views: np.ndarray, labels: np.ndarray, settings: ClassifierSettings, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of features, each of a picture and a view drawn at random."""
    rng = generator(seed, "category head batches")
    n_views, n_pictures, _ = views.shape
    for _ in range(settings.head.n_steps):
        rows = rng.integers(0, n_pictures, settings.head.batch_size)
        yield views[rng.integers(0, n_views, len(rows)), rows], labels[rows]


def _placed(net: CategoryNet, device: Device) -> CategoryNet:
    return net.to(device.device, memory_format=device.memory_format).eval()
