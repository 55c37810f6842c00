"""Tiny archives in the layout of the Visual Product Recognition Challenge 2023."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from vsa.data.vpr2023 import FOLDER, NAME

SIGNATURE = (255, 0, 255)  # of which every picture has a broad bar; no figure draws in this colour
BOX_PX = (20, 24, 40, 32)  # x, y, width, height in photos of 80 × 64 pixels


def product_ids(n_each: int) -> list[int]:
    """So many products of each category, as the challenge numbers them."""
    return [start + 7 * i for start in (3, 3400, 5000) for i in range(n_each)]


def make_archive(data_dir: Path, n_each: int = 8) -> Path:
    """An archive with two pictures and two photos per product; returns its folder."""
    root = data_dir / NAME / FOLDER
    gallery, queries = [], []
    for folder in ("gallery", "queries"):
        (root / folder).mkdir(parents=True)
    for number, product in enumerate(product_ids(n_each)):
        for shot in range(2):
            listed, taken = f"gallery/{product}-{shot}.jpg", f"queries/{product}-{shot}.jpeg"
            _picture(product, shot, is_photo=False).save(root / listed, quality=95)
            _picture(product, shot, is_photo=True).save(root / taken, quality=95)
            row = 2 * number + shot
            gallery.append((row, listed, product))
            queries.append((row, taken, *BOX_PX, product))
    columns = ["img_path", "product_id"]
    pd.DataFrame(gallery, columns=["seller_img_id", *columns]).to_csv(
        root / "gallery.csv", index=False
    )
    boxes = ["bbox_x", "bbox_y", "bbox_w", "bbox_h"]
    pd.DataFrame(queries, columns=["user_img_id", columns[0], *boxes, columns[1]]).to_csv(
        root / "queries.csv", index=False
    )
    return root


def _picture(product: int, shot: int, *, is_photo: bool) -> Image.Image:
    """A product of coloured blocks on white, or in a photo: among noise, at `BOX_PX`."""
    colours = np.random.default_rng(product).integers(0, 200, (3, 4, 3))
    noise = np.random.default_rng([product, shot, is_photo])
    paper = noise.integers(60, 200, (64, 80, 3)) if is_photo else np.full((64, 80, 3), 255)
    blocks = np.kron(colours, np.ones((10, 10, 1), int)) + noise.integers(-9, 10, (30, 40, 3))
    x, y, _, _ = BOX_PX
    paper[y : y + 30, x : x + 40] = blocks
    paper[:12] = SIGNATURE
    return Image.fromarray(paper.clip(0, 255).astype(np.uint8))


def has_signature(picture: Image.Image) -> bool:
    """Whether a rendered figure, even with few colours, shows the bar of a picture."""
    red, green, blue = np.moveaxis(np.asarray(picture.convert("RGB")).astype(int), -1, 0)
    return bool(((red > 200) & (green < 80) & (blue > 200)).any())
