"""Many images in one figure, in a grid or in labelled rows.

All images of a figure share one axis, measured in inches from the upper left corner: an axis for
each of them would take seconds to lay out and to draw.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vsa.study.figures.style import PALETTE, STYLE, new_figure

_GAP = 0.06  # inches between images
_LINE = 0.18  # inches per line of text
_HEADING = 0.34
_CHARACTER = 0.083  # inches, at 10 points


@dataclass(frozen=True)
class DrawnBox:
    """A box upon an image."""

    box: np.ndarray  # (x_min, y_min, x_max, y_max), shares of the image
    colour: str = PALETTE[1]
    line_style: str = "-"


@mpl.rc_context(STYLE)
def image_grid(
    images: Sequence[Any],
    titles: Sequence[str] | None = None,
    n_columns: int = 6,
    frame_colours: Sequence[str | None] | None = None,
    boxes: Sequence[Sequence[DrawnBox]] | None = None,
    cell_inches: float = 1.5,
    heading: str = "",
) -> Figure:
    """Images in rows, each under its title and, where given, inside a coloured frame.

    Parameters
    ----------
    images : PIL images or (h, w, 3) uint8 arrays, of any sizes.
    titles : one text per image, wrapped to the cell; say here too what a frame's colour says.
    n_columns : images per row.
    frame_colours : one matplotlib colour, or None for no frame, per image.
    boxes : those upon each image.
    cell_inches : width of a cell.
    heading : what to see, above all.
    """
    if not len(images):
        raise ValueError("an image grid needs at least one image")
    n_rows = -(-len(images) // n_columns)
    titles = [_wrapped(title, n_characters=int(12 * cell_inches)) for title in titles or ()]
    n_lines = max((title.count("\n") + 1 for title in titles), default=0)
    title_inches = _LINE * n_lines + _GAP
    above = _HEADING if heading else 0.0
    figure, axis = _inches(
        n_columns * cell_inches, n_rows * (cell_inches + title_inches) + above, heading
    )
    for i, image in enumerate(images):
        row, column = divmod(i, n_columns)
        left, top = column * cell_inches, above + row * (cell_inches + title_inches) + title_inches
        if titles:
            axis.text(left + cell_inches / 2, top, titles[i], fontsize=9, ha="center", va="bottom")
        frame = None if frame_colours is None else frame_colours[i]
        _draw(axis, image, left, top, cell_inches, frame, boxes[i] if boxes else ())
    return figure


@mpl.rc_context(STYLE)
def image_rows(
    rows: Sequence[tuple[str, Sequence[Any]]],
    column_titles: Mapping[int, str],
    framed: Collection[tuple[int, int]] = (),
    boxes: Mapping[tuple[int, int], Sequence[DrawnBox]] | None = None,
    cell_inches: float = 1.1,
    heading: str = "",
) -> Figure:
    """Rows of images, each behind its label.

    Parameters
    ----------
    rows : label and images, PIL or (h, w, 3) uint8; None leaves a place empty.
    column_titles : column → text above it, which may reach over the columns after it.
    framed : (row, column) of the images inside a frame.
    boxes : (row, column) → those upon that image.
    cell_inches : width and height of a cell.
    heading : what to see, above all.
    """
    lines = [line for label, _ in rows for line in label.splitlines()]
    labels = _CHARACTER * max(map(_width, lines), default=0) + 2 * _GAP
    above = _LINE + _GAP + (_HEADING if heading else 0.0)
    n_columns = max(len(images) for _, images in rows)
    width, height = labels + n_columns * cell_inches, above + len(rows) * cell_inches
    figure, axis = _inches(width, height, heading)
    for column, text in column_titles.items():
        axis.text(labels + column * cell_inches + _GAP / 2, above, text, fontsize=10, va="bottom")
    for row, (label, images) in enumerate(rows):
        top = above + row * cell_inches
        axis.text(labels - _GAP, top + cell_inches / 2, label, fontsize=10, ha="right", va="center")
        for column, image in enumerate(images):
            if image is not None:
                frame = PALETTE[0] if (row, column) in framed else None
                drawn = (boxes or {}).get((row, column), ())
                _draw(axis, image, labels + column * cell_inches, top, cell_inches, frame, drawn)
    return figure


def _inches(width: float, height: float, heading: str) -> tuple[Figure, Axes]:
    figure, axis = new_figure(width, height, layout=None)
    axis.set_position((0, 0, 1, 1))
    axis.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    axis.set_axis_off()
    axis.text(_GAP / 2, _GAP, heading, fontsize=12, va="top")
    return figure, axis


def _draw(
    axis: Axes,
    image: Any,
    left: float,
    top: float,
    cell: float,
    frame: str | None,
    boxes: Sequence[DrawnBox],
) -> None:
    """One image, in the middle of its cell and as large as fits."""
    pixels = np.asarray(image)
    side = cell - _GAP
    height, width = side * np.array(pixels.shape[:2]) / max(pixels.shape[:2])
    x, y = left + (cell - width) / 2, top + (cell - height) / 2
    axis.imshow(pixels, extent=(x, x + width, y + height, y), aspect="auto")
    for drawn in boxes:
        x_min, y_min, x_max, y_max = drawn.box
        corner = x + x_min * width, y + y_min * height
        size = (x_max - x_min) * width, (y_max - y_min) * height
        for line_width, colour in ((4, "white"), (2, drawn.colour)):
            _outline(axis, corner, size, line_width, colour, drawn.line_style)
    if frame is not None:
        _outline(axis, (x, y), (width, height), 3.5, frame)


def _outline(
    axis: Axes,
    corner: tuple[float, float],
    size: tuple[float, float],
    line_width: float,
    colour: str,
    line_style: str = "-",
) -> None:
    axis.add_patch(
        Rectangle(corner, *size, fill=False, linewidth=line_width, edgecolor=colour, ls=line_style)
    )


def _wrapped(text: str, n_characters: int) -> str:
    lines = [(line, max(1, n_characters * len(line) // _width(line))) for line in text.splitlines()]
    return "\n".join(textwrap.fill(line, n_fitting) for line, n_fitting in lines)


def _width(line: str) -> int:
    """In characters; those of East Asian scripts are two wide. At least one."""
    return max(1, sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in line))
