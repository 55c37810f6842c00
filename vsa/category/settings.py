"""How pictures are selected, and how the category classifier is trained (paper section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from vsa.runtime.errors import InputError
from vsa.runtime.settings import Count, NotNegative, Positive, Scale, Text, Whole


@dataclass(frozen=True, kw_only=True)
class HeadSettings:
    """What a softmax over features of a frozen backbone learns from, see `vsa.category.head`."""

    input_px: Count = 224  # pictures are kept and seen at this size: that of ImageNet weights
    n_crops: Whole = 3  # views of a training picture, beside the whole and its mirror image
    n_steps: Count = 600
    batch_size: Count = 256
    learning_rate: Positive = 3e-3


@dataclass(frozen=True, kw_only=True)
class ClassifierSettings:
    """Backbone, pictures and steps of the classifier; the defaults are for photographs."""

    architecture: Text = "googlenet"  # the paper's; see vsa.backbones
    pretrained: bool = True  # start from ImageNet weights
    store_px: Count = 256  # images are kept at this size ...
    crop_px: Count = 227  # ... and cropped to this (the paper's sizes)
    n_steps: Count = 1000
    batch_size: Count = 128
    learning_rate: Positive = 5e-4
    min_scale: Scale = 1.0  # least side of a crop, as a share of the picture's; 1: crop_px wide
    trains: Literal["all", "head"] = "all"  # the network, or a softmax over a pretrained one's
    head: HeadSettings = field(default_factory=HeadSettings)

    def __post_init__(self) -> None:
        if self.trains == "head" and not self.pretrained:
            raise InputError(
                "category.trains = head with category.pretrained = false would learn from features "
                "of a random network",
                cure="Set category.trains=all, or start from pretrained weights",
            )
        if self.crop_px > self.store_px:
            raise InputError(
                f"category.crop_px = {self.crop_px} is more than store_px = {self.store_px}",
                cure="Crop to at most the size that images are kept at",
            )

    @property
    def stored_px(self) -> int:
        """The size that the stage which is trained takes images at."""
        return self.head.input_px if self.trains == "head" else self.store_px

    @property
    def seen_px(self) -> int:
        """The size that its network sees, of their middle."""
        return self.head.input_px if self.trains == "head" else self.crop_px


@dataclass(frozen=True, kw_only=True)
class SelectionSettings:
    """Thresholds: fixed values, no quantiles, so that a good catalogue loses nothing.

    The quality limits lie far below what ordinary photographs reach, and remove only pictures
    that show nothing. The duplicate limits admit a picture saved again, at half its size or at
    JPEG quality 30, and stop short of pairs of unrelated photographs. No identity was looked at.
    """

    min_contrast: NotNegative = 4.0  # grey levels of 0 to 255, see descriptors.contrast
    min_sharpness: NotNegative = 5.0  # squared grey levels, see descriptors.sharpness
    max_hamming_bits: Whole = 6  # of the 64 of descriptors.perceptual_hash
    max_distance: NotNegative = 0.2  # between features of unit length; set for weak_features


USUAL_SELECTION = SelectionSettings()
