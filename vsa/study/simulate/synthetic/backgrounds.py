"""Backgrounds of shoppers' photos: floors, tables, walls, shelves. All procedural."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from vsa.study.simulate.synthetic.products import POOL

BICUBIC = Image.Resampling.BICUBIC


def background(n_px: int, rng: np.random.Generator) -> Image.Image:
    """An RGB picture of n_px × n_px of one of the kinds below."""
    kind = (_wood, _tiles, _fabric, _room, _shelf, _speckle)[rng.integers(6)]
    return kind(n_px, rng)


def smooth_noise(n_px: int, cells: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Soft noise in [0, 1], float32 of shape (n_px, n_px); `cells` counts its (rows, columns)."""
    coarse = Image.fromarray(rng.random(cells, np.float32))
    return np.asarray(coarse.resize((n_px, n_px), BICUBIC))


def _tone(rng: np.random.Generator) -> np.ndarray:
    """A colour for surroundings: a pool colour, mostly greyed."""
    colour = POOL[rng.integers(len(POOL))].astype(np.float32)
    grey = rng.uniform(90, 215)
    return colour + rng.uniform(0.5, 0.95) * (grey - colour)


def _mix(first: np.ndarray, second: np.ndarray, weight: np.ndarray) -> Image.Image:
    """Blend two colours by a weight of shape (h, w)."""
    pixels = np.empty((*weight.shape, 3), np.uint8)
    for channel, difference in enumerate(second - first):
        plane = weight * difference
        plane += first[channel]
        pixels[..., channel] = np.clip(plane, 0, 255, out=plane)
    return Image.fromarray(pixels)


def _wood(n_px: int, rng: np.random.Generator) -> Image.Image:
    grain = 0.65 * smooth_noise(n_px, (40, 4), rng) + 0.35 * smooth_noise(n_px, (4, 3), rng)
    tone = np.array((168, 122, 80), np.float32) * rng.uniform(0.5, 1.35) + rng.uniform(-14, 14, 3)
    image = _mix(tone * 0.68, tone * 1.12, grain)
    draw = ImageDraw.Draw(image)
    dark = tuple((tone * 0.5).astype(int).tolist())
    step = rng.uniform(0.18, 0.4) * n_px
    for y in np.arange(rng.uniform(0, step), n_px, step):
        draw.line((0, y, n_px, y), dark, max(1, n_px // 80))
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.ROTATE_90)
    return image


def _tiles(n_px: int, rng: np.random.Generator) -> Image.Image:
    tone = _tone(rng)
    image = _mix(tone * 0.85, tone * 1.1, smooth_noise(n_px, (9, 9), rng))
    draw = ImageDraw.Draw(image)
    line = tuple(np.clip(tone * rng.choice([0.6, 1.3]), 0, 255).astype(int).tolist())
    step, slant = rng.uniform(0.16, 0.4) * n_px, rng.uniform(-0.5, 0.5)
    for at in np.arange(-n_px, 2 * n_px, step):
        draw.line((at, 0, at + slant * n_px, n_px), line, max(1, n_px // 40))
        draw.line((0, at, n_px, at - slant * n_px), line, max(1, n_px // 40))
    return image


def _fabric(n_px: int, rng: np.random.Generator) -> Image.Image:
    tone = _tone(rng)
    rows, columns = (int(n) for n in rng.integers(2, 9, 2))
    folds = smooth_noise(n_px, (rows, columns), rng)
    weave = smooth_noise(n_px, (48, 48), rng)
    weight = 0.75 * folds + 0.25 * weave
    if rng.random() < 0.4:  # a printed sheet
        stripes = np.arange(n_px) * rng.uniform(4, 14) / n_px % 1 < 0.4
        weight = weight + 0.35 * stripes[:: rng.choice([-1, 1])][None]
    return _mix(tone * 0.72, tone * 1.12, weight)


def _room(n_px: int, rng: np.random.Generator) -> Image.Image:
    wall, floor = _tone(rng) * 0.5 + 105, _tone(rng)
    horizon = int(rng.uniform(0.35, 0.75) * n_px)
    image = _mix(wall * 0.88, wall * 1.05, smooth_noise(n_px, (3, 3), rng))
    ground = _mix(floor * 0.75, floor * 1.1, smooth_noise(n_px, (14, 5), rng))
    image.paste(ground, (0, horizon))
    draw = ImageDraw.Draw(image)
    draw.rectangle(
        (0, horizon - n_px // 28, n_px, horizon), tuple((wall * 0.97).astype(int).tolist())
    )
    for _ in range(int(rng.integers(1, 4))):  # frames, windows, things against the wall
        x, y, w, h = rng.uniform((-0.1, -0.1, 0.12, 0.12), (0.8, 0.35, 0.45, 0.5)) * n_px
        y = min(y, horizon - h) if rng.random() < 0.6 else horizon - 0.8 * h
        inside, frame = (tuple(np.clip(_tone(rng), 0, 255).astype(int).tolist()) for _ in "if")
        draw.rectangle((x, y, x + w, y + h), inside, frame, max(1, n_px // 32))
    return image


def _shelf(n_px: int, rng: np.random.Generator) -> Image.Image:
    tone = _tone(rng)
    image = _mix(tone * 0.5, tone * 0.75, smooth_noise(n_px, (4, 4), rng))
    draw = ImageDraw.Draw(image)
    board = tuple(np.clip(_tone(rng), 0, 255).astype(int).tolist())
    rows = int(rng.integers(2, 5))
    for bottom in np.arange(1, rows + 1) * n_px / rows:
        x = rng.uniform(-0.1, 0.1) * n_px
        while x < n_px:
            w, h = rng.uniform(0.05, 0.18) * n_px, rng.uniform(0.35, 0.85) * n_px / rows
            # Between the shelf's colour and the thing's: what stands further back is dim.
            colour = tuple((0.45 * tone + 0.45 * _tone(rng)).astype(int).tolist())
            if rng.random() < 0.3:
                draw.ellipse((x, bottom - h, x + w, bottom), colour)
            else:
                draw.rectangle((x, bottom - h, x + w, bottom), colour)
            x += w + rng.uniform(0, 0.06) * n_px
        draw.rectangle((0, bottom - n_px / 40, n_px, bottom + n_px / 60), board)
    return image


def _speckle(n_px: int, rng: np.random.Generator) -> Image.Image:
    tone, other = _tone(rng), _tone(rng)
    fine = int(rng.integers(24, 64))
    weight = 0.6 * smooth_noise(n_px, (fine, fine), rng) + 0.4 * smooth_noise(n_px, (5, 5), rng)
    return _mix(tone * 0.8, tone * 0.6 + other * 0.5, weight)
