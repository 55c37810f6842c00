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
from vsa.category.predictor import save_predictor
from vsa.embedding.extract import describe
from vsa.embedding.joint import JointNet
from vsa.engine import engine_folder
from vsa.runtime.device import pick_device
from vsa.study.end_to_end.publish import publish
from vsa.study.run import make_run

NAMES = ["bags", "shoes", "toys"]
N_ITEMS = 90


def shaken(net: nn.Module) -> nn.Module:
    """With batch norms that do something, so that folding them wrongly shows."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return net.eval()


def small_shop(root: Path) -> SimpleNamespace:
    """Publish an engine below `root`: what stands for its run, pictures, network and features.

    Picture i is item i, and lies at ``root / f"{i}.png"``.
    """
    run = SimpleNamespace(
        artifacts=root, dataset="synthetic", settings=make_run("synthetic", "smoke", 0).settings
    )
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    pictures = rng.integers(0, 256, (N_ITEMS, 4, 4, 3), np.uint8).repeat(16, 1).repeat(16, 2)
    settings, device = run.settings.embedding, pick_device()
    net = JointNet(settings.architecture, settings.feature_dim)
    batch = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    for _ in range(20):  # norms that fit the pictures, so that features differ
        net.embed(batch, net.locate(batch), 30.0)
    category = shaken(CategoryNet(run.settings.category.architecture, 3, pretrained=False))
    reference = pd.DataFrame({"id": ["a", "b", "c"], "path": ["", "", ""], "category": NAMES})
    directions = np.eye(3, category.head.in_features, dtype=np.float32)
    save_predictor(
        run.artifacts / "category" / "predictor",
        SimpleNamespace(categories=NAMES, reference=reference),
        SimpleNamespace(state=category.state_dict(), features={"reference": directions}),
        FusionChoice(1.0, 0.5),
    )
    features = describe(net, pictures, device).features
    catalogue = pd.DataFrame(
        {
            "image_id": [f"i{row}" for row in range(N_ITEMS)],
            "product_id": [f"p{row // 2}" for row in range(N_ITEMS)],
            "category": [NAMES[row % 3] for row in range(N_ITEMS)],
            "path": [f"{row}.png" for row in range(N_ITEMS)],
            "sales": 10.0,
            "conversion_rate": 0.1,
            "applause_rate": 0.9,
            "price": 5.0,
        }
        | dict.fromkeys(("x_min", "y_min", "x_max", "y_max"), np.nan)
    )
    lab = SimpleNamespace(settings=settings, seed=0, net=lambda name: net)
    publish(engine_folder(run), lab, features, catalogue, features[:10])
    for row, picture in enumerate(pictures):
        Image.fromarray(picture).save(root / f"{row}.png")
    return SimpleNamespace(run=run, pictures=pictures, net=net, features=features)
