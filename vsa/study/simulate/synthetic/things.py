"""Silhouettes of digital things and of others."""

from __future__ import annotations

import numpy as np

from vsa.study.simulate.synthetic.sketch import (
    Builder,
    Material,
    Proportions,
    Sketch,
    curve,
    ellipse,
    mirror,
    rect,
    turn,
)

M = Material


def phone(s: Sketch, k: Proportions) -> None:
    w, h, r = k(0.44, 0.56), k(0.9, 1.1), k(0.05, 0.18)
    s.form = "box"
    s.add(rect(-w, -h, w, h, r), M.MAIN)
    if k.pick(2):
        bezel = k(0.03, 0.09)
        s.add(rect(-w + bezel, -h + bezel * 2, w - bezel, h - bezel * 2, r * 0.7))
        for i in range(8):
            x, y = -w * 0.55 + (i % 4) * w * 0.37, h * 0.42 + (i // 4) * w * 0.4
            s.add(rect(x - 0.06, y - 0.06, x + 0.06, y + 0.06, 0.03), (M.SECOND, M.ACCENT)[i % 2])
        s.label = (0, -h * 0.35, w * 0.4)
    else:
        s.add(rect(-w * 0.96, -h * 0.97, w * 0.96, h * 0.97, r))
        s.add(rect(-w * 0.8, -h * 0.88, -w * 0.8 + k(0.26, 0.44), -h * 0.4, 0.08), M.BLACK)
        for y in (-h * 0.77, -h * 0.53):
            s.add(ellipse(-w * 0.8 + 0.16, y, 0.09), M.METAL)
        s.label = (0, h * 0.2, w * 0.3)


def laptop(s: Sketch, k: Proportions) -> None:
    w, h, base = k(0.75, 0.95), k(0.55, 0.75), k(0.25, 0.5)
    s.form = "box"
    s.add(rect(-w, -h * 1.6, w, 0, 0.06), M.BLACK)
    s.add(rect(-w + 0.07, -h * 1.6 + 0.07, w - 0.07, -0.08))
    flare = w * k(1.08, 1.25)
    s.add([(-w, 0), (w, 0), (flare, base), (-flare, base)], M.METAL)
    s.add(
        [
            (-w * 0.88, base * 0.12),
            (w * 0.88, base * 0.12),
            (w * 0.95, base * 0.55),
            (-w * 0.95, base * 0.55),
        ],
        M.BLACK,
    )
    s.add(rect(-0.2, base * 0.65, 0.2, base * 0.92), M.MAIN_DARK)
    s.label = (0, -h * 0.8, h * k(0.25, 0.4))
    s.add(rect(-w * 0.9, -h * 1.48, -w * k(0.3, 0.6), -0.15), (M.SECOND, M.ACCENT)[k.pick(2)])


def camera(s: Sketch, k: Proportions) -> None:
    w, h, lens = k(0.75, 0.95), k(0.45, 0.6), k(0.36, 0.5)
    s.form = "box"
    s.add(mirror([(0.18, -h - 0.22), (0.34, -h + 0.04)]), M.MAIN_DARK)
    s.add(rect(-w * 0.8, -h - 0.1, -w * 0.45, -h + 0.05, 0.03), M.METAL)
    s.add(rect(-w, -h, w, h, k(0.05, 0.2)))
    s.add(rect(-w, -h, w, -h * k(0.4, 0.65)), M.SECOND)
    x = k(-0.15, 0.2)
    for r, material in ((1, M.BLACK), (0.8, M.METAL), (0.66, M.BLACK), (0.4, M.GLASS)):
        s.add(ellipse(x, 0.06, lens * r), material)
    s.add(ellipse(w * 0.72, -h * 0.7, 0.07), M.ACCENT)
    if k.pick(2):
        s.line(curve([(-w, -h * 0.7), (-w - 0.2, 0), (-w - 0.05, h)], False), 0.08, M.SECOND_DARK)


def headphones(s: Sketch, k: Proportions) -> None:
    r, cup, tall, band = k(0.6, 0.75), k(0.18, 0.28), k(0.28, 0.42), k(0.09, 0.18)
    s.form = "box"
    s.line(ellipse(0, 0, r, r * k(0.95, 1.2), 180, 360), band, M.MAIN)
    s.pair_line([(r, -0.1), (r, 0.15)], band * 0.7, M.METAL)
    s.pair(rect(r - cup * 1.4, 0.25 - tall, r - cup * 0.2, 0.25 + tall, 0.12), M.BLACK)
    s.pair(ellipse(r + 0.02, 0.25, cup, tall))
    s.pair(ellipse(r + 0.05, 0.25, cup * 0.5, tall * 0.5), (M.SECOND, M.ACCENT)[k.pick(2)])


def speaker(s: Sketch, k: Proportions) -> None:
    w, h, r = k(0.42, 0.6), k(0.7, 1.0), k(0.04, 0.25)
    s.form = "box"
    s.add(rect(-w, -h, w, h, r))
    low = w * k(0.6, 0.8)
    for radius, material in ((1, M.METAL), (0.86, M.BLACK), (0.4, M.SECOND)):
        s.add(ellipse(0, h * 0.3, low * radius), material)
    s.add(ellipse(0, -h * 0.55, w * k(0.3, 0.45)), M.BLACK)
    s.add(ellipse(0, -h * 0.55, w * 0.15), (M.SECOND, M.ACCENT)[k.pick(2)])


def umbrella(s: Sketch, k: Proportions) -> None:
    r, dome, stick = k(0.85, 1.1), k(0.6, 0.9), k(0.8, 1.1)
    s.line(
        [(0, -dome), (0, stick), (0.08, stick + 0.12), (0.22, stick + 0.1), (0.24, stick - 0.04)],
        0.07,
        M.WOOD,
    )
    n_ribs = 3 + k.pick(3)
    edge = np.linspace(r, -r, 2 * n_ribs + 1)
    low = [(x, -0.09 if i % 2 else 0.03) for i, x in enumerate(edge)]
    s.add([*ellipse(0, 0, r, dome, 180, 360), *low])
    for x in edge[2:-1:2]:
        s.line(curve([(0, -dome), (x * 0.7, -dome * 0.6), (x, 0.02)], False), 0.02)
    if k.pick(2):
        s.add([(0, -dome), *ellipse(0, 0, r, dome, 215, 250)], M.SECOND)
    s.line([(0, -dome - 0.14), (0, -dome)], 0.05, M.ACCENT)


def book(s: Sketch, k: Proportions) -> None:
    w, h, d = k(0.5, 0.7), k(0.7, 1.0), k(0.06, 0.18)
    s.form = "box"
    s.add([(-w, h), (-w + d, h + d), (w + d, h + d), (w, h)], M.WHITE)
    s.add([(w, -h), (w + d, -h + d), (w + d, h + d), (w, h)], M.WHITE)
    s.add(rect(-w, -h, w, h))
    s.add(rect(-w, -h, -w * k(0.75, 0.9), h), M.MAIN_DARK)
    y = -h * k(0.3, 0.75)
    s.add(rect(-w * 0.6, y - 0.1, w * 0.8, y + 0.1), (M.WHITE, M.SECOND)[k.pick(2)])
    s.line([(-w * 0.4, y), (w * 0.6, y)], 0.05, M.INK)
    s.label = (w * 0.08, h * 0.35, w * 0.42)


def plant_pot(s: Sketch, k: Proportions) -> None:
    w, h, low, leaf = k(0.36, 0.5), k(0.5, 0.75), k(0.6, 0.85), k(0.6, 1.1)
    s.form = "round"
    n_leaves = 4 + k.pick(4)
    for angle in np.linspace(-65, 65, n_leaves):
        length = leaf * (1 - abs(angle) / 220)
        blade = curve([(0, 0.05), (0.15, -length * 0.5), (0, -length), (-0.15, -length * 0.5)])
        s.add(turn(blade, angle), M.GREEN)
    s.add([(-w, 0), (w, 0), (w * low, h), (-w * low, h)])
    s.add(rect(-w * 1.08, -0.06, w * 1.08, 0.1), M.SECOND)
    s.label = (0, h * 0.55, w * k(0.3, 0.45))


def ball(s: Sketch, k: Proportions) -> None:
    bend, tilt = k(0.15, 0.6), k(-40, 40)
    s.form = "round"
    s.add(ellipse(0, 0, 0.9))
    for side in (-1, 1):
        seam = curve([(-0.62 * side, -0.65), (-bend * side, 0), (-0.62 * side, 0.65)], False)
        s.line(turn(seam, tilt), k(0.03, 0.12), M.SECOND)
    s.line(turn([(-0.9, 0), (0.9, 0)], tilt), 0.04, (M.INK, M.SECOND)[k.pick(2)])
    s.label = (0, 0, 0.32)


def mug(s: Sketch, k: Proportions) -> None:
    w, h, low, grip = k(0.42, 0.58), k(0.75, 1.1), k(0.75, 1.0), k(0.2, 0.34)
    s.form = "round"
    s.line(
        curve(
            [(w * 0.95, h * 0.2), (w + grip, h * 0.25), (w + grip, h * 0.65), (w * 0.95, h * 0.75)],
            False,
        ),
        0.11,
        M.SECOND,
    )
    s.add(mirror([(w, 0), (w * (low + 1) / 2, h * 0.8), (w * low, h)]))
    s.add(ellipse(0, 0, w, k(0.06, 0.14)), (M.WHITE, M.MAIN_DARK)[k.pick(2)])
    s.label = (0, h * 0.55, w * 0.5)


DIGITAL: tuple[Builder, ...] = (phone, laptop, camera, headphones, speaker)
OTHERS: tuple[Builder, ...] = (umbrella, book, plant_pot, ball, mug)
