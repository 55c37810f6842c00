"""Pictures as one frozen network sees them: what the methods of notebook 07 start from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, wraps
from pathlib import Path
from typing import TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d
from torchvision.models.feature_extraction import create_feature_extractor

from vsa.data.crops import crop_square, with_margin
from vsa.data.files import in_threads
from vsa.data.images import load_images, square
from vsa.embedding.local import last_stage
from vsa.models.torchvision_models import IMAGENET_MEAN, IMAGENET_STD
from vsa.runtime.atomic import atomic_file
from vsa.runtime.batches import to_tensor
from vsa.runtime.device import Device
from vsa.runtime.errors import InputError
from vsa.runtime.fingerprint import checksum, key, libraries, state_digest
from vsa.runtime.inference import ready
from vsa.runtime.progress import progress

T = TypeVar("T")

LAST, MIDDLE = "last", "middle"  # maps of a network: its last one, and that of half the stride
_STRIDES = (32, 16)  # that a last map may have
_BATCH = 64
_CHUNK = 128  # pictures whose maps are in memory as float32


class _TwoMaps(nn.Module):
    """The stages of a backbone down to its last two maps, which inference may freeze."""

    def __init__(self, stages: nn.Module) -> None:
        super().__init__()
        self.stages = stages

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        found = self.stages(images)
        return found[LAST], found[MIDDLE]


class _Eyes(nn.Module):
    """Images (B, 3, S, S) in [0, 255] → maps (B, c, G, G) by name."""

    def __init__(self, trunk: _TwoMaps) -> None:
        super().__init__()
        self.trunk = trunk
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1) * 255)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        last, middle = self.trunk((images.float() - self.mean) / self.std)
        return {LAST: last, MIDDLE: middle}


class Ground(nn.Module):
    """Images → the last two maps of a backbone, which nobody trains any more."""

    def __init__(self, backbone: nn.Module, architecture: str, image_px: int, device: Device):
        super().__init__()
        self.architecture, self.image_px, self.device = architecture, image_px, device
        self.backbone = backbone.eval().requires_grad_(False)
        stride, path = _last_map(self.backbone, architecture)
        self.strides = {LAST: stride, MIDDLE: stride // 2}
        middle = last_stage(self.backbone, architecture, stride // 2)
        stages = create_feature_extractor(self.backbone, {path: LAST, middle: MIDDLE}).eval()
        self.eyes = _Eyes(_TwoMaps(stages))
        self.to(device.device, memory_format=device.memory_format)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images (B, 3, S, S) in [0, 255] → maps (B, c, G, G) by name."""
        found: dict[str, Tensor] = self.eyes(images)
        return found

    @cached_property
    def _ready(self) -> nn.Module:
        """What looks, made ready as an engine's networks are: all pictures are seen alike."""
        return ready(self.eyes, self.device)

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
                maps = self._ready(images)
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


@dataclass(eq=False)  # two sets are never compared: what is remembered of one is its own
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
    _shown: dict[tuple[int, bytes], np.ndarray] = field(default_factory=dict)  # row, box → feature

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

    def pooled_at(self, boxes: np.ndarray) -> np.ndarray:
        """The network's own feature of what boxes show of them, float32 (n, c) of unit length.

        Boxes, float32 (n, 4) in shares, get a margin, and are seen at full size. Settings, seeds
        and methods often agree on a photo's box: what it shows is described once.
        """
        known = [(row, box.tobytes()) for row, box in enumerate(np.asarray(boxes, np.float32))]
        new = [row for row, one in enumerate(known) if one not in self._shown]
        for start in range(0, len(new), _CHUNK):
            rows = new[start : start + _CHUNK]
            seen = Pictures(
                self.ground,
                self.root,
                [self.paths[row] for row in rows],
                given=(self._crops(rows, boxes),) * 2,
            )
            self._shown |= zip([known[row] for row in rows], seen.pooled, strict=True)
        return np.stack([self._shown[one] for one in known])

    def _crops(self, rows: Sequence[int], boxes: np.ndarray) -> np.ndarray:
        """What their boxes show of some rows, uint8 (k, S, S, 3)."""
        around, px = with_margin(np.asarray(boxes, np.float32)), self.ground.image_px

        def cut(row: int) -> np.ndarray:
            return crop_square(Image.fromarray(np.asarray(self.detail[row])), around[row], px)

        return np.stack([cut(rows[0])] if len(rows) == 1 else list(in_threads(cut, rows, "crop")))

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


def remembered(of: Callable[[Pictures], T]) -> Callable[[Pictures], T]:
    """A function of pictures, computed once for each set of them.

    Rows, settings and seeds that ask the same of a whole split share the answer. The photo that a
    time is taken with is a set of its own each time, so that its time is the whole one.
    """
    known: WeakKeyDictionary[Pictures, T] = WeakKeyDictionary()

    @wraps(of)
    def once(pictures: Pictures) -> T:
        if pictures not in known:
            known[pictures] = of(pictures)
        return known[pictures]

    return once
