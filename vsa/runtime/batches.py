"""From arrays of images to tensors on the device, one batch ahead of the training loop."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch

from vsa.runtime.device import Device

T = TypeVar("T")


def prefetch(batches: Iterator[T]) -> Iterator[T]:
    """The same items, each made in a thread while the one before is in use."""
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(next, batches, None)
        while (batch := pending.result()) is not None:
            pending = pool.submit(next, batches, None)
            yield batch


def to_tensor(images: np.ndarray, device: Device) -> torch.Tensor:
    """uint8 (B, H, W, 3) → uint8 tensor (B, 3, H, W) on the device, channels last in memory.

    A GPU fetches it from pinned memory by itself, while Python goes on.
    """
    tensor = torch.from_numpy(images)
    if device.device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.permute(0, 3, 1, 2).to(device.device, non_blocking=True)
