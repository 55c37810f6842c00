"""Products: a leaf, proportions, palette, pattern and label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vsa.study.simulate.synthetic import carried, goods, home, things, wear
from vsa.study.simulate.synthetic.sketch import Builder, Proportions, Sketch

LEAVES: dict[str, tuple[Builder, ...]] = {
    "shirt": wear.SHIRT,
    "dress": wear.DRESS,
    "pants": wear.PANTS,
    "bags": carried.BAGS,
    "shoes": carried.SHOES,
    "accessories": carried.ACCESSORIES,
    "snacks": goods.SNACKS,
    "cosmetics": goods.COSMETICS,
    "beverages": goods.BEVERAGES,
    "furniture": home.FURNITURE,
    "toys": home.TOYS,
    "underdress": wear.UNDERDRESS,
    "digital": things.DIGITAL,
    "others": things.OTHERS,
}
BUILDERS: dict[str, Builder] = {b.__name__: b for leaves in LEAVES.values() for b in leaves}
PATTERNS = ("plain", "stripes", "dots", "checks", "gradient", "blobs")
N_GLYPHS = 9  # glyph 0 is none

# One pool for all categories, so that colour says nothing about the category.
POOL = np.array(
    [
        (28, 28, 32), (74, 76, 84), (138, 140, 146), (206, 206, 204), (242, 240, 236),
        (190, 32, 44), (232, 86, 64), (238, 146, 54), (244, 200, 72), (222, 208, 150),
        (150, 176, 72), (66, 134, 72), (28, 84, 66), (84, 186, 164), (44, 150, 176),
        (120, 182, 222), (48, 104, 190), (30, 46, 104), (110, 78, 166), (186, 140, 208),
        (212, 74, 140), (242, 172, 188), (128, 34, 58), (120, 78, 50), (186, 144, 104),
        (98, 104, 60),
    ]
)  # fmt: skip

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Product:
    """One thing for sale; everything that its pictures show."""

    product_id: str
    category: str
    leaf: str
    family: int
    proportions: tuple[float, ...]
    palette: tuple[Colour, Colour, Colour]  # main, second, accent
    pattern: str
    frequency: float  # repeats of the pattern along the longer side
    angle: float  # degrees
    pattern_seed: int
    glyph: int
    split: str = "train"

    def sketch(self) -> Sketch:
        sketch = Sketch()
        BUILDERS[self.leaf](sketch, Proportions(self.proportions))
        return sketch
