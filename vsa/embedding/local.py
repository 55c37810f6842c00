"""Local features: what a pretrained network has in each cell of one of its maps, and where."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from vsa.models.backbones import make_backbone
from vsa.models.torchvision_models import IMAGENET_MEAN, IMAGENET_STD, torchvision_models
from vsa.runtime.batches import to_tensor
from vsa.runtime.device import Device
from vsa.runtime.errors import InputError
from vsa.runtime.progress import progress

STRIDE = 16  # pixels per cell of the map
_TRIED_PX = 128


class LocalFeatures(nn.Module):
    """Images → local features, by the stages of a pretrained backbone down to one stride."""

    def __init__(self, architecture: str, *, pretrained: bool = False, stride: int = STRIDE):
        super().__init__()
        backbone, _ = make_backbone(architecture, pretrained=pretrained)
        backbone.eval()
        path = last_stage(backbone, architecture, stride)
        self.architecture = architecture
        self.trunk = _OneOutput(_cut(backbone, path))
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1) * 255)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 255] → maps (B, c, H/stride, W/stride)."""
        found: Tensor = self.trunk((images.float() - self.mean) / self.std)
        return found


def _cut(backbone: nn.Module, path: str) -> nn.Module:
    torchvision_models()  # without torch's compiler
    from torchvision.models.feature_extraction import create_feature_extractor

    return cast("nn.Module", create_feature_extractor(backbone, {path: "map"}))


class _OneOutput(nn.Module):
    def __init__(self, stages: nn.Module) -> None:
        super().__init__()
        self.stages = stages

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.stages(images)["map"]
        return found


def last_stage(network: nn.Module, architecture: str, stride: int) -> str:
    """Path of the last whole stage whose map has that stride; InputError if there is none."""
    wanted = (_TRIED_PX // stride,) * 2
    seen: list[str] = []
    hooks = []
    for path, module in network.named_modules():

        def look(_: nn.Module, __: object, out: object, path: str = path) -> None:
            if isinstance(out, Tensor) and out.ndim == 4 and out.shape[2:] == wanted and path:
                seen.append(path)

        hooks.append(module.register_forward_hook(look))
    with torch.inference_mode():
        network(torch.zeros(1, 3, _TRIED_PX, _TRIED_PX))
    for hook in hooks:
        hook.remove()
    if not seen:
        raise InputError(
            f"the backbone {architecture!r} has no map of stride {stride}",
            cure="Locate by another one: embedding.describer=mobilenet_v2, say",
        )
    least = min(path.count(".") for path in seen)
    return [path for path in seen if path.count(".") == least][-1]


@torch.inference_mode()
def local_features(net: LocalFeatures, images: np.ndarray, device: Device) -> np.ndarray:
    """Local features of images, uint8 (n, S, S, 3): float32 (n, G, G, c)."""
    found = []
    for part in in_batches(images):
        with device.autocast():
            maps = net(to_tensor(np.array(part), device))
        found.append(maps.float().permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(found)


def first_centre(net: nn.Module, device: Device, stride: int = STRIDE) -> float:
    """Where the first cell looks, in cells from the picture's edge.

    A convolution of stride 2 that pads both sides looks at every other pixel from the first on, so
    cells lie half a cell farther up and left than a grid over the picture has them (0.5). Measured
    by the gradient of the middle cell with respect to the pixels, to the nearest pixel.
    """
    n = _TRIED_PX // stride
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (4, 3, _TRIED_PX, _TRIED_PX)).astype(np.float32)
    images = torch.from_numpy(noise).to(device.device).requires_grad_()
    maps = net(images)
    maps[:, :, n // 2, n // 2].sum().backward()
    pull = cast("Tensor", images.grad).abs().sum(dim=(0, 1)).cpu().numpy()  # (H, W)
    pixels = np.arange(_TRIED_PX) + 0.5
    at = [float(np.average(pixels, weights=pull.sum(axis=axis))) for axis in (0, 1)]
    return round(float(np.mean(at)) - (n // 2) * stride) / stride


def pretrained_features(architecture: str, device: Device, stride: int = STRIDE) -> LocalFeatures:
    """Local features by ImageNet weights; raises InputError where they cannot be had."""
    net = LocalFeatures(architecture, pretrained=True, stride=stride).requires_grad_(False)
    return net.to(device.device, memory_format=device.memory_format).eval()


def in_batches(images: np.ndarray, description: str = "", size: int = 32) -> list[np.ndarray]:
    """Parts of an array, to go through a network one after the other; shown, if described."""
    starts = range(0, len(images), size)
    return [
        images[s : s + size] for s in (progress(starts, description) if description else starts)
    ]
