"""A claim's effects on all published runs, as forest plots: one panel per effect."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import matplotlib as mpl

from vsa.study.figures.style import GREY, PALETTE, STYLE, HouseFigure, new_figure, worded
from vsa.study.ledger.claims import has_width
from vsa.study.ledger.findings.verdicts import Cell, Finding, called
from vsa.study.ledger.reporting.content import effect_text
from vsa.study.ledger.rigour import smallest_seen

_SIZES = re.compile(r", [\d,]+ items")  # an effect is the same one on catalogues of other sizes
_WIDTH, _ROW, _PANEL = 9.0, 0.34, 0.72  # inches
_NUMBERS, _SEEN = 8, 230  # left and right end of columns of text, points right of a panel
# Told apart by shape, and by colours of Okabe and Ito's
_ABOVE: dict[str, Any] = {"color": PALETTE[0], "marker": "o"}
_BELOW: dict[str, Any] = {"color": PALETTE[1], "marker": "s"}
_ACROSS: dict[str, Any] = {"color": GREY, "marker": "D", "markerfacecolor": "white"}

Row = tuple[Cell, dict[str, float]]  # a run, and its effect with the interval


def forest_plot(finding: Finding) -> HouseFigure | None:
    """One panel per effect, one row per run that has it; None where no run judged the claim.

    Blue circles lie surely beyond the threshold, orange squares surely do not, and white diamonds
    leave it open; an interval of no width does, too. Beside each stands the smallest effect that
    the design could have seen.
    """
    panels = _panels(finding)
    if not panels:
        return None
    heights = [_PANEL + _ROW * len(rows) + 0.2 * _title(name).count("\n") for name, rows in panels]
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(
            _WIDTH, sum(heights), len(panels), 1, squeeze=False, height_ratios=heights
        )
        for axis, (name, rows) in zip(axes[:, 0], panels, strict=True):
            _draw(axis, name, rows)
        _text(axes[0, 0], _SEEN, -0.75, "could have seen", ha="right", color=GREY)
    told = "; ".join(
        f"{name or 'effect'}: "
        + ", ".join(f"{c.label} {effect_text(e)}, could have seen {_seen(e)}" for c, e in rows)
        for name, rows in panels
    )
    units = dict.fromkeys(cell.claim["unit"] for cell in finding.cells if cell.claim)
    return worded(
        figure,
        f"forest_{finding.claim.id}",
        f"Effects of claim {finding.claim.id} with 95 % intervals. {told}.",
        f"What {finding.claim.id} rests on ({', '.join(units)}).",
    )


def _panels(finding: Finding) -> list[tuple[str, list[Row]]]:
    panels: dict[str, list[Row]] = {}
    for cell in finding.cells:
        for name, effect in (cell.claim["effects"] if cell.claim else {}).items():
            panels.setdefault(_SIZES.sub("", called(name)), []).append((cell, effect))
    return list(panels.items())


def _title(name: str) -> str:
    return textwrap.fill(name, 72)


def _draw(axis: Any, name: str, rows: list[Row]) -> None:
    for place, (cell, effect) in enumerate(rows):
        threshold = cell.claim["threshold"] if cell.claim else 0.0
        style = _style(effect, threshold)
        axis.plot([threshold] * 2, [place - 0.5, place + 0.5], color=GREY, linestyle="--", lw=1)
        axis.plot([effect["ci_low"], effect["ci_high"]], [place, place], color=style["color"])
        axis.plot(effect["effect"], place, markersize=8, **style)
        _text(axis, _NUMBERS, place, effect_text(effect))
        _text(axis, _SEEN, place, _seen(effect), ha="right")
    axis.set_yticks(range(len(rows)), [cell.label for cell, _ in rows])
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_title(_title(name), fontsize=11)
    axis.grid(False, axis="y")
    axis.locator_params(axis="x", nbins=5)


def _text(axis: Any, x: float, y: float, text: str, **options: str) -> None:
    """At `x` points right of the panel, beside row `y`."""
    where = axis.get_yaxis_transform()
    place: dict[str, Any] = {"xycoords": where, "textcoords": "offset points", "xytext": (x, 0)}
    axis.annotate(text, (1, y), va="center", fontsize=10, annotation_clip=False, **place, **options)


def _seen(effect: dict[str, float]) -> str:
    size = smallest_seen(effect)
    return "–" if size is None else f"{size:.3f}"


def _style(effect: dict[str, float], threshold: float) -> dict[str, Any]:
    if has_width(effect) and effect["ci_low"] > threshold:
        return _ABOVE
    if has_width(effect) and effect["ci_high"] <= threshold:
        return _BELOW
    return _ACROSS
