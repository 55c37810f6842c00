"""A shop of coloured squares for notebook 07, seen by a network whose answers are known.

The network averages colours: a cell of its last map is the mean colour of that part of the picture.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from coloured_squares import CPU
from PIL import Image
from torch import nn

from vsa.data.schema import BOX
from vsa.study.lineage.lab import LineageLab
from vsa.study.lineage.pictures import Ground, Pictures
from vsa.study.lineage.task import LineageTask
from vsa.study.run import make_run

PX = 64
N_PRODUCTS, N_CATEGORIES = 18, 3
NAMES = ["bags", "shoes", "toys"]
SPLITS = ["train"] * 10 + ["val"] * 4 + ["test"] * 4  # of the products


def colour_net() -> nn.Module:
    """Pictures → red, green and blue, bright and dark, averaged down to stride 16, then pooled."""
    signs = nn.Conv2d(3, 6, 1, bias=False)
    with torch.no_grad():
        signs.weight.copy_(torch.cat([torch.eye(3), -torch.eye(3)])[:, :, None, None])
    middle = nn.Sequential(signs, nn.ReLU(), nn.AvgPool2d(8))
    return nn.Sequential(middle, nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def square_on_grey(colour: np.ndarray, box: np.ndarray, px: int = PX) -> np.ndarray:
    """A picture of mid grey with a square of one colour, uint8 (px, px, 3)."""
    picture = np.full((px, px, 3), 118, np.uint8)
    left, top, right, bottom = np.round(np.asarray(box) * px).astype(int)
    picture[top:bottom, left:right] = colour
    return picture


def make_task(rng: np.random.Generator) -> LineageTask:
    """Two photos and three pictures of each product; a category is a hue."""
    product = np.arange(N_PRODUCTS)
    of_photo, of_picture = np.repeat(product, 2), np.repeat(product, 3)
    corner = rng.integers(0, 3, (len(of_photo), 2)) / 4  # whole cells of the last map
    queries = pd.DataFrame(
        {
            "query_id": [f"q{i}" for i in range(len(of_photo))],
            "path": [f"q{i}.png" for i in range(len(of_photo))],
            "product_id": [f"p{i}" for i in of_photo],
            "category": [NAMES[i % N_CATEGORIES] for i in of_photo],
            "split": [SPLITS[i] for i in of_photo],
        }
    )
    queries[BOX] = np.concatenate([corner, corner + 0.5], axis=1)
    catalogue = pd.DataFrame(
        {
            "image_id": [f"i{i}" for i in range(len(of_picture))],
            "path": [f"i{i}.png" for i in range(len(of_picture))],
            "product_id": [f"p{i}" for i in of_picture],
            "category": [NAMES[i % N_CATEGORIES] for i in of_picture],
        }
    )
    return LineageTask(queries, catalogue)


def make_lineage_lab(folder: Path, backbone: nn.Module | None = None) -> LineageLab:
    """The lab of that shop, with its pictures in files, and as few steps as there can be."""
    rng = np.random.default_rng(0)
    task = make_task(rng)
    hue = np.eye(3)[np.arange(N_PRODUCTS) % N_CATEGORIES]
    colours = (60 + 190 * (0.75 * hue + 0.25 * rng.random((N_PRODUCTS, 3)))).astype(np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    wanted, offered = task.products
    for path, product, box in zip(task.queries.path, wanted, task.boxes, strict=True):
        Image.fromarray(square_on_grey(colours[product], box)).save(folder / path)
    for number, (path, product) in enumerate(zip(task.catalogue.path, offered, strict=True)):
        box = np.array([0.05, 0.05, 0.95, 0.95]) + 0.01 * (number % 3)
        Image.fromarray(square_on_grey(colours[product], box.clip(0, 1))).save(folder / path)
    ground = Ground(colour_net() if backbone is None else backbone, "googlenet_4a", PX, CPU)

    def pictures(paths: list[str]) -> Pictures:
        return Pictures(ground, folder, paths, PX, None, folder / "maps")

    settings = dataclasses.replace(
        make_run("synthetic", "smoke", 0).settings.lineage, n_timed=2, n_located=3, n_seeds=2
    )
    paths = task.queries.path
    return LineageLab(
        task,
        ground,
        {s: pictures(paths.iloc[task.rows(s)].tolist()) for s in ("train", "val", "test")},
        pictures(task.catalogue.path.tolist()),
        settings,
        0,
        folder / "lineage",
    )
