"""The category classifier: a backbone, a feature and a softmax over categories (section 3.1)."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from vsa.models.backbones import make_backbone
from vsa.models.torchvision_models import IMAGENET_MEAN, IMAGENET_STD
from vsa.runtime.batches import to_tensor
from vsa.runtime.device import Device
from vsa.runtime.progress import progress

VERSION = 1


class CategoryNet(nn.Module):
    """Image → (category logits, feature).

    The feature before the last layer also feeds the search branch, so one pass serves both.
    """

    def __init__(self, architecture: str, n_classes: int, *, pretrained: bool) -> None:
        super().__init__()
        self.architecture = architecture
        self.backbone, n_features = make_backbone(architecture, pretrained=pretrained)
        self.head = nn.Linear(n_features, n_classes)
        self.pretrained = pretrained
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1) * 255)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """uint8 or float images (B, 3, H, W) in [0, 255] → logits (B, C), features (B, d)."""
        feature = self.backbone((images.float() - self.mean) / self.std)
        return self.head(feature), feature

    def train(self, mode: bool = True) -> CategoryNet:
        """As nn.Module.train; batch norms of a pretrained backbone keep their statistics."""
        super().train(mode)
        if self.pretrained:
            for module in self.backbone.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self


def predict(
    net: CategoryNet,
    images: np.ndarray,
    crop_px: int,
    device: Device,
    batch_size: int = 128,
    description: str = "predict",
) -> tuple[np.ndarray, np.ndarray]:
    """Category probabilities and features of images, from their central crop.

    Parameters
    ----------
    images : uint8 (n, S, S, 3) with S ≥ crop_px.

    Returns
    -------
    probabilities : float32 (n, C), rows sum to 1.
    features : float32 (n, d), rows of unit length, so that one λ suits every network.
    """
    return judge(net, extract(net, images, crop_px, device, batch_size, description))


@torch.inference_mode()
def extract(
    net: CategoryNet,
    images: np.ndarray,
    crop_px: int,
    device: Device,
    batch_size: int = 128,
    description: str = "predict",
) -> np.ndarray:
    """Features as the backbone gives them, float32 (n, d); arguments as of `predict`."""
    net.eval()
    margin = (images.shape[1] - crop_px) // 2
    window = slice(margin, margin + crop_px)
    features = [np.empty((0, net.head.in_features), np.float32)]
    for start in progress(range(0, len(images), batch_size), description):
        crop = np.array(images[start : start + batch_size, window, window])  # of a map, or a mirror
        with device.autocast():
            _, feature = net(to_tensor(crop, device))
        features.append(feature.float().cpu().numpy())
    return np.concatenate(features)


@torch.inference_mode()
def judge(net: CategoryNet, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What `predict` gives, of features (n, d) as of `extract`."""
    feature = torch.from_numpy(features).to(net.head.weight.device)
    probabilities = torch.softmax(net.head(feature), dim=1)
    return probabilities.cpu().numpy(), nn.functional.normalize(feature, dim=1).cpu().numpy()
