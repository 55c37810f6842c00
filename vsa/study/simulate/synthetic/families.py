"""Families: which products the shop has, and how the members of a family differ."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import numpy as np
from PIL import Image

from vsa.runtime.seeds import generator
from vsa.study.simulate.synthetic.products import LEAVES, N_GLYPHS, PATTERNS, POOL, Colour, Product
from vsa.study.simulate.synthetic.sketch import N_PROPORTIONS
from vsa.study.simulate.synthetic.sprites import draw_sprite

SPLIT_SHARES = {"train": 0.60, "val": 0.15, "test": 0.25}
PATTERN_ODDS = (0.40, 0.15, 0.12, 0.12, 0.10, 0.11)
MAX_FAMILY = 8
MIN_DIFFERENCE = 2.5  # grey levels, on average over a thumbnail, between any two siblings

Each = Callable[[Callable[[str], list[Product]], Iterable[str]], Iterable[list[Product]]]


def make_products(n_per_category: int, seed: int, each: Each = map) -> list[Product]:
    """The shop's products, category by category; the same for the same size and seed.

    A family shares leaf, proportions and pattern; its members differ finely. Members of one
    family may fall into different splits; one product never does.

    Parameters
    ----------
    each : as `map`, which makes one category after the other; that of a pool makes several at once.
    """
    width = max(4, len(str(n_per_category * len(LEAVES) - 1)))
    make = partial(_members, n_per_category=n_per_category, seed=seed)
    members = itertools.chain.from_iterable(each(make, LEAVES))
    return [replace(one, product_id=f"p{i:0{width}d}") for i, one in enumerate(members)]


def _members(category: str, n_per_category: int, seed: int) -> list[Product]:
    """The products of one category, without their ids."""
    rng = generator(seed, "products", category)
    members: list[Product] = []
    leaves = [LEAVES[category][i].__name__ for i in rng.permutation(len(LEAVES[category]))]
    largest = min(MAX_FAMILY, max(1, n_per_category // len(leaves)))
    family = 0
    while len(members) < n_per_category:
        size = min(int(rng.integers(1, largest + 1)), n_per_category - len(members))
        members += _family(category, leaves[family % len(leaves)], family, size, rng)
        family += 1
    splits = _splits(n_per_category, rng)
    return [replace(one, split=split) for one, split in zip(members, splits, strict=True)]


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
        proportions=tuple(rng.random(N_PROPORTIONS).tolist()),
        palette=_palette(rng),
        pattern=str(rng.choice(PATTERNS, p=PATTERN_ODDS)),
        frequency=float(rng.uniform(3, 11)),
        angle=float(rng.choice([0, 90, 45, -45, rng.uniform(-90, 90)])),
        pattern_seed=int(rng.integers(2**31)),
        glyph=int(rng.integers(1, N_GLYPHS)) if rng.random() < 0.6 else 0,
    )
    members, thumbnails = [first], [_thumbnail(first)]
    while len(members) < size:
        sibling = _sibling(members[int(rng.integers(len(members)))], rng)
        thumbnail = _thumbnail(sibling)
        if min(float(np.abs(thumbnail - other).mean()) for other in thumbnails) >= MIN_DIFFERENCE:
            members.append(sibling)
            thumbnails.append(thumbnail)
    return members


def _thumbnail(product: Product) -> np.ndarray:
    """The product on white, float32 of shape (24, 24, 3)."""
    sprite = draw_sprite(product, 48)
    square = Image.new("RGB", (48, 48), "white")
    square.paste(sprite, ((48 - sprite.width) // 2, (48 - sprite.height) // 2), sprite)
    return np.asarray(square.reduce(2), np.float32)


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
        proportions = list(of.proportions)
        for i in rng.permutation(5)[:2]:
            proportions[i] = (proportions[i] + rng.uniform(0.35, 0.65)) % 1
        return replace(of, proportions=tuple(proportions))
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
