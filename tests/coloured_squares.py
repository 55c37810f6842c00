"""A shop of coloured squares: small enough to train on within a second or two."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from vsa.data.schema import BOX
from vsa.embedding.task import EmbeddingTask, make_task
from vsa.embedding.train import Images
from vsa.models.backbones import make_backbone
from vsa.runtime.device import Device
from vsa.study.embedding.experiment import EmbeddingLab
from vsa.study.run import make_run
from vsa.study.settings import EmbeddingStudySettings

PX = 32
N_PRODUCTS, N_PICTURES = 12, 3
CPU = Device(torch.device("cpu"), None, "CPU")
TRAINING = {  # settings of `vsa.train`, for as few steps as there can be
    "category.store_px": 40,
    "category.crop_px": 32,
    "category.n_steps": 2,
    "category.batch_size": 8,
    "embedding.image_px": 32,
    "embedding.feature_dim": 16,
    "embedding.n_triplets": 4,
    "embedding.n_steps": 2,
    "embedding.n_box_steps": [1, 1],
    "embedding.n_joint_steps": 1,
    "embedding.describer_px": 48,
    "embedding.objectness_px": 96,
    "embedding.n_adapt_triplets": 4,
    "embedding.n_adapt_steps": 8,
}


def make_squares() -> EmbeddingTask:
    """Products of a colour each; some page views, some stray clicks."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (N_PRODUCTS, 3), dtype=np.uint8)
    products = np.arange(N_PRODUCTS)
    query_product = np.repeat(products, 2)
    boxes = np.array([[0.25, 0.25, 0.75, 0.75]] * len(query_product)) + rng.uniform(
        -0.15, 0.15, (len(query_product), 4)
    )
    queries = pd.DataFrame(
        {
            "query_id": [f"q{i}" for i in range(len(query_product))],
            "path": "x",
            "product_id": [f"p{i}" for i in query_product],
            "category": [f"c{i % 2}" for i in query_product],
            "split": np.repeat(["train", "val", "test"], [12, 6, 6]),
        }
    )
    queries[BOX] = boxes
    image_product = np.repeat(products, N_PICTURES)
    catalogue = pd.DataFrame(
        {
            "image_id": [f"i{i}" for i in range(len(image_product))],
            "path": "x",
            "product_id": [f"p{i}" for i in image_product],
            "category": [f"c{i % 2}" for i in image_product],
        }
    )
    studio = np.array([0.1, 0.1, 0.9, 0.9])
    images = Images(
        np.stack([_picture(rng, colours[p], b) for p, b in zip(query_product, boxes, strict=True)]),
        np.stack([_picture(rng, colours[p], studio) for p in image_product]),
    )
    rows = []
    for query, product in enumerate(query_product):
        page = rng.permutation(len(image_product))[:12]
        page[:2] = np.flatnonzero(image_product == product)[:2]
        for rank, image in enumerate(dict.fromkeys(page.tolist()), start=1):
            clicked = image_product[image] == product and rank != 2  # the second is overlooked
            clicked |= rng.random() < 0.05
            rows.append((f"s{query}", f"q{query}", rank, f"i{image}", bool(clicked)))
    pvlog = pd.DataFrame(rows, columns=["session_id", "query_id", "rank", "image_id", "clicked"])
    local = tuple(
        rng.standard_normal((len(table), 4)).astype(np.float32) for table in (queries, catalogue)
    )
    return make_task(queries, catalogue, pvlog, images, local)


def small_settings() -> EmbeddingStudySettings:
    """Those of the smoke profile, with a smaller network and fewer triplets."""
    smoke = make_run("synthetic", "smoke", 0).settings.embedding
    return dataclasses.replace(smoke, image_px=PX, feature_dim=16, n_triplets=4)


def make_squares_lab(
    task: EmbeddingTask, settings: EmbeddingStudySettings, folder: Path, seed: int = 0
) -> EmbeddingLab:
    """A lab whose category network has not learned anything; the same one for every seed."""
    return EmbeddingLab(task, settings, CPU, seed, folder, _untrained(settings.architecture))


@functools.cache
def _untrained(architecture: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    backbone, _ = make_backbone(architecture, pretrained=False)
    return backbone.state_dict()


def _picture(rng: np.random.Generator, colour: np.ndarray, box: np.ndarray) -> np.ndarray:
    image = rng.integers(90, 160, (PX, PX, 3), dtype=np.uint8)
    left, top, right, bottom = (box * PX).astype(int)
    image[top:bottom, left:right] = colour
    return image
