"""Silhouettes of what is put on or carried: bags, shoes, accessories."""

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
)

M = Material


def tote(s: Sketch, k: Proportions) -> None:
    w, h, taper = k(0.6, 0.85), k(0.9, 1.35), k(0.8, 1.05)
    strap, x = k(0.4, 0.8), k(0.25, 0.4)
    s.line(
        curve([(-x, 0.1), (-x * 0.8, -strap), (x * 0.8, -strap), (x, 0.1)], False), 0.08, M.SECOND
    )
    s.add([(-w, 0), (w, 0), (w * taper, h), (-w * taper, h)])
    if k.pick(2):
        s.add([(-w, 0), (w, 0), (w, 0.14), (-w, 0.14)], M.SECOND)
    s.label = (0, h * 0.55, min(w, h) * 0.4)


def backpack(s: Sketch, k: Proportions) -> None:
    w, h = k(0.5, 0.7), k(1.1, 1.5)
    s.line(ellipse(0, 0.02, 0.16, 0.16, 180, 360), 0.07, M.SECOND_DARK)
    s.pair_line(
        curve([(w * 0.8, 0.25), (w + 0.14, 0.6), (w * 0.9, h - 0.1)], False), 0.09, M.SECOND
    )
    s.add(rect(-w, 0, w, h, k(0.2, 0.5)))
    s.add(rect(-w * 0.8, h * k(0.48, 0.6), w * 0.8, h * 0.93, 0.12), M.SECOND)
    s.line(curve([(-w * 0.92, 0.42), (0, 0.3), (w * 0.92, 0.42)], False), 0.03)
    if k.pick(2):
        s.pair(rect(w * 0.35, h * 0.4, w * 0.5, h * 0.75), M.ACCENT)
    s.label = (0, h * 0.74, w * 0.34)


def handbag(s: Sketch, k: Proportions) -> None:
    w, h, top = k(0.7, 0.95), k(0.6, 0.95), k(0.65, 0.95)
    s.line(ellipse(0, 0.05, w * k(0.35, 0.55), k(0.35, 0.6), 180, 360), k(0.06, 0.1), M.SECOND)
    s.add(
        curve(
            [
                (-w * top, 0),
                (w * top, 0),
                (w, h * 0.8),
                (w * 0.85, h),
                (-w * 0.85, h),
                (-w, h * 0.8),
            ]
        )
    )
    s.add(mirror([(w * top, 0), (w * 0.8, h * k(0.3, 0.5)), (0, h * 0.55)]), M.MAIN_DARK)
    s.add(rect(-0.09, h * 0.42, 0.09, h * 0.6, 0.04), (M.METAL, M.ACCENT)[k.pick(2)])


def crossbody(s: Sketch, k: Proportions) -> None:
    w, h = k(0.55, 0.85), k(0.5, 0.8)
    s.line(
        curve([(-w, 0.1), (-w * 0.7, -1.0), (w * 0.7, -1.0), (w, 0.1)], False),
        k(0.03, 0.07),
        M.SECOND,
    )
    s.add(rect(-w, 0, w, h, k(0.05, 0.3)))
    flap = h * k(0.35, 0.65)
    s.add(
        curve([(-w, 0.0), (w, 0.0), (w * 0.9, flap * 0.8), (0, flap), (-w * 0.9, flap * 0.8)]),
        M.MAIN,
    )
    s.add(ellipse(0, flap * 0.92, 0.09), (M.METAL, M.ACCENT)[k.pick(2)])


def hat(s: Sketch, k: Proportions) -> None:
    crown, height, brim = k(0.45, 0.6), k(0.45, 0.75), k(0.85, 1.25)
    s.add(ellipse(0, 0, brim, k(0.14, 0.3)))
    s.add(curve([(-crown, 0), (-crown * 0.85, -height), (0, -height * k(0.85, 1.1)),
                 (crown * 0.85, -height), (crown, 0), (0, 0.1)]))  # fmt: skip
    s.add(
        curve([(-crown, -0.16), (0, -0.08), (crown, -0.16), (crown, 0.0), (0, 0.1), (-crown, 0)]),
        M.SECOND,
    )


def cap(s: Sketch, k: Proportions) -> None:
    height, peak = k(0.55, 0.8), k(0.5, 0.9)
    s.add(curve([(0.45, -0.05), (0.9, 0.0), (0.6 + peak, 0.14), (0.5, 0.16)]), M.SECOND)
    s.add([*ellipse(0, 0.1, 0.68, height, 180, 360)])
    s.line(curve([(0, -height + 0.1), (0.12, -0.3), (0.1, 0.1)], False), 0.02)
    s.add(ellipse(0, -height + 0.09, 0.07), M.ACCENT)
    s.label = (0.34, -0.22, k(0.14, 0.22))


def watch(s: Sketch, k: Proportions) -> None:
    r, strap, length = k(0.36, 0.5), k(0.18, 0.3), k(0.8, 1.2)
    s.form = "box"
    s.add(mirror([(strap * 0.8, -length), (strap, -r * 0.7)]))
    s.add(mirror([(strap, r * 0.7), (strap * 0.8, length)]))
    shape = ellipse(0, 0, r) if k.pick(2) else rect(-r, -r, r, r, 0.14)
    s.add(shape, M.METAL)
    s.add(shape * 0.8, (M.WHITE, M.SECOND, M.BLACK)[k.pick(3)])
    s.line([(0, -r * 0.55), (0, 0), (r * 0.4, r * 0.2)], 0.05, M.ACCENT)
    s.add(rect(r, -0.07, r + 0.1, 0.07), M.METAL)


def glasses(s: Sketch, k: Proportions) -> None:
    r, tall, gap, rim = k(0.32, 0.42), k(0.22, 0.36), k(0.08, 0.18), k(0.05, 0.1)
    s.form = "box"
    x = r + gap
    lens = ellipse(x, 0, r, tall) if k.pick(2) else rect(x - r, -tall, x + r, tall, 0.12)
    s.pair(lens, (M.GLASS, M.SECOND, M.SECOND_DARK)[k.pick(3)], False)
    s.pair_line([*lens, lens[0], lens[1]], rim, M.MAIN)
    s.line(curve([(-gap, -0.05), (0, -0.12), (gap, -0.05)], False), rim, M.MAIN)
    s.pair_line([(x + r, -0.08), (x + r + 0.12, -0.1), (x + r + 0.05, k(0.3, 0.6))], rim, M.MAIN)


def ring(s: Sketch, k: Proportions) -> None:
    r, band, stone = k(0.5, 0.65), k(0.08, 0.18), k(0.16, 0.32)
    s.form = "box"
    circle = ellipse(0, 0, r, r * k(0.85, 1))
    s.line([*circle, circle[1]], band, (M.METAL, M.ACCENT)[k.pick(2)])
    y = -r - stone * 0.5
    s.add([(-stone, y), (-stone * 0.6, y - stone * 0.6), (stone * 0.6, y - stone * 0.6), (stone, y),
           (0, y + stone)], M.MAIN)  # fmt: skip
    s.line([(-stone, y), (stone, y)], 0.02)
    s.line([(-stone * 0.4, y), (0, y + stone), (stone * 0.4, y)], 0.02)


def necklace(s: Sketch, k: Proportions) -> None:
    w, drop, size, bead = k(0.5, 0.7), k(0.9, 1.3), k(0.1, 0.22), k(0.04, 0.09)
    s.form = "box"
    chain = curve(
        [(-w, -0.1), (-w * 0.85, drop * 0.6), (0, drop), (w * 0.85, drop * 0.6), (w, -0.1)], False
    )
    s.line(chain, k(0.03, 0.06), M.METAL)
    for x, y in chain[2:-1:3]:
        s.add(ellipse(x, y, bead), M.MAIN)
    s.add(
        curve(
            [(0, drop - size), (size, drop + size), (0, drop + size * 2.2), (-size, drop + size)]
        ),
        M.ACCENT,
    )


def sneaker(s: Sketch, k: Proportions) -> None:
    top, toe, sole = k(0.75, 1.15), k(0.26, 0.42), k(0.12, 0.24)
    y = 0.62 - top
    s.add(curve([(-0.95, y + 0.1), (-0.4, y), (-0.3, y + 0.3)]), M.SECOND_DARK)
    s.add(
        [
            (-0.95, 0.64),
            (-0.98, y + 0.3),
            (-0.92, y),
            (-0.6, y + 0.08),
            (-0.3, y - 0.02),
            (0.05, 0.62 - toe * 1.6),
            (0.5, 0.62 - toe),
            (0.85, 0.66 - toe),
            (1.02, 0.64),
        ]
    )
    s.add([(-0.3, y - 0.02), (-0.1, y + 0.16), (0.45, 0.6 - toe), (0.15, 0.56 - toe)], M.SECOND)
    for t in np.linspace(0.1, 0.8, 4):
        x, at = -0.28 + 0.6 * t, y + 0.06 + (0.5 - toe - y) * t
        s.line([(x - 0.05, at + 0.14), (x + 0.16, at)], 0.05, M.WHITE)
    s.add(curve([(-0.7, 0.5), (-0.1, 0.4), (0.4, k(0.3, 0.42)), (-0.1, 0.56)]), M.ACCENT)
    if k.pick(2):
        s.add(curve([(0.6, 0.62), (0.7, 0.66 - toe * 0.8), (0.98, 0.54), (1.02, 0.62)]), M.SECOND)
    s.add([(-0.97, 0.62), (-0.98, y + 0.3), (-0.72, y + 0.34), (-0.68, 0.62)], M.SECOND)
    s.add(rect(-1.02, 0.6, 1.08, 0.6 + sole, 0.1), M.WHITE)
    s.line([(-1.0, 0.6 + sole * 0.55), (1.05, 0.6 + sole * 0.55)], 0.045, M.SECOND)


def boot(s: Sketch, k: Proportions) -> None:
    shaft, width, heel = k(0.7, 1.7), k(0.5, 0.7), k(0.08, 0.3)
    s.add([(-0.6, 0.6), (-0.6, -shaft), (-0.6 + width, -shaft), (-0.5 + width, 0.1), (0.4, 0.28),
           (0.62, 0.5), (0.62, 0.62)])  # fmt: skip
    s.add(rect(-0.6, 0.6, 0.66, 0.68), M.BLACK)
    s.add(rect(-0.6, 0.66, -0.2, 0.66 + heel), M.BLACK)
    s.add(rect(-0.63, -shaft - 0.03, -0.57 + width, -shaft + k(0.06, 0.25)), M.SECOND)
    if k.pick(2):
        s.line([(-0.6, 0.2), (-0.5 + width, 0.12)], 0.09, M.ACCENT)


def heel(s: Sketch, k: Proportions) -> None:
    height, front = k(0.45, 1.0), k(0.0, 0.12)
    y = 0.7 - height
    sole = [(-0.9, y), (-0.5, y + 0.12), (0.2, 0.6 - front), (0.95, 0.66)]
    s.add(curve([(-0.92, y + 0.02), (-0.85, y - 0.3), (-0.5, y - 0.02), (0.1, 0.42), (0.5, 0.36),
                 (0.95, 0.62), (0.6, 0.68), (0.1, 0.62), (-0.5, y + 0.2)]))  # fmt: skip
    s.line(curve(sole, False), 0.06, M.MAIN_DARK)
    s.add([(-0.92, y), (-0.68, y + 0.1), (-0.78, 0.7), (-0.88, 0.7)], M.SECOND)
    if k.pick(2):
        s.line(
            curve([(-0.85, y - 0.25), (-0.6, y - 0.42), (-0.4, y - 0.15)], False), 0.05, M.SECOND
        )
    s.add(ellipse(0.55, 0.42, k(0.04, 0.1)), M.ACCENT)


def sandal(s: Sketch, k: Proportions) -> None:
    sole, wedge = k(0.1, 0.18), k(0.0, 0.3)
    y, width = 0.5 - wedge, k(0.1, 0.2)
    rise = k(0.5, 0.75)
    instep = curve([(-0.9, y - 0.3), (-0.6, y - rise), (0, 0.5 - rise * 0.75), (0.7, 0.22)], False)
    s.line(instep, k(0.07, 0.13), M.MAIN_DARK)
    s.line([(-0.92, y), (-0.88, y - 0.32)], 0.13, M.MAIN_DARK)
    for x, top in ((0.75, 16), (0.25, 13), (-0.25, 9))[: 2 + k.pick(2)]:
        low, high = 0.54 - 0.4 * wedge * max(0.0, 0.2 - x), instep[top]
        side = np.array([width * 0.7, 0])
        s.add([(x - width, low), (x + width, low), high + side, high - side])
    s.add([(-1.0, y), (-0.4, y + 0.04), (0.3, 0.5), (1, 0.48), (1.02, 0.5 + sole),
           (-0.95, 0.5 + sole)], M.SECOND)  # fmt: skip
    s.line([(-0.95, 0.5 + sole), (1.0, 0.5 + sole)], 0.05, M.BLACK)
    s.add(ellipse(0.5, 0.2, 0.07), M.ACCENT)


def loafer(s: Sketch, k: Proportions) -> None:
    top, toe = k(0.5, 0.68), k(0.3, 0.46)
    y = 0.6 - top
    s.add(curve([(-0.92, y + 0.06), (-0.4, y + 0.14), (0.05, y + 0.1), (-0.4, y + 0.3)]), M.BLACK)
    s.add(
        [
            (-0.95, 0.62),
            (-0.98, y + 0.25),
            (-0.92, y + 0.02),
            (-0.75, y + 0.2),
            (-0.3, y + 0.28),
            (-0.02, y + 0.06),
            (0.12, y),
            (0.5, 0.6 - toe),
            (0.85, 0.66 - toe),
            (1.02, 0.62),
        ]
    )
    s.add([(-0.05, y + 0.1), (0.1, y + 0.02), (0.42, 0.62), (0.42 - k(0.18, 0.4), 0.62)], M.SECOND)
    s.line(curve([(0.22, y + 0.12), (0.6, 0.72 - toe), (0.95, 0.56)], False), 0.025)
    s.add(rect(-0.97, 0.58, 1.04, 0.66 + k(0, 0.05)), M.BLACK)
    s.add(rect(-0.97, 0.6, -0.5, 0.66 + k(0.06, 0.2)), M.BLACK)
    if k.pick(2):
        s.add(ellipse(0.2, y + 0.24, 0.07), M.ACCENT)


BAGS: tuple[Builder, ...] = (tote, backpack, handbag, crossbody)
ACCESSORIES: tuple[Builder, ...] = (hat, cap, watch, glasses, ring, necklace)
SHOES: tuple[Builder, ...] = (sneaker, boot, heel, sandal, loafer)
