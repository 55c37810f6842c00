"""Products: a leaf, proportions, palette, pattern and label; and the families they come in."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vsa.data.synthetic import goods, home, wear
from vsa.data.synthetic.sketch import N_KNOBS, Builder, Knobs, Sketch
from vsa.runtime.seeds import generator

LEAVES: dict[str, tuple[Builder, ...]] = {
    "shirt": wear.SHIRT,
    "dress": wear.DRESS,
    "pants": wear.PANTS,
    "bags": goods.BAGS,
    "shoes": wear.SHOES,
    "accessories": goods.ACCESSORIES,
    "snacks": goods.SNACKS,
    "cosmetics": goods.COSMETICS,
    "beverages": goods.BEVERAGES,
    "furniture": home.FURNITURE,
    "toys": home.TOYS,
    "underdress": wear.UNDERDRESS,
    "digital": home.DIGITAL,
    "others": home.OTHERS,
}
BUILDERS: dict[str, Builder] = {b.__name__: b for leaves in LEAVES.values() for b in leaves}
SPLIT_SHARES = {"train": 0.60, "val": 0.15, "test": 0.25}
PATTERNS = ("plain", "stripes", "dots", "checks", "gradient", "blobs")
PATTERN_ODDS = (0.34, 0.16, 0.13, 0.13, 0.10, 0.14)
N_GLYPHS = 9  # glyph 0 is none
MAX_FAMILY = 8

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
    knobs: tuple[float, ...]
    palette: tuple[Colour, Colour, Colour]  # main, second, accent
    pattern: str
    frequency: float  # repeats of the pattern along the longer side
    angle: float  # degrees
    pattern_seed: int
    glyph: int
    split: str = "train"

    def sketch(self) -> Sketch:
        sketch = Sketch()
        BUILDERS[self.leaf](sketch, Knobs(self.knobs))
        return sketch


def make_products(n_per_category: int, seed: int) -> list[Product]:
    """The shop's products, category by category; the same for the same arguments.

    A family shares leaf, proportions and pattern; its members differ finely. Members of one
    family may fall into different splits; one product never does.
    """
    width = max(4, len(str(n_per_category * len(LEAVES) - 1)))
    products: list[Product] = []
    for category, builders in LEAVES.items():
        rng = generator(seed, "products", category)
        members: list[Product] = []
        leaves = [builders[i].__name__ for i in rng.permutation(len(builders))]
        largest = min(MAX_FAMILY, max(1, n_per_category // len(leaves)))
        family = 0
        while len(members) < n_per_category:
            size = min(int(rng.integers(1, largest + 1)), n_per_category - len(members))
            members += _family(category, leaves[family % len(leaves)], family, size, rng)
            family += 1
        splits = _splits(n_per_category, rng)
        products += [
            replace(member, product_id=f"p{len(products) + i:0{width}d}", split=splits[i])
            for i, member in enumerate(members)
        ]
    return products


def _splits(n: int, rng: np.random.Generator) -> list[str]:
    """Exact shares, in random order; with 3 products or more no split is empty."""
    n_val = max(1, round(SPLIT_SHARES["val"] * n))
    n_test = max(1, round(SPLIT_SHARES["test"] * n))
    names = ["val"] * n_val + ["test"] * n_test
    names = ["train"] * (n - len(names)) + names
    return [names[i] for i in rng.permutation(n)]


def _family(
    category: str, leaf: str, family: int, size: int, rng: np.random.Generator
) -> list[Product]:
    first = Product(
        product_id="",
        category=category,
        leaf=leaf,
        family=family,
        knobs=tuple(rng.random(N_KNOBS).tolist()),
        palette=_palette(rng),
        pattern=str(rng.choice(PATTERNS, p=PATTERN_ODDS)),
        frequency=float(rng.uniform(3, 11)),
        angle=float(rng.choice([0, 90, 45, -45, rng.uniform(-90, 90)])),
        pattern_seed=int(rng.integers(2**31)),
        glyph=int(rng.integers(1, N_GLYPHS)) if rng.random() < 0.6 else 0,
    )
    members = [first]
    while len(members) < size:
        sibling = _sibling(members[int(rng.integers(len(members)))], rng)
        if sibling not in members:
            members.append(sibling)
    return members


def _sibling(of: Product, rng: np.random.Generator) -> Product:
    """A product that differs from `of` in one palette colour, the pattern, a part or the label."""
    visible = ["colour", "colour", "part", "part"]
    if of.pattern != "plain":
        visible += ["frequency", "pattern"]
    if of.glyph and of.sketch().label is not None:
        visible += ["glyph"]
    change = rng.choice(visible)
    if change == "colour":
        palette = list(of.palette)
        palette[int(rng.choice([0, 1, 1]))] = _colour(rng)
        return replace(of, palette=(palette[0], palette[1], palette[2]))
    if change == "part":
        knobs = list(of.knobs)
        for i in rng.permutation(5)[:2]:
            knobs[i] = (knobs[i] + rng.uniform(0.35, 0.65)) % 1
        return replace(of, knobs=tuple(knobs))
    if change == "frequency":
        return replace(of, frequency=of.frequency * float(rng.choice([0.6, 1.65])))
    if change == "pattern":
        return replace(of, angle=of.angle + 45, pattern_seed=int(rng.integers(2**31)))
    return replace(of, glyph=1 + (of.glyph + int(rng.integers(N_GLYPHS - 2))) % (N_GLYPHS - 1))


def _colour(rng: np.random.Generator) -> Colour:
    """A colour of the pool, a little off."""
    r, g, b = np.clip(POOL[rng.integers(len(POOL))] + rng.integers(-12, 13, 3), 8, 250).tolist()
    return r, g, b


def _palette(rng: np.random.Generator) -> tuple[Colour, Colour, Colour]:
    """Three colours, the second and third well apart from the first."""
    main = _colour(rng)
    others: list[Colour] = []
    while len(others) < 2:
        candidate = _colour(rng)
        if sum(abs(a - b) for a, b in zip(main, candidate, strict=True)) > 120:
            others.append(candidate)
    return main, others[0], others[1]
