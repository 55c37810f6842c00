"""Silhouettes of what stands about the house: furniture, toys."""

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


def chair(s: Sketch, k: Proportions) -> None:
    w, back, legs = k(0.42, 0.55), k(0.7, 1.1), k(0.5, 0.8)
    wood = (M.WOOD, M.BLACK, M.METAL)[k.pick(3)]
    s.form = "box"
    s.pair_line([(w * 0.75, 0.1), (w * 0.7, legs - 0.1)], 0.08, wood)
    s.pair_line([(w * 0.95, 0.1), (w * k(1, 1.25), legs + 0.1)], 0.1, wood)
    s.add(rect(-w * 0.92, -back, w * 0.92, -0.12, k(0.03, 0.3)))
    for x in np.linspace(-0.5, 0.5, 3)[: k.pick(2) * 3]:
        s.cut(rect(x * w - 0.06, -back * 0.75, x * w + 0.06, -0.25, 0.05))
    s.add([(-w * 0.9, -0.1), (w * 0.9, -0.1), (w * 1.1, 0.12), (-w * 1.1, 0.12)], M.SECOND)
    s.add([(-w * 1.1, 0.12), (w * 1.1, 0.12), (w * 1.1, 0.2), (-w * 1.1, 0.2)], M.SECOND_DARK)


def table(s: Sketch, k: Proportions) -> None:
    w, depth, legs, thick = k(0.8, 1.1), k(0.15, 0.4), k(0.6, 0.95), k(0.06, 0.14)
    wood = (M.WOOD, M.MAIN_DARK, M.METAL)[k.pick(3)]
    s.form = "box"
    s.pair_line([(w * 0.7, 0), (w * 0.72, legs * 0.8)], 0.07, wood)
    if k.pick(3) == 0:
        s.line([(0, 0), (0, legs)], 0.14, wood)
        s.add(ellipse(0, legs, w * 0.4, 0.08), wood)
    else:
        s.pair_line([(w * 0.9, depth * 0.5), (w * k(0.85, 1.0), legs + 0.05)], 0.1, wood)
    top = mirror([(w * 0.75, -depth * 0.5), (w, depth * 0.5)])
    s.add(top if k.pick(2) else ellipse(0, 0, w, depth * 0.6))
    s.add(rect(-w, depth * 0.45, w, depth * 0.45 + thick, 0.04), M.SECOND)


def lamp(s: Sketch, k: Proportions) -> None:
    top, low, h, stem = k(0.2, 0.4), k(0.45, 0.65), k(0.45, 0.75), k(0.5, 1.3)
    s.form = "round"
    s.line([(0, h - 0.05), (0, h + stem)], k(0.06, 0.14), (M.METAL, M.WOOD, M.SECOND)[k.pick(3)])
    s.add(ellipse(0, h + stem, k(0.28, 0.42), 0.08), M.SECOND)
    s.add(mirror([(top, 0), (low, h)]))
    s.line([(-low, h - 0.04), (low, h - 0.04)], 0.06, M.SECOND)
    if k.pick(2):
        s.add(ellipse(0, h + stem - 0.22, 0.2, 0.2), M.ACCENT)


def sofa(s: Sketch, k: Proportions) -> None:
    w, back, arm, seat = k(0.75, 1.15), k(0.4, 0.65), k(0.16, 0.28), k(0.18, 0.3)
    s.pair(rect(w * 0.75, 0.45, w * 0.82, 0.62), M.WOOD)
    s.add(rect(-w, -back, w, 0.3, k(0.08, 0.25)))
    s.add(rect(-w + arm, 0.0, w - arm, seat, 0.08), M.MAIN)
    s.add(rect(-w + arm, seat, w - arm, 0.48), M.MAIN_DARK)
    s.pair(rect(w - arm, -0.12, w + 0.08, 0.5, 0.12))
    s.line([(0, -back * 0.8), (0, seat)], 0.02)
    if k.pick(2):
        s.pair(turn(rect(w * 0.35, -0.28, w * 0.65, 0.02, 0.05), 12, w * 0.5, -0.1), M.SECOND)
    else:
        s.add(rect(-0.22, -0.26, 0.22, 0.03, 0.05), M.ACCENT)


def cabinet(s: Sketch, k: Proportions) -> None:
    w, h, legs = k(0.45, 0.8), k(0.7, 1.5), k(0.08, 0.3)
    n_rows, n_columns = 2 + k.pick(3), 1 + k.pick(2)
    s.form = "box"
    s.pair(rect(w * 0.7, h, w * 0.82, h + legs), M.WOOD)
    s.add(rect(-w, 0, w, h), M.MAIN_DARK)
    s.add(rect(-w * 1.05, -0.08, w * 1.05, 0.02), M.WOOD)
    face = (M.BODY, M.SECOND)[k.pick(2)]
    for y0 in np.arange(n_rows) * h / n_rows:
        for x0 in -w + np.arange(n_columns) * 2 * w / n_columns:
            x1, y1 = x0 + 2 * w / n_columns, y0 + h / n_rows
            s.add(rect(x0 + 0.05, y0 + 0.04, x1 - 0.05, y1 - 0.03), face)
            s.add(ellipse((x0 + x1) / 2, (y0 + y1) / 2, 0.05), M.ACCENT)


def bear(s: Sketch, k: Proportions) -> None:
    head, body, ear = k(0.34, 0.46), k(0.4, 0.55), k(0.12, 0.2)
    s.pair(ellipse(head * 0.75, -head * 1.5, ear))
    s.pair(ellipse(head * 0.75, -head * 1.5, ear * 0.55), M.SECOND)
    y = body * 0.85
    s.pair(
        turn(ellipse(body * 0.95, y * 0.6, k(0.26, 0.36), 0.15), k(-50, 50), body * 0.95, y * 0.6)
    )
    s.pair(ellipse(body * 0.65, y + body * 0.75, 0.24, 0.2))
    s.add(ellipse(0, y, body, body * 1.05))
    s.add(ellipse(0, y + 0.05, body * 0.6, body * 0.65), M.SECOND)
    s.add(ellipse(0, -head * 0.75, head, head * 0.92))
    s.add(ellipse(0, -head * 0.5, head * 0.42, head * 0.32), M.SECOND)
    s.add(ellipse(0, -head * 0.6, 0.07, 0.05), M.BLACK)
    s.pair(ellipse(head * 0.38, -head * 0.95, 0.05), M.BLACK)
    if k.pick(2):
        s.pair([(0.02, 0.06), (0.26, -0.08), (0.26, 0.2)], M.ACCENT)


def toy_car(s: Sketch, k: Proportions) -> None:
    hood, roof, wheel = k(0.2, 0.5), k(0.3, 0.5), k(0.18, 0.28)
    s.form = "box"
    s.add([(-0.7, 0), (-0.5, -roof), (hood - 0.1, -roof), (hood + 0.2, 0)], M.SECOND)
    s.add([(-0.6, -0.04), (-0.45, -roof * 0.8), (-0.12, -roof * 0.8), (-0.12, -0.04)], M.GLASS)
    s.add(
        [(-0.02, -0.04), (-0.02, -roof * 0.8), (hood - 0.14, -roof * 0.8), (hood + 0.1, -0.04)],
        M.GLASS,
    )
    s.add(rect(-1.0, 0, 1.0, k(0.3, 0.45), 0.12))
    s.add(ellipse(0.93, 0.12, 0.08), M.ACCENT)
    for x in (-0.58, 0.58):
        s.add(ellipse(x, 0.38, wheel), M.BLACK)
        s.add(ellipse(x, 0.38, wheel * 0.5), (M.METAL, M.ACCENT)[k.pick(2)])
    s.label = (0, 0.15, 0.12)


def blocks(s: Sketch, k: Proportions) -> None:
    a, b = k(0.4, 0.55), k(0.34, 0.5)
    s.form = "box"
    s.add(rect(-a * 2, 0, -0.02, a * 1.7, 0.04))
    s.add(rect(0.02, 0, a * 2, a * 1.7, 0.04), M.SECOND)
    s.add(rect(-b + 0.1, -b * 1.9, b + 0.1, -0.02, 0.04), M.ACCENT)
    if k.pick(2):
        s.add([(-b, -b * 1.92), (0.1, -b * 1.9 - k(0.4, 0.7)), (b + 0.2, -b * 1.92)], M.MAIN)
    else:
        s.add(ellipse(0.1, -b * 1.9, b * 0.9, b * 0.9, 180, 360), M.MAIN)
    s.add(ellipse(-a, a * 0.85, a * 0.4), M.WHITE)
    s.add(rect(a * 0.6, a * 0.45, a * 1.4, a * 1.25), M.WHITE)


def duck(s: Sketch, k: Proportions) -> None:
    head, body = k(0.3, 0.42), k(0.42, 0.55)
    s.form = "round"
    s.add(curve([(-1.0, k(-0.25, 0.05)), (-0.5, 0.1), (0.3, 0.0), (0.75, 0.3), (0.5, body + 0.25),
                 (-0.5, body + 0.25), (-0.9, 0.4)]))  # fmt: skip
    s.add(curve([(0.7, -0.35), (0.7 + k(0.2, 0.4), -0.28), (0.7, -0.15)]), M.ACCENT)
    s.add(ellipse(0.42, -0.3, head))
    s.add(ellipse(0.52, -0.4, 0.06), M.BLACK)
    s.add(curve([(-0.5, 0.25), (0.15, 0.22), (0.05, 0.5), (-0.35, 0.55)]), M.SECOND)
    if k.pick(2):
        s.add(rect(0.1, -0.08, 0.7, 0.04, 0.05), M.SECOND_DARK)


def robot(s: Sketch, k: Proportions) -> None:
    head, w, h = k(0.3, 0.44), k(0.4, 0.55), k(0.6, 0.8)
    s.form = "box"
    s.line([(0, -0.5), (0, -0.85)], 0.05, M.METAL)
    s.add(ellipse(0, -0.88, 0.08), M.ACCENT)
    s.pair(rect(w, 0.08, w + k(0.14, 0.24), 0.1 + h * 0.8, 0.08), M.SECOND)
    s.pair(rect(0.08, h, w * 0.8, h + k(0.25, 0.45), 0.04), M.SECOND_DARK)
    s.add(rect(-w, 0, w, h, 0.08))
    s.add(rect(-head, -0.56, head, -0.03, 0.1), M.SECOND)
    s.pair(ellipse(head * 0.45, -0.34, 0.09), (M.WHITE, M.ACCENT)[k.pick(2)])
    s.line([(-head * 0.5, -0.14), (head * 0.5, -0.14)], 0.05, M.BLACK)
    s.add(rect(-w * 0.6, h * 0.2, w * 0.6, h * 0.7, 0.05), M.WHITE)
    s.label = (0, h * 0.45, h * 0.2)


FURNITURE: tuple[Builder, ...] = (chair, table, lamp, sofa, cabinet)
TOYS: tuple[Builder, ...] = (bear, toy_car, blocks, duck, robot)
