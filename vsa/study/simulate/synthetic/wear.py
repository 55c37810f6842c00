"""Silhouettes of clothes: shirt, dress, pants, underdress."""

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


def _torso(
    s: Sketch, half: float, length: float, waist: float, flare: float, neck: float, depth: float
) -> None:
    """The body of an upper garment; the shoulder line is at y = 0.1, the armpit at y = 0.45."""
    middle = 0.45 + (length - 0.45) * 0.35
    right = [(0, depth), (neck * 0.7, depth * 0.8), (neck, 0), (half, 0.1), (half * 0.94, 0.45)]
    right += [(half * waist, middle), (half * flare, length), (0, length + 0.03)]
    s.add(mirror(right))
    s.label = (0, 0.62, half * 0.42)


def _sleeves(
    s: Sketch, half: float, length: float, angle: float, cuff: float, material: Material = M.BODY
) -> None:
    """Two sleeves of `length` that hang `angle` degrees below the horizontal."""
    a = np.radians(angle)
    along, across = np.array([np.cos(a), np.sin(a)]), np.array([-np.sin(a), np.cos(a)])
    shoulder = np.array([half * 0.98, 0.09])
    tip = shoulder + along * length
    inner = tip + across * cuff
    s.pair([shoulder - (half * 0.12, 0.03), shoulder, tip, inner, (half * 0.93, 0.47)], material)
    s.pair_line([tip - along * 0.07, inner - along * 0.07], 0.02)


def _straps(s: Sketch, x_top: float, x_low: float, top: float, width: float) -> None:
    s.pair_line([(x_low, 0.32), (x_top, top)], width, M.SECOND)


def tee(s: Sketch, k: Proportions) -> None:
    half, length = k(0.45, 0.62), k(1.15, 1.6)
    _sleeves(s, half, k(0.28, 0.5), k(30, 62), k(0.26, 0.36), (M.BODY, M.SECOND)[k.pick(2)])
    _torso(s, half, length, k(0.86, 0.98), k(0.9, 1.12), k(0.17, 0.26), k(0.08, 0.28))


def button_shirt(s: Sketch, k: Proportions) -> None:
    half, length = k(0.45, 0.6), k(1.25, 1.8)
    _sleeves(s, half, k(0.75, 1.1), k(55, 75), k(0.18, 0.26))
    _torso(s, half, length, k(0.82, 0.98), k(0.9, 1.1), 0.2, 0.2)
    s.line([(0, 0.2), (0, length)], 0.02)
    for y in np.linspace(0.32, length - 0.15, 5):
        s.add(ellipse(0, y, 0.03), M.ACCENT)
    collar = k(0.18, 0.3)
    s.pair([(0.02, 0.2), (0.18, -0.06), (0.27, 0.02), (0.14, 0.05 + collar)], M.SECOND)
    if k.pick(2):
        s.add(rect(half * 0.3, 0.55, half * 0.75, 0.8), M.SECOND)
    s.label = None


def hoodie(s: Sketch, k: Proportions) -> None:
    half, length = k(0.5, 0.66), k(1.2, 1.55)
    s.add(ellipse(0, 0.02, k(0.26, 0.36), k(0.2, 0.3)), M.MAIN_DARK)
    _sleeves(s, half, k(0.8, 1.05), k(58, 74), k(0.22, 0.3), (M.BODY, M.SECOND)[k.pick(2)])
    _torso(s, half, length, 0.97, k(0.9, 1.05), 0.2, 0.16)
    s.add(mirror([(half * 0.35, length - 0.45), (half * 0.62, length - 0.13)]), M.SECOND)
    s.add(rect(-half * 0.95, length - 0.07, half * 0.95, length + 0.04), M.MAIN_DARK)
    s.pair_line([(0.08, 0.14), (0.09, k(0.35, 0.5))], 0.03, M.WHITE)


def tank_top(s: Sketch, k: Proportions) -> None:
    half, length, strap = k(0.36, 0.5), k(1.1, 1.6), k(0.12, 0.26)
    depth = k(0.2, 0.5)
    right = [(0, depth), (half * 0.55 - strap / 2, 0), (half * 0.55 + strap / 2, 0)]
    right += [
        (half * 0.72, 0.3),
        (half, 0.5),
        (half * k(0.8, 1), 0.9),
        (half * k(0.9, 1.2), length),
    ]
    s.add(mirror(right))
    s.label = (0, 0.72, half * 0.5)


def a_line_dress(s: Sketch, k: Proportions) -> None:
    half, length = k(0.36, 0.48), k(1.9, 2.5)
    if k.pick(2):
        _sleeves(s, half, k(0.2, 0.45), k(30, 65), 0.28)
    _torso(s, half, length, k(0.72, 0.92), k(1.6, 2.4), k(0.16, 0.24), k(0.1, 0.35))
    y = 0.45 + (length - 0.45) * 0.35
    s.add(rect(-half * 0.84, y - 0.05, half * 0.84, y + k(0.02, 0.12)), M.SECOND)
    s.pair_line([(half * 0.4, y + 0.2), (half * 0.9, length - 0.05)], 0.018)


def sheath_dress(s: Sketch, k: Proportions) -> None:
    half, length = k(0.36, 0.46), k(1.8, 2.4)
    _torso(s, half, length, k(0.75, 0.92), k(0.85, 1.15), k(0.18, 0.27), k(0.08, 0.35))
    if k.pick(2):
        s.line([(0, length), (0, length - k(0.2, 0.5))], 0.02)
    s.add(rect(-half * 0.97, length - k(0.08, 0.25), half * 0.97, length), M.SECOND)


def long_sleeve_dress(s: Sketch, k: Proportions) -> None:
    half, length = k(0.38, 0.5), k(1.8, 2.6)
    _sleeves(s, half, k(0.7, 1.0), k(58, 74), k(0.2, 0.34), (M.BODY, M.SECOND)[k.pick(2)])
    _torso(s, half, length, k(0.75, 0.95), k(1.1, 1.9), k(0.14, 0.22), k(0.06, 0.25))
    for y in (length * 0.6, length * 0.8)[: k.pick(3)]:
        s.line([(-half * 1.1, y), (0, y + 0.05), (half * 1.1, y)], 0.02)


def strap_dress(s: Sketch, k: Proportions) -> None:
    half, length = k(0.34, 0.45), k(1.7, 2.5)
    _straps(s, k(0.1, 0.24), half * 0.6, -0.05, k(0.04, 0.1))
    waist, flare = half * k(0.75, 0.95), half * k(1.2, 2.1)
    s.add(mirror([(0, 0.36), (half * 0.6, 0.28), (half, 0.5), (waist, 0.95), (flare, length)]))
    if k.pick(2):
        s.add(mirror([(flare * 0.9, length * 0.84), (flare * 1.03, length)]), M.SECOND)
    s.line([(-waist, 0.95), (waist, 0.95)], 0.05, M.SECOND_DARK)
    s.label = (0, 1.3, half * 0.5)


def _legs(
    s: Sketch, waist: float, hip: float, crotch: float, length: float, hem: float, gap: float
) -> None:
    """Trousers: `hem` is the width of a leg's end, `gap` half the distance between the ends."""
    right = [(waist, 0), (hip, crotch * 0.65), (gap + hem, length), (gap, length), (0.01, crotch)]
    s.add(mirror(right))


def _waistband(s: Sketch, waist: float, height: float, material: Material) -> None:
    s.add(rect(-waist - 0.01, -0.01, waist + 0.01, height), material)


def jeans(s: Sketch, k: Proportions) -> None:
    waist, crotch, length = k(0.34, 0.44), k(0.5, 0.65), k(1.8, 2.2)
    hip = waist + k(0.04, 0.12)
    _legs(s, waist, hip, crotch, length, k(0.2, 0.34), k(0.06, 0.2))
    _waistband(s, waist, 0.12, M.MAIN_DARK)
    s.line([(0, 0.12), (0, crotch)], 0.02)
    s.pair_line(curve([(waist * 0.5, 0.12), (waist * 0.6, 0.3), (hip * 0.93, 0.34)], False), 0.02)
    s.add(ellipse(0, 0.06, 0.035), M.ACCENT)
    if k.pick(2):
        s.add(rect(0.12, length * 0.5, 0.3, length * 0.6), M.SECOND)


def wide_trousers(s: Sketch, k: Proportions) -> None:
    waist, crotch, length = k(0.3, 0.4), k(0.5, 0.7), k(1.6, 2.1)
    _legs(s, waist, waist + k(0.06, 0.16), crotch, length, k(0.4, 0.62), k(0.03, 0.08))
    _waistband(s, waist, k(0.08, 0.18), M.SECOND)
    s.pair_line([(waist * 0.55, 0.2), (waist * 0.9, length - 0.05)], 0.018)


def shorts(s: Sketch, k: Proportions) -> None:
    waist, crotch = k(0.38, 0.5), k(0.45, 0.6)
    length = crotch + k(0.2, 0.6)
    _legs(s, waist, waist + 0.1, crotch, length, k(0.42, 0.58), k(0.04, 0.12))
    _waistband(s, waist, 0.13, (M.SECOND, M.MAIN_DARK)[k.pick(2)])
    s.line([(0, 0.13), (0, crotch)], 0.02)
    s.pair_line([(waist * 0.7, 0.15), (waist * 0.98, 0.4)], 0.02)
    if k.pick(2):
        s.pair_line([(0.05, 0.1), (0.1, 0.36)], 0.03, M.WHITE)


def joggers(s: Sketch, k: Proportions) -> None:
    waist, crotch, length = k(0.32, 0.42), k(0.55, 0.7), k(1.7, 2.1)
    hem, gap, cuff = k(0.14, 0.22), k(0.1, 0.22), k(0.08, 0.2)
    _legs(s, waist, waist + k(0.08, 0.16), crotch, length, hem + 0.05, gap)
    _waistband(s, waist, 0.13, M.SECOND)
    s.pair(rect(gap, length - 0.02, gap + hem, length + cuff), M.SECOND)
    s.pair_line([(0.04, 0.1), (0.07, 0.42)], 0.03, M.WHITE)
    if k.pick(2):
        s.pair_line([(waist + 0.02, 0.2), (gap + hem, length - 0.05)], 0.06, M.ACCENT)


def bra(s: Sketch, k: Proportions) -> None:
    cup, rise, gap, band = k(0.36, 0.46), k(0.3, 0.55), k(0.03, 0.08), k(0.1, 0.2)
    s.pair_line([(cup * 1.3, -0.1), (cup * k(0.9, 1.3), -rise - 0.45)], k(0.05, 0.1), M.SECOND)
    s.pair([(gap, cup * 0.75), (cup * 2.5, 0.22), (cup * 2.5, 0.22 + band), (gap, cup)], M.SECOND)
    outer = [(cup * 2.05, cup * 0.35), (cup * 1.75, cup * 0.85), (cup, cup * 1.1)]
    s.pair(curve([(gap, cup * 0.35), (cup * 0.75, -cup * 0.2), (cup * 1.35, -cup * 0.45), *outer,
                  (gap + 0.04, cup * 0.9)]))  # fmt: skip
    s.pair_line(
        curve([(gap, cup * 0.5), (cup, cup * k(0.1, 0.5)), (cup * 2, cup * 0.4)], False), 0.02
    )
    s.add(ellipse(0, cup * 0.7, 0.07), M.ACCENT)


def briefs(s: Sketch, k: Proportions) -> None:
    waist, height, side = k(0.55, 0.75), k(0.6, 0.85), k(0.1, 0.35)
    leg = curve([(waist, side), (waist * 0.55, height * 0.62), (0.14, height)], False)
    s.add(mirror([(0, 0.04), (waist, 0), *leg]))
    s.add(mirror([(0, 0.06), (waist, 0), (waist, 0.1), (0, 0.16)]), M.SECOND)
    if k.pick(2):
        s.add(ellipse(0, 0.14, 0.06), M.ACCENT)


def camisole(s: Sketch, k: Proportions) -> None:
    half, length = k(0.34, 0.48), k(0.95, 1.4)
    _straps(s, k(0.12, 0.26), half * 0.62, -0.12, k(0.03, 0.06))
    s.add(mirror([(0, k(0.3, 0.45)), (half * 0.62, 0.28), (half, 0.5), (half * k(0.8, 1), 0.85),
                  (half * k(0.95, 1.3), length)]))  # fmt: skip
    hem = k(0.05, 0.14)
    s.add(rect(-half, length - hem, half, length), M.SECOND)
    s.add(ellipse(0, 0.45, 0.045), M.ACCENT)


def slip(s: Sketch, k: Proportions) -> None:
    half, length = k(0.34, 0.44), k(1.5, 2.1)
    _straps(s, k(0.1, 0.24), half * 0.6, -0.08, k(0.03, 0.06))
    flare = half * k(1.0, 1.6)
    s.add(mirror([(0, k(0.36, 0.5)), (half * 0.6, 0.28), (half, 0.5), (half * 0.86, 0.9),
                  (flare, length)]))  # fmt: skip
    s.add(mirror([(flare * 0.92, length - k(0.08, 0.2)), (flare, length)]), M.SECOND)
    s.add(ellipse(0, 0.5, 0.04), M.ACCENT)


def boxers(s: Sketch, k: Proportions) -> None:
    waist, crotch = k(0.42, 0.52), k(0.5, 0.65)
    _legs(s, waist, waist + 0.03, crotch, crotch + k(0.12, 0.3), k(0.36, 0.46), k(0.04, 0.08))
    _waistband(s, waist, k(0.12, 0.2), M.SECOND)
    s.pair_line([(0.12, 0.16), (0.1, crotch)], 0.02)


SHIRT: tuple[Builder, ...] = (tee, button_shirt, hoodie, tank_top)
DRESS: tuple[Builder, ...] = (a_line_dress, sheath_dress, long_sleeve_dress, strap_dress)
PANTS: tuple[Builder, ...] = (jeans, wide_trousers, shorts, joggers)
UNDERDRESS: tuple[Builder, ...] = (bra, briefs, camisole, slip, boxers)
