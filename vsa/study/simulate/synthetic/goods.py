"""Silhouettes of what is eaten, drunk or applied: snacks, cosmetics, beverages."""

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


def chip_bag(s: Sketch, k: Proportions) -> None:
    w, h, bulge = k(0.5, 0.7), k(0.75, 1.05), k(0.02, 0.12)
    s.form = "round"
    zigzag = [(x, h + (0.04 if i % 2 else 0)) for i, x in enumerate(np.linspace(w, -w, 13))]
    top = [(-x, -y) for x, y in zigzag]
    s.add([*top, (w + bulge, 0), *zigzag, (-w - bulge, 0)])
    s.add(rect(-w, -h, w, -h + 0.12), M.METAL)
    s.add(rect(-w, h - 0.12, w, h), M.METAL)
    s.add(ellipse(0, -h * 0.2, w * 0.78, h * k(0.25, 0.4)), M.SECOND)
    s.label = (0, -h * 0.2, w * 0.4)
    for x in (-0.2, 0.08, 0.3)[: 1 + k.pick(3)]:
        s.add(ellipse(x, h * 0.55, 0.2, 0.13), M.ACCENT)


def biscuit_box(s: Sketch, k: Proportions) -> None:
    w, h, d = k(0.5, 0.8), k(0.4, 0.8), k(0.08, 0.25)
    s.form = "box"
    s.add([(-w, -h), (-w + d, -h - d), (w + d, -h - d), (w, -h)], M.MAIN_DARK)
    s.add([(w, -h), (w + d, -h - d), (w + d, h - d), (w, h)], M.MAIN_DARK)
    s.add(rect(-w, -h, w, h))
    s.add(rect(-w, -h * k(0.4, 0.7), w, h * 0.05), M.SECOND)
    for i in range(2 + k.pick(3)):
        s.add(ellipse(-w * 0.6 + i * 0.32, h * 0.55, 0.17), M.ACCENT)
    s.label = (0, -h * 0.3, h * 0.26)


def chocolate_bar(s: Sketch, k: Proportions) -> None:
    w, h = k(0.8, 1.1), k(0.22, 0.42)
    s.form = "box"
    s.add(rect(-w, -h * 0.8, w, h * 0.8), M.METAL)
    s.add(rect(-w * 0.88, -h, w * 0.88, h, 0.05))
    s.add([(-w * 0.5, -h), (-w * k(0.1, 0.4), -h), (-w * 0.5, h), (-w * 0.7, h)], M.SECOND)
    s.add(rect(w * 0.05, -h * 0.35, w * k(0.5, 0.75), h * 0.35, 0.08), M.ACCENT)
    s.label = (w * 0.28, 0, h * 0.3)


def snack_tube(s: Sketch, k: Proportions) -> None:
    w, h, lid = k(0.26, 0.42), k(0.75, 1.1), k(0.1, 0.2)
    s.form = "round"
    s.add(rect(-w, -h, w, h, 0.06))
    s.add(rect(-w * 1.06, -h - lid, w * 1.06, -h + 0.02, 0.05), (M.SECOND, M.WHITE)[k.pick(2)])
    s.add(rect(-w * 1.03, h - 0.08, w * 1.03, h + 0.02), M.METAL)
    s.add(ellipse(0, -h * 0.25, w * 0.8, h * k(0.22, 0.34)), M.SECOND)
    s.add(ellipse(0, h * 0.55, w * 0.5, w * 0.35), M.ACCENT)
    s.label = (0, -h * 0.25, w * 0.45)


def lipstick(s: Sketch, k: Proportions) -> None:
    w, base, tip = k(0.16, 0.24), k(0.55, 0.8), k(0.25, 0.5)
    s.form = "round"
    s.add(
        [
            (-w * 0.7, 0),
            (-w * 0.7, -tip * 0.6),
            (w * 0.2, -tip - 0.18),
            (w * 0.7, -tip),
            (w * 0.7, 0),
        ],
        M.ACCENT,
    )
    s.add(rect(-w * 0.85, -0.12, w * 0.85, 0.2), M.METAL)
    s.add(rect(-w, 0.1, w, 0.1 + base, 0.04))
    s.line([(-w, 0.1 + base * k(0.2, 0.8)), (w, 0.1 + base * 0.5)], 0.04, M.SECOND)
    if k.pick(2):
        s.add(rect(w * 1.5, 0.1 - base * 0.5, w * 3.5, 0.1 + base, 0.04), M.MAIN_DARK)


def pump_bottle(s: Sketch, k: Proportions) -> None:
    w, h, shoulder = k(0.32, 0.5), k(0.9, 1.35), k(0.08, 0.25)
    s.form = "round"
    s.line([(0, 0), (0, -0.42), (0.28, -0.42), (0.3, -0.34)], 0.09, (M.WHITE, M.SECOND)[k.pick(2)])
    s.add(rect(-0.16, -0.2, 0.16, 0.04), M.SECOND)
    s.add(mirror([(0.15, 0), (w, shoulder), (w, h - 0.05), (w * 0.94, h)]))
    s.add(
        rect(-w * 0.8, h * k(0.3, 0.45), w * 0.8, h * k(0.7, 0.88), 0.05),
        (M.WHITE, M.SECOND)[k.pick(2)],
    )
    s.label = (0, h * 0.55, w * 0.42)


def cream_jar(s: Sketch, k: Proportions) -> None:
    w, h, lid = k(0.5, 0.7), k(0.3, 0.55), k(0.18, 0.34)
    s.form = "round"
    s.add(rect(-w, 0, w, h, k(0.04, 0.2)))
    s.add(rect(-w * 1.03, -lid, w * 1.03, 0.03, 0.05), (M.SECOND, M.WHITE, M.METAL)[k.pick(3)])
    s.add(rect(-w * 0.6, h * 0.22, w * 0.6, h * 0.78), M.WHITE)
    s.label = (0, h * 0.5, h * k(0.16, 0.24))


def squeeze_tube(s: Sketch, k: Proportions) -> None:
    w, h, low, lid = k(0.34, 0.48), k(1.0, 1.4), k(0.55, 0.85), k(0.16, 0.3)
    s.form = "round"
    s.add(rect(-w, -0.02, w, 0.1), M.MAIN_DARK)
    s.add([(-w, 0.04), (w, 0.04), (w * low, h), (-w * low, h)])
    s.add(rect(-w * low * 0.9, h, w * low * 0.9, h + lid, 0.03), (M.SECOND, M.WHITE)[k.pick(2)])
    s.add(rect(-w * 0.6, h * 0.2, w * 0.6, h * k(0.3, 0.45)), M.SECOND)
    s.label = (0, h * 0.6, w * 0.4)


def perfume(s: Sketch, k: Proportions) -> None:
    w, h, r = k(0.42, 0.65), k(0.6, 1.0), k(0.04, 0.5)
    s.form = "round"
    cap_w, cap_h = k(0.14, 0.26), k(0.2, 0.4)
    s.add(rect(-cap_w, -0.12 - cap_h, cap_w, -0.08, 0.04), M.SECOND)
    s.add(rect(-0.12, -0.12, 0.12, 0.03), M.METAL)
    s.add(rect(-w, 0, w, h, r), M.GLASS)
    s.add(rect(-w * 0.82, h * k(0.1, 0.4), w * 0.82, h * 0.92, r * 0.8))
    s.add(rect(-w * 0.45, h * 0.45, w * 0.45, h * 0.72), (M.WHITE, M.ACCENT)[k.pick(2)])


def bottle(s: Sketch, k: Proportions) -> None:
    w, h, neck, shoulder = k(0.28, 0.4), k(1.2, 1.7), k(0.1, 0.15), k(0.25, 0.5)
    s.form = "round"
    s.add(rect(-neck * 1.2, -0.16, neck * 1.2, 0.02, 0.03), M.SECOND)
    right = [(neck, 0), (neck * 1.1, 0.1), (w, shoulder), (w, h * 0.5), (w * k(0.85, 1), h * 0.6)]
    s.add(curve(mirror([*right, (w, h * 0.72), (w, h - 0.06), (w * 0.8, h)])))
    s.add(rect(-w, h * k(0.34, 0.45), w, h * k(0.6, 0.75)), (M.SECOND, M.WHITE)[k.pick(2)])
    s.label = (0, h * 0.54, w * 0.48)


def can(s: Sketch, k: Proportions) -> None:
    w, h = k(0.34, 0.5), k(0.8, 1.3)
    s.form = "round"
    s.add(mirror([(w * 0.82, -0.08), (w, 0.06), (w, h - 0.06), (w * 0.82, h + 0.06)]), M.METAL)
    s.add(rect(-w, 0.05, w, h - 0.06))
    s.add(ellipse(0, -0.08, w * 0.82, 0.05), M.METAL)
    s.add([(-w, h * k(0.5, 0.8)), (w, h * k(0.25, 0.5)), (w, h * 0.75), (-w, h * 0.9)], M.SECOND)
    s.label = (0, h * k(0.3, 0.5), w * k(0.4, 0.6))


def wine_bottle(s: Sketch, k: Proportions) -> None:
    w, h, neck, shoulder = k(0.26, 0.36), k(1.6, 2.0), k(0.09, 0.12), k(0.5, 0.8)
    s.form = "round"
    s.add(mirror([(neck, 0), (neck, shoulder * 0.65), (w, shoulder), (w, h)]), M.MAIN_DARK)
    s.add(rect(-neck * 1.15, -0.04, neck * 1.15, k(0.2, 0.42)), M.SECOND)
    s.add(rect(-w, h * k(0.5, 0.56), w, h * k(0.75, 0.9)), (M.WHITE, M.BODY)[k.pick(2)])
    s.label = (0, h * 0.66, w * 0.5)


def drink_carton(s: Sketch, k: Proportions) -> None:
    w, h, d, roof = k(0.34, 0.5), k(0.9, 1.4), k(0.1, 0.25), k(0.12, 0.3)
    s.form = "box"
    s.add([(w, 0), (w + d, -0.06), (w + d, h - 0.08), (w, h)], M.MAIN_DARK)
    s.add([(-w, 0), (-w + d * 0.4, -roof), (w + d * 0.4, -roof), (w, 0)], M.SECOND)
    s.add(rect(-w, 0, w, h))
    s.add(rect(-w, h * k(0.55, 0.7), w, h), M.SECOND)
    s.label = (0, h * 0.35, w * 0.5)
    if k.pick(2):
        s.line([(w * 0.3, -roof), (w * 0.5, -roof - 0.3), (w * 0.9, -roof - 0.38)], 0.06, M.ACCENT)
    else:
        s.add(ellipse(0, -roof * 0.5, 0.13, 0.1), M.ACCENT)


def paper_cup(s: Sketch, k: Proportions) -> None:
    w, h, low = k(0.42, 0.55), k(0.9, 1.3), k(0.65, 0.85)
    s.form = "round"
    s.add([(-w, 0), (w, 0), (w * low, h), (-w * low, h)])
    sleeve = h * k(0.25, 0.35)
    s.add(
        [
            (-w * 0.97, sleeve),
            (w * 0.97, sleeve),
            (w * (low + 0.08), h * 0.75),
            (-w * (low + 0.08), h * 0.75),
        ],
        M.SECOND,
    )
    s.add(
        mirror([(w * 0.8, -0.14), (w * 0.86, -0.04), (w * 1.07, 0.0), (w * 1.07, 0.06)]),
        (M.WHITE, M.BLACK)[k.pick(2)],
    )
    if k.pick(2):
        s.line([(0.1, -0.12), (0.25, -0.7)], 0.07, M.ACCENT)
    s.label = (0, h * 0.52, w * 0.36)


SNACKS: tuple[Builder, ...] = (chip_bag, biscuit_box, chocolate_bar, snack_tube)
COSMETICS: tuple[Builder, ...] = (lipstick, pump_bottle, cream_jar, squeeze_tube, perfume)
BEVERAGES: tuple[Builder, ...] = (bottle, can, wine_bottle, drink_carton, paper_cup)
