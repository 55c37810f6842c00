"""Training of the category classifier (paper section 3.1): softmax, random crops, flips."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from torch import nn

from vsa.category.model import CategoryNet
from vsa.category.settings import ClassifierSettings
from vsa.runtime.batches import prefetch, to_tensor
from vsa.runtime.device import Device
from vsa.runtime.progress import progress
from vsa.runtime.seeds import generator


def train_classifier(
    images: np.ndarray,
    labels: np.ndarray,
    n_classes: int,
    settings: ClassifierSettings,
    device: Device,
    seed: int,
    description: str = "train",
) -> tuple[CategoryNet, pd.DataFrame]:
    """Train for a fixed number of steps, never for a fixed time.

    Parameters
    ----------
    images : uint8 (n, S, S, 3) with S = ``settings.store_px``.
    labels : int64 (n,) in [0, n_classes).

    Returns
    -------
    The network, and its log: columns step, loss, wait_ms (the loop waited for data), step_ms.
    """
    torch.manual_seed(seed)
    net = CategoryNet(settings.architecture, n_classes, pretrained=settings.pretrained)
    net = net.to(device.device, memory_format=device.memory_format)
    optimizer = torch.optim.AdamW(net.parameters(), lr=settings.learning_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.n_steps, pct_start=0.25
    )
    net.train()
    log = []
    batches = prefetch(crop_batches(images, labels, settings, seed))
    ready = time.perf_counter()
    for step, (crop, target) in enumerate(progress(batches, description, settings.n_steps)):
        arrived = time.perf_counter()
        with device.autocast():
            logits, _ = net(to_tensor(crop, device))
        labels_here = torch.from_numpy(target).to(device.device)
        loss = nn.functional.cross_entropy(logits.float(), labels_here)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        value = loss.item()  # waits for the device, so the times below are whole steps
        if not np.isfinite(value):
            raise FloatingPointError(
                f"the loss is {value} at step {step}: the learning rate "
                f"{settings.learning_rate} is probably too high for {settings.architecture}"
            )
        done = time.perf_counter()
        log.append((step, value, 1e3 * (arrived - ready), 1e3 * (done - ready)))
        ready = done
    return net, pd.DataFrame(log, columns=["step", "loss", "wait_ms", "step_ms"])


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
