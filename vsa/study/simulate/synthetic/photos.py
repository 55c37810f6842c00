"""The pictures of the shop: studio (main, sku), re-uploaded listings, and real shots.

Every function returns a `Shot`: the picture and the object's alpha mask before occlusion, from
which its box is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from vsa.study.simulate.synthetic.backgrounds import background
from vsa.study.simulate.synthetic.degrade import blur, jpeg, light_and_noise
from vsa.study.simulate.synthetic.placing import VISIBLE, Box, quad, tight_box, warp
from vsa.study.simulate.synthetic.products import Product
from vsa.study.simulate.synthetic.sprites import draw_sprite

MAX_OCCLUSION = 0.25  # share of the object that something in front of it may hide
GREYS = np.arange(256, dtype=np.float32)
SKIN = ((236, 196, 168), (208, 158, 122), (160, 108, 76), (104, 68, 50))


@dataclass(frozen=True)
class Shot:
    """A picture (RGB) and the alpha of its product ("L"), both n_px × n_px."""

    image: Image.Image
    mask: Image.Image

    @property
    def box(self) -> Box:
        return tight_box(self.mask)


def main_shot(product: Product, n_px: int, rng: np.random.Generator) -> Shot:
    """The seller's first picture: front view, nearly filling a plain light background."""
    scale = rng.uniform(0.78, 0.92)
    centre = (n_px / 2, n_px / 2 + rng.uniform(-0.02, 0.02) * n_px)
    skew = np.zeros((4, 2))
    layer = _place(product, n_px, centre, scale**2, rng.uniform(-2, 2), skew, scale, 2)
    return _studio(layer, n_px, rng)


def sku_shot(product: Product, n_px: int, rng: np.random.Generator) -> Shot:
    """Another studio picture: turned, seen from the side, mirrored, or with its colours beside."""
    scale = rng.uniform(0.55, 0.85)
    centre = tuple((0.5 + rng.uniform(-0.07, 0.07, 2)) * n_px)
    skew = np.zeros((4, 2))
    side = rng.uniform(0, 0.16)  # the far edge looks shorter
    skew[[1, 2] if rng.random() < 0.5 else [0, 3], 1] = side, -side
    degrees = float(rng.normal(0, 9))
    layer = _place(product, n_px, centre, scale**2, degrees, skew, scale, 2, rng.random() < 0.35)
    shot = _studio(layer, n_px, rng)
    if rng.random() < 0.25:
        draw = ImageDraw.Draw(shot.image)
        side_px = 0.1 * n_px
        for i, colour in enumerate(product.palette):
            x = (0.04 + 0.12 * i) * n_px
            draw.rectangle((x, 0.88 * n_px, x + side_px, 0.98 * n_px), colour)
    return shot


def real_shot(
    product: Product,
    around: Sequence[Product],
    n_px: int,
    rng: np.random.Generator,
    strength: float = 1.0,
    share: float | None = None,
) -> Shot:
    """A shopper's photo: clutter, `around` as distractors, perspective, occlusion, poor light.

    `strength` in (0, 1] scales what separates it from a studio picture: 1 for queries. `share` is
    that of the picture which the product's outline box covers, less where a side would leave the
    picture; without it, one is drawn. All else is drawn alike.
    """
    image = background(n_px, rng)
    for other in around:
        _add_layer(image, _distractor(other, n_px, rng), rng)
    layer = _object(product, n_px, rng, strength, share)
    _add_layer(image, layer, rng)
    mask = layer.getchannel("A")
    if rng.random() < 0.3 * strength:
        _occlude(image, mask, rng)
    image = blur(image, rng, strength)
    image = light_and_noise(image, rng, strength)
    return Shot(jpeg(image, int(rng.integers(40, 91))), mask)


def relisting(main: Shot, rng: np.random.Generator) -> Shot:
    """The main picture as another seller uploads it: cropped, resized, stamped, re-encoded."""
    n_px = main.image.width
    image, mask = main.image, main.mask
    if rng.random() < 0.6:  # crop a little
        left, top, right, bottom = rng.uniform(0, 0.06, 4) * n_px
        window = (left, top, n_px - right, n_px - bottom)
        image, mask = (
            i.resize((n_px, n_px), Image.Resampling.BICUBIC, window) for i in (image, mask)
        )
    if rng.random() < 0.4:  # a smaller original
        small = int(n_px * rng.uniform(0.45, 0.9))
        image = image.resize((small, small), Image.Resampling.BOX).resize((n_px, n_px))
    if rng.random() < 0.5:
        image = _scaled(image, rng.uniform(0.88, 1.1))
    image = image.copy()
    if rng.random() < 0.25:  # a frame, over the picture
        frame = tuple(rng.integers(0, 256, 3).tolist())
        width = max(1, round(n_px * rng.uniform(0.015, 0.04)))
        ImageDraw.Draw(image).rectangle((0, 0, n_px - 1, n_px - 1), outline=frame, width=width)
    if rng.random() < 0.5:
        _stamp(image, rng)
    return Shot(jpeg(image, int(rng.integers(55, 93))), mask)


def _scaled(image: Image.Image, factor: float) -> Image.Image:
    """Every grey level times `factor`, clipped to 255."""
    levels = np.minimum(GREYS * np.float32(factor), 255).astype(np.uint8).tolist()
    return image.point(levels * len(image.getbands()))


def _place(
    product: Product,
    n_px: int,
    centre: tuple[float, ...],
    area: float,
    degrees: float,
    skew: np.ndarray,
    limit: float,
    oversample: int,
    flip: bool = False,
) -> Image.Image:
    """The product's layer: its quad has the bounding box area `area` (fraction of the picture)."""
    x, y = centre
    longest = min(limit, 1.25 * np.sqrt(area)) * n_px * oversample
    sprite = draw_sprite(product, max(24, int(longest)))
    if flip:
        sprite = sprite.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    side = np.sqrt(area) * n_px
    corners = quad(sprite.size, (x, y), (side, side), degrees, skew, limit * n_px)
    return warp(sprite, corners, n_px, oversample)


def _object(
    product: Product,
    n_px: int,
    rng: np.random.Generator,
    strength: float,
    share: float | None,
) -> Image.Image:
    """The photographed product; its box covers `share`, or roughly 12 to 70 %, of the picture."""
    drawn = 0.14 + 0.6 * rng.beta(2.4, 1.2)
    area = drawn if share is None else share
    side = np.sqrt(area)
    reach = max(0.0, (1 - side) / 2) + 0.02  # a part may stick out
    centre = tuple((0.5 + rng.uniform(-reach, reach, 2)) * n_px)
    degrees = float(rng.normal(0, 9 * strength))
    skew = rng.uniform(-0.07, 0.07, (4, 2)) * strength
    flip = rng.random() < 0.2
    return _place(product, n_px, centre, area, degrees, skew, 1.0, 2, flip)


def _distractor(product: Product, n_px: int, rng: np.random.Generator) -> Image.Image:
    """Another product, smaller, towards an edge of the picture and often cut by it."""
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.42, 0.6)
    centre = (0.5 + distance * np.cos(angle)) * n_px, (0.5 + distance * np.sin(angle)) * n_px
    side = rng.uniform(0.18, 0.36)
    skew = rng.uniform(-0.1, 0.1, (4, 2))
    return _place(product, n_px, centre, side**2, float(rng.normal(0, 25)), skew, 0.5, 2)


def _add_layer(image: Image.Image, layer: Image.Image, rng: np.random.Generator) -> None:
    """Paste a layer with the soft shadow that it throws."""
    n_px = image.width
    alpha = layer.getchannel("A")
    dx, dy = (rng.uniform((-0.03, 0.005), (0.03, 0.04)) * n_px).round().astype(int).tolist()
    softness = rng.uniform(0.01, 0.035) * n_px
    shadow = ImageChops.offset(alpha, dx, dy).filter(ImageFilter.BoxBlur(softness))
    depth = rng.uniform(0.25, 0.6)
    image.paste((12, 10, 14), (0, 0), _scaled(shadow, depth))
    image.paste(layer, (0, 0), alpha)


def _studio(layer: Image.Image, n_px: int, rng: np.random.Generator) -> Shot:
    """A light background, plain or a soft gradient, with a faint shadow under the product."""
    top = np.full(3, rng.uniform(240, 255))
    low = top.copy()
    kind = rng.random()
    if kind > 0.4:
        low = top - rng.uniform(6, 34)
    if kind > 0.7:
        low = low - rng.uniform(0, 26, 3)
    ramp = np.linspace(0, 1, n_px)[:, None, None]
    column = (top + ramp * (low - top)).astype(np.uint8)
    image = Image.fromarray(np.repeat(column, n_px, axis=1))
    alpha = layer.getchannel("A")
    shadow = ImageChops.offset(alpha, 0, round(0.02 * n_px)).filter(
        ImageFilter.BoxBlur(0.02 * n_px)
    )
    image.paste((90, 90, 100), (0, 0), _scaled(shadow, 0.35))
    image.paste(layer, (0, 0), alpha)
    return Shot(image, alpha)


def _occlude(image: Image.Image, mask: Image.Image, rng: np.random.Generator) -> None:
    """A hand or a strip from the edge of the picture over the object, hiding at most a quarter."""
    n_px = image.width
    x0, y0, x1, y1 = np.array(tight_box(mask)) * n_px
    angle = rng.uniform(0, 2 * np.pi)
    out = np.array([np.cos(angle), np.sin(angle)])
    centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    half = np.array([x1 - x0, y1 - y0]) / 2
    area = max(1, sum(mask.histogram()[VISIBLE:]))
    draw_cover = _hand if rng.random() < 0.65 else _strip
    seed = int(rng.integers(2**31))
    for pull in (0.5, 0.75, 1.0, 1.25):  # from the outside in: the first that hides enough wins
        cover = draw_cover(n_px, centre + out * half * pull, out, np.random.default_rng(seed))
        alpha = cover.getchannel("A")
        hidden = ImageChops.darker(alpha, mask)
        if sum(hidden.histogram()[VISIBLE:]) <= MAX_OCCLUSION * area:
            image.paste(cover, (0, 0), alpha)
            return


def _hand(n_px: int, tip: np.ndarray, out: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Four fingers and the back of a hand that reaches in from direction `out`."""
    big = Image.new("RGBA", (2 * n_px, 2 * n_px))
    draw = ImageDraw.Draw(big)
    skin = SKIN[rng.integers(len(SKIN))]
    edge = tuple(int(value * 0.8) for value in skin)
    unit = rng.uniform(0.045, 0.07) * 2 * n_px
    across = np.array([-out[1], out[0]])
    tip = tip * 2
    palm = tip + out * unit * 4.2
    lengths = np.array([0.5, 0.0, 0.1, 0.7]) + rng.uniform(-0.6, 0.6, 4)
    for i, length in enumerate(lengths):
        start = tip + across * unit * 1.05 * (i - 1.5) + out * unit * length
        end = palm + across * unit * 0.8 * (i - 1.5)
        for width, colour in ((1.15, edge), (0.9, skin)):
            r = unit * width / 2
            draw.line((*start, *end), colour, max(1, round(2 * r)))
            draw.ellipse((*(start - r), *(start + r)), colour)
    wrist = palm + out * 3 * n_px
    draw.line((*palm, *wrist), skin, round(unit * 3))
    draw.ellipse((*(palm - unit * 2.1), *(palm + unit * 2.1)), skin)
    return big.reduce(2)


def _strip(n_px: int, tip: np.ndarray, out: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """A band across the picture: a strap, a cable, the edge of something."""
    big = Image.new("RGBA", (2 * n_px, 2 * n_px))
    draw = ImageDraw.Draw(big)
    across = np.array([-out[1], out[0]])
    colour = tuple(rng.integers(20, 236, 3).tolist())
    width = round(rng.uniform(0.04, 0.12) * 2 * n_px)
    bend = out * rng.uniform(-0.1, 0.3) * n_px
    points = [2 * tip - across * 3 * n_px + bend, 2 * tip, 2 * tip + across * 3 * n_px + bend]
    draw.line([tuple(point) for point in points], colour, max(2, width), joint="curve")
    return big.reduce(2)


def _stamp(image: Image.Image, rng: np.random.Generator) -> None:
    """A seller's sticker or watermark in a corner."""
    n_px = image.width
    draw = ImageDraw.Draw(image, "RGBA")
    x, y = rng.choice([0.13, 0.85], 2) * n_px
    text = str(rng.choice(["SALE", "-20%", "NEW", "HOT", "No.1", "SHOP"]))
    font = ImageFont.load_default(max(7, round(n_px * 0.11)))
    if rng.random() < 0.5:
        r = 0.13 * n_px
        draw.ellipse((x - r, y - r, x + r, y + r), (*rng.integers(60, 256, 3).tolist(), 235))
        draw.text((x, y), text, (255, 255, 255, 255), font, "mm")
    else:
        draw.text((n_px / 2, y), text + " " + text, (90, 90, 90, 120), font, "mm")
