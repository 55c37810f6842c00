"""How the category classifier is trained (paper section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

from vsa.runtime.errors import InputError
from vsa.runtime.settings import Count, Positive, Text


@dataclass(frozen=True, kw_only=True)
class ClassifierSettings:
    """Backbone, pictures and steps of the classifier."""

    architecture: Text  # see vsa.backbones
    pretrained: bool  # start from ImageNet weights
    store_px: Count  # images are kept at this size ...
    crop_px: Count  # ... and cropped to this (the paper: 256 and 227)
    n_steps: Count
    batch_size: Count
    learning_rate: Positive

    def __post_init__(self) -> None:
        if self.crop_px > self.store_px:
            raise InputError(
                f"category.crop_px = {self.crop_px} is more than store_px = {self.store_px}",
                cure="Crop to at most the size that images are kept at",
            )
