"""Images → features and boxes (paper section 3.2), for one query or for a whole catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch

from vsa.embedding.joint import FeatureNet, JointNet
from vsa.runtime.atomic import atomic_dir, atomic_file
from vsa.runtime.batches import to_tensor
from vsa.runtime.device import Device
from vsa.runtime.progress import progress

VERSION = 1
FULL_BOX = np.array([0, 0, 1, 1], np.float32)
MASK_SLOPE = 30.0  # k at which every network ends its training


@dataclass(frozen=True)
class Description:
    """What the network says of n images."""

    features: np.ndarray  # float32 (n, d), unit length
    boxes: np.ndarray  # float32 (n, 4), shares of the sides: what the feature was taken from


@torch.inference_mode()
def describe(
    net: FeatureNet,
    images: np.ndarray,
    device: Device,
    *,
    boxes: np.ndarray | Literal["own"] | None = None,
    batch_size: int = 64,
    description: str = "describe",
) -> Description:
    """Features and boxes of images, uint8 (n, S, S, 3).

    The feature is that of the whole image; with `boxes`, float32 (n, 4), of what the mask of those
    leaves; with ``"own"``, of what the mask of the learned box leaves, in one pass of a `JointNet`.
    """
    net.eval()
    features, found = [], []
    for start in progress(range(0, len(images), batch_size), description):
        batch = to_tensor(np.array(images[start : start + batch_size]), device)
        with device.autocast():
            if boxes is None:
                seen = None
            elif isinstance(boxes, str):
                seen = cast("JointNet", net).locate(batch)
            else:
                seen = torch.from_numpy(boxes[start : start + batch_size]).to(batch.device)
            feature = net.embed(batch, seen, MASK_SLOPE)
        features.append(feature.cpu().numpy())
        whole = np.tile(FULL_BOX, (len(batch), 1))
        found.append(whole if seen is None else seen.float().cpu().numpy())
    if not features:
        d = net.dim
        return Description(np.empty((0, d), np.float32), np.empty((0, 4), np.float32))
    return Description(np.concatenate(features), np.concatenate(found))


@torch.inference_mode()
def locate(
    net: JointNet, images: np.ndarray, device: Device, *, batch_size: int = 64
) -> np.ndarray:
    """Learned boxes of images, uint8 (n, S, S, 3): float32 (n, 4), shares of the sides."""
    net.eval()
    boxes = [np.empty((0, 4), np.float32)]
    for start in progress(range(0, len(images), batch_size), "locate"):
        batch = to_tensor(np.array(images[start : start + batch_size]), device)
        with device.autocast():
            boxes.append(net.locate(batch).float().cpu().numpy())
    return np.concatenate(boxes)


def describe_catalogue(
    net: FeatureNet,
    images: np.ndarray,
    device: Device,
    folder: Path,
    *,
    boxes: np.ndarray | Literal["own"] | None = None,
    chunk_size: int = 8192,
) -> Description:
    """As `describe`, through files in `folder`: in bounded memory, and resumable.

    Chunks already there are not computed again; the caller names the folder after network and
    images. Returns memory-mapped arrays.
    """
    target = folder / "whole"
    if not target.is_dir():
        parts = []
        for number, start in enumerate(range(0, len(images), chunk_size)):
            part = folder / f"part-{start:09d}-{chunk_size}.npz"
            if not part.is_file():
                chunk = images[start : start + chunk_size]
                given = boxes
                if isinstance(boxes, np.ndarray):
                    given = boxes[start : start + chunk_size]
                found = describe(
                    net, chunk, device, boxes=given, description=f"describe chunk {number + 1}"
                )
                with atomic_file(part) as draft, draft.open("wb") as stream:
                    np.savez(stream, features=found.features, boxes=found.boxes)
            parts.append(part)
        with atomic_dir(target) as draft:
            _join(parts, draft, len(images), net.dim)
        for part in parts:
            part.unlink()
    arrays = (np.load(target / f"{name}.npy", mmap_mode="r") for name in ("features", "boxes"))
    return Description(*arrays)


def _join(parts: list[Path], folder: Path, n: int, d: int) -> None:
    start = 0
    features = np.lib.format.open_memmap(folder / "features.npy", "w+", np.float32, (n, d))
    boxes = np.lib.format.open_memmap(folder / "boxes.npy", "w+", np.float32, (n, 4))
    for part in parts:
        with np.load(part) as arrays:
            end = start + len(arrays["features"])
            features[start:end], boxes[start:end] = arrays["features"], arrays["boxes"]
        start = end
    if start != n:
        raise ValueError(f"the parts hold {start} images, not {n}")
    features.flush()
    boxes.flush()
