"""Vector sketches: a product's outline as a list of filled polygons and strokes.

Coordinates have x to the right and y down, in any unit: a sketch is fitted to its canvas when it
is drawn. A builder of ``wear.py``, ``carried.py``, ``goods.py``, ``home.py`` or ``things.py`` turns
the `Proportions` of one product into a `Sketch`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

Points = np.ndarray  # (n, 2) float
N_PROPORTIONS = 12


class Material(IntEnum):
    """What a pixel is made of; the product's palette gives the first ones their colour."""

    CLEAR = 0
    BODY = 1  # main colour with the product's pattern
    MAIN = 2
    MAIN_DARK = 3
    SECOND = 4
    SECOND_DARK = 5
    ACCENT = 6
    INK = 7  # outlines: a dark shade of the main colour
    WHITE = 8
    BLACK = 9
    METAL = 10
    GLASS = 11
    WOOD = 12
    GREEN = 13


@dataclass(frozen=True)
class Part:
    """One polygon, or a stroke where `width` is not 0."""

    points: Points
    material: Material
    edge: bool
    width: float


class Proportions:
    """The proportions of one product: uniform numbers in [0, 1), consumed in order."""

    def __init__(self, values: Sequence[float]) -> None:
        self._values = iter(values)

    def __call__(self, low: float, high: float) -> float:
        return low + (high - low) * next(self._values)

    def pick(self, n: int) -> int:
        """A whole number in [0, n)."""
        return int(n * next(self._values))


class Sketch:
    """Parts from back to front, where a label may sit, and how light falls on the whole."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.form = "cloth"  # cloth | round | box
        self.label: tuple[float, float, float] | None = None  # centre x, centre y, radius

    def add(
        self, points: Sequence | Points, material: Material = Material.BODY, edge: bool = True
    ) -> None:
        self.parts.append(Part(np.asarray(points, float), material, edge, 0.0))

    def pair(
        self, points: Sequence | Points, material: Material = Material.BODY, edge: bool = True
    ) -> None:
        """Add a polygon and its mirror image about x = 0."""
        self.add(points, material, edge)
        self.add(np.asarray(points, float) * (-1, 1), material, edge)

    def cut(self, points: Sequence | Points) -> None:
        """A hole: what was drawn so far becomes transparent there."""
        self.add(points, Material.CLEAR)

    def line(
        self, points: Sequence | Points, width: float = 0.03, material: Material = Material.INK
    ) -> None:
        self.parts.append(Part(np.asarray(points, float), material, False, width))

    def pair_line(
        self, points: Sequence | Points, width: float = 0.03, material: Material = Material.INK
    ) -> None:
        """Add a stroke and its mirror image about x = 0."""
        self.line(points, width, material)
        self.line(np.asarray(points, float) * (-1, 1), width, material)


Builder = Callable[[Sketch, Proportions], None]


def mirror(right: Sequence | Points) -> Points:
    """Close a right-hand profile, listed from top to bottom, with its mirror image."""
    points = np.asarray(right, float)
    return np.concatenate([points, points[::-1] * (-1, 1)])


def curve(points: Sequence | Points, closed: bool = True, n: int = 6) -> Points:
    """Catmull–Rom spline through the points, `n` samples per span."""
    p = np.asarray(points, float)
    if not closed:
        p = np.concatenate([p[:1], p, p[-1:]])
    i = np.arange(len(p))  # a negative or wrapped index closes the curve
    before, after, last = p[i - 1], p[i + 1 - len(p)], p[i + 2 - len(p)]
    t = (np.arange(n) / n)[:, None, None]
    spline = 0.5 * (
        2 * p
        + (after - before) * t
        + (2 * before - 5 * p + 4 * after - last) * t**2
        + (3 * p - before - 3 * after + last) * t**3
    )  # (n, number of points, 2)
    spans = spline.transpose(1, 0, 2)
    if not closed:
        return np.concatenate([spans[1:-2].reshape(-1, 2), p[-1:]])
    return spans.reshape(-1, 2)


def ellipse(
    x: float, y: float, rx: float, ry: float | None = None, start: float = 0, stop: float = 360
) -> Points:
    """An ellipse, or an arc of it, clockwise in degrees from the positive x axis."""
    angle = np.radians(np.linspace(start, stop, 32))
    return np.stack([x + rx * np.cos(angle), y + (ry or rx) * np.sin(angle)], axis=1)


def rect(x0: float, y0: float, x1: float, y1: float, r: float = 0.0) -> Points:
    """A rectangle with corners rounded by radius `r`."""
    if r == 0:
        return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], float)
    r = min(r, (x1 - x0) / 2, (y1 - y0) / 2)
    corners = [
        (x1 - r, y0 + r, -90),
        (x1 - r, y1 - r, 0),
        (x0 + r, y1 - r, 90),
        (x0 + r, y0 + r, 180),
    ]
    quarter = np.radians(np.linspace(0, 90, 6))
    return np.concatenate(
        [
            np.stack([x + r * np.cos(quarter + a), y + r * np.sin(quarter + a)], axis=1)
            for x, y, a in ((x, y, np.radians(a)) for x, y, a in corners)
        ]
    )


def turn(points: Sequence | Points, degrees: float, x: float = 0.0, y: float = 0.0) -> Points:
    """Rotate clockwise (on screen) about (x, y)."""
    a = np.radians(degrees)
    rotation = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
    return (np.asarray(points, float) - (x, y)) @ rotation + (x, y)
