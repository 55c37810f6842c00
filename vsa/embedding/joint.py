"""The joint network (paper section 3.2): one branch finds the object, the other describes it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vsa.models.backbones import make_backbone, make_trunk
from vsa.models.torchvision_models import IMAGENET_MEAN, IMAGENET_STD

VERSION = 1
MIN_SIDE = 0.15  # of a learned box, as a share of the image: a smaller one shows nothing
_MAP = 8  # cells per side of the map that the box is read from


def soft_mask(boxes: Tensor, height: int, width: int, slope: float) -> Tensor:
    """The paper's mask M(x, y), differentiable in the box.

    M(x, y) = [h(x − x_l) − h(x − x_r)] · [h(y − y_t) − h(y − y_b)], h(z) = 1/(1 + e^(−kz)).

    Parameters
    ----------
    boxes : (B, 4) x_l, y_t, x_r, y_b as shares of the image's width and height.
    slope : k. Positions are shares of a side, so k = 30 turns from 12 % to 88 % within 13 % of it.

    Returns
    -------
    (B, 1, height, width) in (0, 1): near 1 within the box, near 0 outside.
    """
    x = (torch.arange(width, device=boxes.device) + 0.5) / width
    y = (torch.arange(height, device=boxes.device) + 0.5) / height
    left, top, right, bottom = (boxes[:, i, None] for i in range(4))
    columns = torch.sigmoid(slope * (x - left)) - torch.sigmoid(slope * (x - right))  # (B, W)
    rows = torch.sigmoid(slope * (y - top)) - torch.sigmoid(slope * (y - bottom))  # (B, H)
    return (rows[:, :, None] * columns[:, None, :])[:, None]


class Localiser(nn.Module):
    """Images → boxes: the backbone's stages down to stride 8, and a regression to four sides."""

    def __init__(self, architecture: str) -> None:
        super().__init__()
        self.trunk, n_channels = make_trunk(architecture)
        self.head = nn.Sequential(
            nn.Conv2d(n_channels, 32, 1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(_MAP),
            nn.Flatten(),
            nn.Linear(32 * _MAP * _MAP, 4),
        )
        nn.init.normal_(self.head[-1].weight, std=1e-3)
        nn.init.zeros_(self.head[-1].bias)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) → boxes (B, 4) within the image, sides ≥ MIN_SIDE.

        An untrained localiser says: the middle, of half the image's sides.
        """
        raw = self.head(self.trunk(images)).float()
        sides = MIN_SIDE + (1 - MIN_SIDE) * torch.sigmoid(raw[:, 2:] - 0.36)  # 0.5 at raw = 0
        corner = (1 - sides) * torch.sigmoid(raw[:, :2])
        return torch.cat([corner, corner + sides], dim=1)


class Adaptation(nn.Module):
    """A linear map of unit features, learned while the backbone before it stays as it is."""

    def __init__(self, n_features: int, feature_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_features, feature_dim)

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, n) of any length → (B, d), not of unit length."""
        return self.linear(normalize(features.float(), dim=1))


class FeatureNet(nn.Module):
    """Image → feature: a backbone, and a head unless its own feature is taken as it is."""

    def __init__(
        self,
        architecture: str,
        feature_dim: int | None = None,
        *,
        adapted: bool = False,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        self.architecture, self.adapted = architecture, adapted
        self.backbone, n_features = make_backbone(architecture, pretrained=pretrained)
        self.head: nn.Module = nn.Identity()
        if feature_dim is not None:
            self.head = (
                Adaptation(n_features, feature_dim)
                if adapted
                else nn.Linear(n_features, feature_dim, bias=False)
            )
        self.feature_dim = feature_dim  # None: the backbone's own
        self.dim = feature_dim or n_features
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1) * 255)

    def normalise(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 255] → the backbones' input; 0 is the mean colour."""
        return (images.float() - self.mean) / self.std

    def embed(self, images: Tensor, boxes: Tensor | None = None, slope: float = 0.0) -> Tensor:
        """Images (B, 3, H, W) in [0, 255] → features (B, d) of unit length.

        Outside of `boxes`, if given, the image fades to the mean colour with the given slope.
        """
        seen = self.normalise(images)
        if boxes is not None:
            seen = seen * soft_mask(boxes, seen.shape[-2], seen.shape[-1], slope)
        return normalize(self.head(self.backbone(seen)).float(), dim=1)


class JointNet(FeatureNet):
    """Image → (feature, box). The box masks the image that the feature branch sees."""

    def __init__(self, architecture: str, feature_dim: int, *, frozen_norm: bool = False) -> None:
        localiser = Localiser(architecture)
        super().__init__(architecture, feature_dim, pretrained=False)
        self.localiser = localiser
        self.frozen_norm = frozen_norm

    def locate(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 255] → boxes (B, 4), shares of the sides."""
        return self.localiser(self.normalise(images))

    def train(self, mode: bool = True) -> JointNet:
        """As nn.Module.train; with `frozen_norm` batch norms of the backbones keep statistics."""
        return self.train_branches(features=mode, boxes=mode)

    def train_branches(self, *, features: bool, boxes: bool) -> JointNet:
        """As `train`, with a mode for each of the two branches."""
        super().train(features)
        self.localiser.train(boxes)
        if self.frozen_norm:
            for module in (*self.backbone.modules(), *self.localiser.trunk.modules()):
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def load_backbone(self, state: dict[str, Tensor]) -> None:
        """Start both branches from the weights of one backbone of the same architecture."""
        self.backbone.load_state_dict(state)
        self.localiser.trunk.load_state_dict(
            {k: v for k, v in state.items() if k in self.localiser.trunk.state_dict()}
        )
