"""Pictures as one frozen network sees them: what the methods of notebook 07 start from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d
from torchvision.models.feature_extraction import create_feature_extractor

from vsa.data.crops import crop_square, with_margin
from vsa.data.images import load_images, square
from vsa.embedding.local import last_stage
from vsa.models.torchvision_models import IMAGENET_MEAN, IMAGENET_STD
from vsa.runtime.atomic import atomic_file
from vsa.runtime.batches import to_tensor
from vsa.runtime.device import Device
from vsa.runtime.errors import InputError
from vsa.runtime.fingerprint import checksum, key, libraries, state_digest
from vsa.runtime.progress import progress

LAST, MIDDLE = "last", "middle"  # maps of a network: its last one, and that of half the stride
_STRIDES = (32, 16)  # that a last map may have
_BATCH = 64
_CHUNK = 128  # pictures whose maps are in memory as float32


class Ground(nn.Module):
    """Images → the last two maps of a backbone, which nobody trains any more."""

    def __init__(self, backbone: nn.Module, architecture: str, image_px: int, device: Device):
        super().__init__()
        self.architecture, self.image_px, self.device = architecture, image_px, device
        self.backbone = backbone.eval().requires_grad_(False)
        stride, path = _last_map(self.backbone, architecture)
        self.strides = {LAST: stride, MIDDLE: stride // 2}
        middle = last_stage(self.backbone, architecture, stride // 2)
        self.stages = create_feature_extractor(self.backbone, {path: LAST, middle: MIDDLE}).eval()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1) * 255)
        self.to(device.device, memory_format=device.memory_format)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images (B, 3, S, S) in [0, 255] → maps (B, c, G, G) by name."""
        found: dict[str, Tensor] = self.stages((images.float() - self.mean) / self.std)
        return found

    @cached_property
    def digest(self) -> str:
        """What tells it from others, for caches."""
        state = state_digest(self.backbone.state_dict())
        return key(
            libraries("torch", "torchvision"),
            network=[self.architecture, self.image_px, state],
            device=repr(self.device),
        )

    @torch.inference_mode()
    def look(self, squares: np.ndarray, description: str = "") -> dict[str, np.ndarray]:
        """Maps of squares, uint8 (n, S, S, 3): float16 (n, G, G, c) by name.

        The middle map is averaged over 2 × 2 cells where it has more than 10 cells a side.
        """
        starts: Sequence[int] = range(0, len(squares), _BATCH)
        parts: dict[str, list[np.ndarray]] = {LAST: [], MIDDLE: []}
        for start in progress(starts, description) if description else starts:
            images = to_tensor(np.array(squares[start : start + _BATCH]), self.device)
            with self.device.autocast():
                maps = self(images)
            for name, found in maps.items():
                few = avg_pool2d(found, 2) if name == MIDDLE and found.shape[-1] > 10 else found
                parts[name].append(few.half().permute(0, 2, 3, 1).cpu().numpy())
        return {name: np.concatenate(part) for name, part in parts.items()}


def _last_map(backbone: nn.Module, architecture: str) -> tuple[int, str]:
    for stride in _STRIDES:
        try:
            return stride, last_stage(backbone, architecture, stride)
        except InputError:
            continue
    raise InputError(
        f"the backbone {architecture!r} has no map of stride {' or '.join(map(str, _STRIDES))}",
        cure="Compare methods by another one: embedding.describer=mobilenet_v2, say",
    )


@dataclass
class Pictures:
    """Some pictures, and what the frozen network makes of them, computed when it is asked for.

    A method is fitted to such sets and then asked with one: of a whole split, whose maps are kept
    on disk, or of the single photo that its time is taken with.
    """

    ground: Ground
    root: Path
    paths: Sequence[str]  # of the files, relative to the root
    detail_px: int = 0  # of the squares that crops are cut from
    cache: Path | None = None  # of decoded pictures
    kept: Path | None = None  # folder where maps are kept
    given: tuple[np.ndarray, np.ndarray] | None = None  # squares and detail, in place of files
    _made: dict[str, np.ndarray] = field(default_factory=dict)

    def once(self, name: str, make: Callable[[Pictures], np.ndarray]) -> np.ndarray:
        """What `make` gives of them, made once."""
        if name not in self._made:
            self._made[name] = make(self)
        return self._made[name]

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def squares(self) -> np.ndarray:
        """What the network sees, uint8 (n, S, S, 3)."""
        if self.given is not None:
            return self.given[0]
        return load_images(self.root, list(self.paths), self.ground.image_px, self.cache)

    @cached_property
    def detail(self) -> np.ndarray:
        """The same pictures larger, uint8 (n, D, D, 3)."""
        if self.given is not None:
            return self.given[1]
        return load_images(self.root, list(self.paths), self.detail_px, self.cache)

    def at(self, size_px: int) -> np.ndarray:
        """Squares of another size, for another network, uint8 (n, size_px, size_px, 3)."""
        if self.given is None:
            return load_images(self.root, list(self.paths), size_px, self.cache)
        return np.stack([square(Image.fromarray(one), size_px) for one in self.detail])

    @cached_property
    def maps(self) -> dict[str, np.ndarray]:
        """Maps by name, float16 (n, G, G, c)."""
        if self.kept is None:
            return self.ground.look(self.squares)
        seen = {"network": self.ground.digest, "pictures": checksum(self.squares)}
        files = {n: self.kept / f"maps-{n}-{key({}, **seen)}.npy" for n in (LAST, MIDDLE)}
        if not all(file.is_file() for file in files.values()):
            self.kept.mkdir(parents=True, exist_ok=True)
            for name, array in self.ground.look(self.squares, "look at pictures").items():
                with atomic_file(files[name]) as draft, draft.open("wb") as stream:
                    np.save(stream, array)
        return {name: np.load(file, mmap_mode="r") for name, file in files.items()}

    def each(self, of_maps: Callable[[np.ndarray], np.ndarray], layer: str = LAST) -> np.ndarray:
        """A function of maps, float32 (k, G, G, c) → (k, …), over all pictures: (n, …)."""
        maps = self.maps[layer]
        starts = range(0, len(maps), _CHUNK)
        return np.concatenate([of_maps(maps[s : s + _CHUNK].astype(np.float32)) for s in starts])

    @cached_property
    def pooled(self) -> np.ndarray:
        """The network's own feature: the mean of the last map, float32 (n, c) of unit length."""
        return unit(self.each(lambda maps: maps.mean(axis=(1, 2))))

    def crop(self, boxes: np.ndarray) -> Pictures:
        """What boxes show of them, float32 (n, 4) in shares, with a margin, seen at full size."""
        around, px = with_margin(np.asarray(boxes, np.float32)), self.ground.image_px
        crops = [
            crop_square(Image.fromarray(np.asarray(photo)), box, px)
            for photo, box in zip(self.detail, around, strict=True)
        ]
        empty = np.empty((0, px, px, 3), np.uint8)
        squares = np.stack(crops) if crops else empty
        return Pictures(self.ground, self.root, self.paths, given=(squares, squares))

    def one(self, row: int) -> Pictures:
        """One of them, decoded, of which nothing is known yet: what a method is timed with."""
        given = (np.array(self.squares[[row]]), np.array(self.detail[[row]]))
        return Pictures(self.ground, self.root, [self.paths[row]], given=given)

    def some(self, rows: np.ndarray) -> Pictures:
        """Some of them, with nothing kept on disk."""
        given = (np.array(self.squares[rows]), np.array(self.detail[rows]))
        return Pictures(self.ground, self.root, [self.paths[row] for row in rows], given=given)


def unit(features: np.ndarray) -> np.ndarray:
    """Features (n, d) brought to unit length, float32; what is zero stays zero."""
    length = np.linalg.norm(features, axis=-1, keepdims=True)
    return np.asarray(features / np.maximum(length, 1e-12), np.float32)
