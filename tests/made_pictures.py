"""Small pictures, their files, and their pixels."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

RED, WHITE = (255, 0, 0), (255, 255, 255)


def encode(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photo(width=40, height=24, seed=0):
    """A smooth picture without any symmetry."""
    noise = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def pixels(image):
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


def folder_of_pictures(root):
    """A folder of 40 pictures of several kinds, and their names."""
    root.mkdir()
    names = []
    for i in range(40):
        kind = ("JPEG", "PNG", "WEBP")[i % 3]
        names.append(f"{i}.{kind.lower()}")
        photo(30 + i, 50 - i // 2, seed=i).save(root / names[-1], kind)
    return root, names
