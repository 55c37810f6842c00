"""How the category classifier is trained (paper section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

from vsa.runtime.errors import InputError
from vsa.runtime.settings import Count, Positive, Text


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

    def __post_init__(self) -> None:
        if self.crop_px > self.store_px:
            raise InputError(
                f"category.crop_px = {self.crop_px} is more than store_px = {self.store_px}",
                cure="Crop to at most the size that images are kept at",
            )
