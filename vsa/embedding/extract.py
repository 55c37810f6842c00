"""Images → features and boxes (paper section 3.2), for one query or for a whole catalogue."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from vsa.data.decoding import Source
from vsa.embedding.joint import JointNet
from vsa.models.embedder import Embedder, is_one, require_images
from vsa.runtime.atomic import atomic_dir, atomic_file
from vsa.runtime.batches import to_tensor
from vsa.runtime.device import Device, pick_device
from vsa.runtime.errors import InputError
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
    net: JointNet,
    images: np.ndarray,
    device: Device,
    *,
    boxes: np.ndarray | Literal["own"] | None = None,
    batch_size: int = 64,
    description: str = "describe",
) -> Description:
    """Features and boxes of images, uint8 (n, S, S, 3).

    The feature is that of the whole image; with `boxes`, float32 (n, 4), of what the mask of those
    leaves; with ``"own"``, of what the mask of the learned box leaves, in one pass.
    """
    net.eval()
    features, found = [], []
    for start in progress(range(0, len(images), batch_size), description):
        batch = to_tensor(np.array(images[start : start + batch_size]), device)
        with device.autocast():
            if boxes is None:
                seen = None
            elif isinstance(boxes, str):
                seen = net.locate(batch)
            else:
                seen = torch.from_numpy(boxes[start : start + batch_size]).to(batch.device)
            feature = net.embed(batch, seen, MASK_SLOPE)
        features.append(feature.cpu().numpy())
        whole = np.tile(FULL_BOX, (len(batch), 1))
        found.append(whole if seen is None else seen.float().cpu().numpy())
    if not features:
        d = net.head.out_features
        return Description(np.empty((0, d), np.float32), np.empty((0, 4), np.float32))
    return Description(np.concatenate(features), np.concatenate(found))


class JointEmbedder(Embedder):
    """A trained joint network as an embedder: queries behind the masks of boxes, if wanted."""

    def __init__(
        self,
        net: JointNet,
        *,
        image_px: int,
        name: str = "joint network",
        device: Device | None = None,
    ) -> None:
        device = device or pick_device()
        self.net = net.to(device.device, memory_format=device.memory_format).eval()
        as_it_is = {"mean": (0.0, 0.0, 0.0), "std": (1 / 255, 1 / 255, 1 / 255)}
        super().__init__(net.embed, image_px=image_px, name=name, device=device, **as_it_is)

    def __call__(
        self,
        photos: Source | Iterable[Source],
        *,
        boxes: np.ndarray | Literal["own"] | None = None,
    ) -> np.ndarray:
        """As `Embedder.__call__`, behind the masks of boxes: float32 (4,) of one photo, or (n, 4).

        Raises InputError for boxes that are not as many as the photos.
        """
        rest = boxes.reshape(-1, 4) if isinstance(boxes, np.ndarray) else boxes
        features = [np.empty((0, self.dim), np.float32)]
        for images in self.decoded(photos):
            part = rest
            if isinstance(rest, np.ndarray):
                part, rest = rest[: len(images)], rest[len(images) :]
            features.append(self.embed(images, boxes=part))
        if isinstance(rest, np.ndarray) and len(rest):
            raise InputError(f"{len(rest)} boxes too many", cure="Give one for each photo")
        return features[1][0] if is_one(photos) else np.concatenate(features)

    def embed(
        self,
        images: np.ndarray,
        *,
        batch_size: int = 64,
        description: str = "embed",
        boxes: np.ndarray | Literal["own"] | None = None,
    ) -> np.ndarray:
        """As `Embedder.embed`; with `boxes`, as `describe`, of what their masks leave.

        Raises InputError for images of another size, too: it has learned at this one.
        """
        require_images(images)
        if images.shape[1:3] != (self.image_px, self.image_px):
            raise InputError(
                f"images are {images.shape[2]} × {images.shape[1]} pixels, and the network has "
                f"learned from {self.image_px} × {self.image_px}",
                cure="Load them at that size (vsa.data.images), or call the embedder with files",
            )
        if isinstance(boxes, np.ndarray) and boxes.shape != (len(images), 4):
            raise InputError(
                f"boxes {boxes.shape} for {len(images)} images",
                cure="Give one for each, float32 (n, 4), or 'own'",
            )
        options = {"batch_size": batch_size, "description": description}
        found = describe(self.net, images, self.device, boxes=boxes, **options).features
        self.require_vectors(torch.from_numpy(found), len(images))
        return found


def describe_catalogue(
    net: JointNet,
    images: np.ndarray,
    device: Device,
    folder: Path,
    *,
    boxes: Literal["own"] | None = None,
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
                found = describe(
                    net, chunk, device, boxes=boxes, description=f"describe chunk {number + 1}"
                )
                with atomic_file(part) as draft, draft.open("wb") as stream:
                    np.savez(stream, features=found.features, boxes=found.boxes)
            parts.append(part)
        with atomic_dir(target) as draft:
            _join(parts, draft, len(images), net.head.out_features)
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
