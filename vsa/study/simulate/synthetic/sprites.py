"""From a product to a sprite: its front view, cut out, with pattern, label and light."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from vsa.study.simulate.synthetic.products import Product
from vsa.study.simulate.synthetic.sketch import Material, Part, Sketch, ellipse, rect

N_LEVELS = 16
_FLOWER_ANGLE = np.linspace(0, 2 * np.pi, 30, endpoint=False)
# Five petals, as complex numbers x + iy.
FLOWER = (0.75 + 0.25 * np.cos(5 * _FLOWER_ANGLE)) * np.exp(1j * _FLOWER_ANGLE)
NEAREST = Image.Resampling.NEAREST

# RGBA of the materials whose colour does not come from the palette; all but CLEAR are opaque.
FIXED = np.zeros((len(Material) + N_LEVELS, 4), np.uint8)
FIXED[1:, 3] = 255
FIXED[Material.WHITE, :3] = 248, 247, 244
FIXED[Material.BLACK, :3] = 34, 34, 38
FIXED[Material.METAL, :3] = 196, 200, 206
FIXED[Material.GLASS, :3] = 180, 212, 226
FIXED[Material.WOOD, :3] = 164, 118, 74
FIXED[Material.GREEN, :3] = 76, 144, 78


def draw_sprite(product: Product, longest_px: int) -> Image.Image:
    """RGBA picture of the product alone, its longer side `longest_px`; alpha is 0 or 255.

    Supersampling is left to the caller: draw it two or three times too large, then reduce.
    """
    drawing = _drawing(product)
    materials = _rasterise(drawing, longest_px)  # (h, w) uint8
    index = materials
    if product.pattern != "plain":
        # The shades between main and second colour are appended to the table of colours.
        level = pattern_level(product, *materials.shape)
        index = np.where(materials == Material.BODY, level + len(Material), materials)
    rgba = drawing.colours.take(index, mode="clip")
    sprite = Image.frombuffer("RGBA", rgba.shape[::-1], rgba)
    return ImageChops.multiply(sprite, _light(drawing.form).resize(sprite.size, NEAREST))


@dataclass(frozen=True)
class _Drawing:
    """What the pictures of a product share, whatever their size."""

    parts: list[Part]
    points: np.ndarray  # of all parts, (n, 2), from the upper left corner
    extent: float  # of the longer side, in units of the sketch
    size: np.ndarray  # width, height
    form: str
    colours: np.ndarray  # of each material and shade: the four bytes of its RGBA


@lru_cache(maxsize=4096)
def _drawing(product: Product) -> _Drawing:
    sketch = product.sketch()
    _add_glyph(sketch, product.glyph)
    margin = max(part.width for part in sketch.parts) / 2
    everything = np.concatenate([part.points for part in sketch.parts])
    low, high = everything.min(0) - margin, everything.max(0) + margin
    size = high - low
    colours = _colours(product).view(np.uint32)[:, 0]
    return _Drawing(sketch.parts, everything - low, size.max(), size, sketch.form, colours)


def _colours(product: Product) -> np.ndarray:
    """RGBA of each material, then of N_LEVELS shades from the main to the second colour; uint8."""
    main, second, accent = (np.array(colour) for colour in product.palette)
    table = FIXED.copy()
    table[[Material.BODY, Material.MAIN], :3] = main
    table[Material.MAIN_DARK, :3] = main * 0.72
    table[Material.SECOND, :3] = second
    table[Material.SECOND_DARK, :3] = second * 0.72
    table[Material.ACCENT, :3] = accent
    table[Material.INK, :3] = main * 0.45 + 8
    steps = np.arange(N_LEVELS)[:, None] / (N_LEVELS - 1)
    table[len(Material) :, :3] = main + steps * (second - main)
    return table


def _rasterise(drawing: _Drawing, longest_px: int) -> np.ndarray:
    """Material of every pixel, uint8 of shape (h, w), fitted tightly around the drawing."""
    scale = longest_px / drawing.extent
    width, height = (int(n) for n in np.maximum(8, np.ceil(drawing.size * scale)))
    image = Image.new("L", (width, height))
    draw = ImageDraw.Draw(image)
    outline = max(1, round(longest_px * 0.012))
    coordinates = (drawing.points * scale).ravel().tolist()
    end = 0
    for part in drawing.parts:
        start, end = end, end + part.points.size
        xy = coordinates[start:end]
        if part.width:
            thickness = max(outline, round(part.width * scale))
            draw.line(xy, int(part.material), thickness, joint="curve")
        else:
            draw.polygon(xy, int(part.material))
            if part.edge:
                draw.line(xy + xy[:4], int(Material.INK), outline, joint="curve")
    return np.asarray(image.crop(image.getbbox()))


def pattern_level(product: Product, height: int, width: int) -> np.ndarray:
    """Shade of each pixel, uint8 in [0, N_LEVELS), shape (h, w); 0 is the main colour."""
    top = N_LEVELS - 1
    if product.pattern == "blobs":
        return _flowers(product, height, width)
    longest = max(height, width)
    x = np.arange(width, dtype=np.float32) / longest
    y = np.arange(height, dtype=np.float32)[:, None] / longest
    a = np.radians(product.angle)
    f = 1.0 if product.pattern == "gradient" else product.frequency
    cos, sin = np.float32(f * np.cos(a)), np.float32(f * np.sin(a))
    u = x * cos + (y * sin + 2 * f)  # ≥ 0, so that a cast to integer rounds down
    if product.pattern == "gradient":
        start = 1.5 + product.pattern_seed % 7 / 7
        return np.clip((u - np.float32(start)) * top, 0, top).astype(np.uint8)
    if product.pattern == "stripes":
        return (u - u.astype(np.uint8) < 0.45).view(np.uint8) * np.uint8(top)
    v = y * cos + (2 * f - x * sin)
    whole = u.astype(np.uint8)
    u -= whole
    if product.pattern == "checks":
        v -= v.astype(np.uint8)
        return ((u < 0.5).view(np.uint8) + (v < 0.5)) * np.uint8(top // 2)
    v += (whole & 1) * np.float32(0.5)  # dots, every other row shifted
    v -= v.astype(np.uint8)
    return ((u - 0.5) ** 2 + (v - 0.5) ** 2 < 0.09).view(np.uint8) * np.uint8(top)


def _flowers(product: Product, height: int, width: int) -> np.ndarray:
    """Five-petalled flowers on a jittered grid, as levels."""
    rng = np.random.default_rng(product.pattern_seed)
    image = Image.new("L", (width, height))
    draw = ImageDraw.Draw(image)
    n = 1 + round(min(product.frequency, 8) / 2)  # flowers along the longer side
    step = max(height, width) / n
    jitter = rng.random((n * n, 4))
    centres = (np.stack([np.arange(n * n) % n, np.arange(n * n) // n], 1) + 0.2) * step
    centres += 0.6 * step * jitter[:, :2]
    radii = step * (0.3 + 0.14 * jitter[:, 2])
    spin = 2 * np.pi / 5 * jitter[:, 3]
    turned = FLOWER * np.exp(1j * spin)[:, None] * radii[:, None]  # (n * n, points), complex
    petals = np.stack([turned.real, turned.imag], 2) + centres[:, None]
    hearts = np.concatenate([centres - 0.3 * radii[:, None], centres + 0.3 * radii[:, None]], 1)
    for flower, heart in zip(petals.reshape(n * n, -1).tolist(), hearts.tolist(), strict=True):
        draw.polygon(flower, N_LEVELS - 1)
        draw.ellipse(heart, N_LEVELS // 3)
    return np.asarray(image)


@cache
def _light(form: str) -> Image.Image:
    """How light falls on a form: grey levels to multiply by; alpha stays. 256 × 256, RGBA."""
    x = np.linspace(-1, 1, 256)[None]
    y = np.linspace(-1, 1, 256)[:, None]
    if form == "round":  # a cylinder lit from the upper left, with a highlight
        shine = 0.16 * np.exp(-(((x + 0.42) / 0.14) ** 2))
        light = 0.58 + 0.28 * np.sqrt(1 - 0.85 * x**2) + shine - 0.03 * y
    elif form == "box":
        light = 0.94 - 0.06 * y - 0.04 * x
    else:  # cloth
        folds = 0.03 * np.sin(5 * x + 2.2 * y) + 0.02 * np.sin(-3 * x + 6 * y)
        light = 0.94 - 0.07 * y - 0.05 * x**2 + folds
    grey = np.clip(255 * np.broadcast_to(light, (256, 256)), 0, 255)
    return Image.fromarray(np.dstack([grey] * 3 + [np.full((256, 256), 255.0)]).astype(np.uint8))


def _add_glyph(sketch: Sketch, glyph: int) -> None:
    """Print label number `glyph` (1 … 8) where the sketch has room for one."""
    if sketch.label is None or glyph == 0:
        return
    x, y, r = sketch.label

    def put(points: np.ndarray | list, material: Material = Material.ACCENT) -> None:
        sketch.add(np.asarray(points, float) * r + (x, y), material, edge=False)

    if glyph == 1:  # star
        angle = np.arange(10) * np.pi / 5 - np.pi / 2
        radius = np.where(np.arange(10) % 2, 0.42, 1.0)
        put(np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1))
    elif glyph == 2:  # disc with a hole
        put(ellipse(0, 0, 0.9))
        put(ellipse(0, 0, 0.45), Material.WHITE)
    elif glyph == 3:  # heart
        t = np.linspace(0, 2 * np.pi, 28)
        heart_y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
        put(np.stack([16 * np.sin(t) ** 3, -heart_y], 1) / 17)
    elif glyph == 4:  # lines of text
        for i, length in enumerate((1.0, 0.7, 0.9)):
            put(rect(-1, -0.7 + 0.5 * i, -1 + 2 * length, -0.42 + 0.5 * i))
    elif glyph == 5:  # triangle
        put([(0, -0.9), (0.95, 0.75), (-0.95, 0.75)])
    elif glyph == 6:  # cross
        put(rect(-0.3, -0.95, 0.3, 0.95))
        put(rect(-0.95, -0.3, 0.95, 0.3))
    elif glyph == 7:  # bolt
        put([(0.2, -1), (-0.6, 0.2), (-0.05, 0.2), (-0.2, 1), (0.6, -0.25), (0.05, -0.25)])
    else:  # badge with a bar
        put(rect(-1, -0.65, 1, 0.65, 0.3))
        put(rect(-0.65, -0.18, 0.65, 0.18), Material.WHITE)
