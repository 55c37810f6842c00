"""Boxes: in pixels as tables of people have them, as shares of a picture's sides ever after."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from vsa.data.decoding import ImageError, upright_size
from vsa.data.schema import BOX
from vsa.runtime.errors import InputError


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
    InputError, naming file and row, for a box that is incomplete, has no area or leaves its
    picture.
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
    return "", [x_min / width, y_min / height, x_max / width, y_max / height]
