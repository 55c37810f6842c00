"""Boxes: in pixels as tables of people have them, as shares of a picture's sides ever after.

Whoever asks with a box of their own (`check_box`) gives shares.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from vsa.data.decoding import ImageError, Source, upright_size
from vsa.data.schema import BOX
from vsa.runtime.errors import InputError

_FARTHEST = 2.0  # a box's side from the photo's, in shares; more is a mistake of units
_LEAST_PX = 1 - 1e-3  # of a box's sides; float32 shares of a pixel make a little less


def check_box(box: Sequence[float]) -> np.ndarray:
    """A box in shares of a photo's sides as float32 (4,), cut to the photo.

    Raises InputError for what is no box, for pixels, and where nothing of it is left.
    """
    try:
        sides = np.asarray(box, np.float32)
    except (TypeError, ValueError):
        sides = np.empty(0, np.float32)
    if sides.shape != (4,) or not np.isfinite(sides).all():
        raise InputError(f"{box!r} is no box", cure="Give x_min, y_min, x_max, y_max as shares")
    told = f"the box [{', '.join(f'{side:g}' for side in sides)}]"
    if (np.abs(sides) > _FARTHEST).any():
        raise InputError(
            f"{told} seems to be in pixels; shares of the photo's sides, between 0 and 1, are "
            "wanted",
            cure="To convert, divide pixels by width and height: x_min / width, y_min / height, "
            "x_max / width, y_max / height",
        )
    if (sides[2:] <= sides[:2]).any():
        raise InputError(f"{told} is empty", cure="Give x_min < x_max and y_min < y_max")
    cut = sides.clip(0, 1)
    if (cut[2:] <= cut[:2]).any():
        raise InputError(
            f"{told} lies outside of the photo",
            cure="Give shares of its sides, from 0 (left, top) to 1 (right, bottom)",
        )
    return cut


def require_pixels(box: np.ndarray, photo: Source, decoded: Image.Image) -> None:
    """Raise InputError for a checked box, (4,), that is smaller than a pixel of the photo.

    `decoded` may be smaller than the photo; it is asked where the photo was a file that has been
    read by now.
    """
    is_there = isinstance(photo, str | os.PathLike | bytes | bytearray | memoryview)
    width, height = upright_size(photo) if is_there else decoded.size
    if (box[2] - box[0]) * width < _LEAST_PX or (box[3] - box[1]) * height < _LEAST_PX:
        raise InputError(
            f"the box [{', '.join(f'{side:g}' for side in box)}] is smaller than a pixel of the "
            f"photo, which has {width} × {height}",
            cure="Give a larger one: shares of the photo's sides, between 0 and 1",
        )


def fractional_boxes(
    boxes: pd.DataFrame, pictures: Sequence[Path], *, file: Path, cure: str
) -> pd.DataFrame:
    """Boxes in pixels → shares of width and height, NaN where there is none.

    Parameters
    ----------
    boxes : columns x_min, y_min, x_max, y_max, floating (n, 4), NaN for no box; pixels from the
        upper left corner of the upright picture.
    pictures : n files, of which only the header is read. One that cannot be read gets no box:
        ``reject_unreadable`` will find it.
    file : the table, for errors; its rows are those of `boxes`.
    cure : what to do about a wrong box.

    Raises
    ------
    InputError, naming file and row, for a box that is incomplete, has no area, is smaller than a
    pixel or leaves its picture.
    """
    found = pd.DataFrame(math.nan, index=boxes.index, columns=BOX, dtype=float)
    for i, sides in enumerate(boxes[BOX].itertuples(index=False)):
        if not all(math.isnan(side) for side in sides):
            problem, shares = _as_shares(sides, pictures[i])
            if problem:
                raise InputError(
                    f"the box {', '.join(f'{side:g}' for side in sides)} {problem}",
                    cure=cure,
                    file=file,
                    row=i + 2,
                )
            found.iloc[i] = shares
    return found


def _as_shares(sides: tuple[float, ...], path: Path) -> tuple[str, list[float]]:
    """What is wrong with a box, "" if nothing; its shares, NaN for an unreadable picture."""
    none = [math.nan] * len(BOX)
    x_min, y_min, x_max, y_max = sides
    if any(math.isnan(side) for side in sides):
        return "is incomplete", none
    if x_min >= x_max or y_min >= y_max:
        return "has no area", none
    try:
        width, height = upright_size(path)
    except ImageError:
        return "", none
    if x_min < 0 or y_min < 0 or x_max > width or y_max > height:
        return f"leaves the image of {width} × {height} pixels", none
    if x_max - x_min < _LEAST_PX or y_max - y_min < _LEAST_PX:
        return "is smaller than a pixel", none
    return "", [x_min / width, y_min / height, x_max / width, y_max / height]
