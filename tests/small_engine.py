"""An engine whose networks were never trained, over a small catalogue of coloured squares."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn

from vsa.category.fusion import FusionChoice
from vsa.category.model import CategoryNet
from vsa.category.predictor import CategoryPredictor
from vsa.category.selection import take_prints
from vsa.category.settings import USUAL_SELECTION
from vsa.embedding.extract import describe
from vsa.embedding.joint import JointNet
from vsa.offline import write_engine
from vsa.runtime.device import pick_device
from vsa.trained import TrainedModels

NAMES = ["bags", "shoes", "toys"]
N_ITEMS = 90


def shaken(net: nn.Module) -> nn.Module:
    """With batch norms that do something, so that folding them wrongly shows."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return net.eval()


def small_models(pictures: np.ndarray) -> TrainedModels:
    """Networks of the smallest architecture, never trained, with norms that fit the pictures."""
    torch.manual_seed(0)
    net = JointNet("googlenet_4a", 128)
    batch = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():  # norms that fit the pictures, so that features differ
        net.embed(batch, net.locate(batch), 30.0)
    category = shaken(CategoryNet("googlenet_4a", 3, pretrained=False))
    reference = pd.DataFrame({"id": ["a", "b", "c"], "path": ["", "", ""], "category": NAMES})
    directions = np.eye(3, category.head.in_features, dtype=np.float32)
    choice = FusionChoice(1.0, 0.5)
    predictor = CategoryPredictor(
        category, 72, 64, pick_device(), NAMES, reference, directions, choice
    )
    return TrainedModels(predictor, net, 64)


def small_catalogue() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": [f"i{row}" for row in range(N_ITEMS)],
            "product_id": [f"p{row // 2}" for row in range(N_ITEMS)],
            "category": [NAMES[row % 3] for row in range(N_ITEMS)],
            "leaf": "leaf",
            "source": "main",
            "path": [f"{row}.png" for row in range(N_ITEMS)],
            "sales": 10.0,
            "conversion_rate": 0.1,
            "applause_rate": 0.9,
            "price": 5.0,
        }
        | dict.fromkeys(("x_min", "y_min", "x_max", "y_max"), np.nan)
    )


def small_pictures(root: Path) -> np.ndarray:
    """Coloured squares, uint8 (90, 64, 64, 3); picture i lies at ``root / f"{i}.png"``."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (N_ITEMS, 4, 4, 3), np.uint8).repeat(16, 1).repeat(16, 2)
    for row, picture in enumerate(pictures):
        Image.fromarray(picture).save(root / f"{row}.png")
    return pictures


def small_shop(root: Path) -> SimpleNamespace:
    """Build an engine at ``root / "engine"``: its models, features and pictures, item i being i."""
    pictures = small_pictures(root)
    models = small_models(pictures)
    features = describe(models.network, pictures, models.category.device).features
    folder = root / "engine"
    write_engine(
        folder,
        models,
        features,
        small_catalogue(),
        root,
        validation=features[:10],
        selection=USUAL_SELECTION,
        prints=take_prints(pictures),
    )
    return SimpleNamespace(folder=folder, models=models, pictures=pictures, features=features)
