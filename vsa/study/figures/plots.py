"""Plots that several notebooks share: confusion, reliability, intervals, curves, thumbnails."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vsa.study.figures.pictures import THUMBNAIL
from vsa.study.figures.style import GREY, PALETTE, STYLE, class_style, new_figure
from vsa.study.ledger.bootstrap import Interval

_LEGEND_ROW = 0.2  # inches


@mpl.rc_context(STYLE)
def confusion_plot(matrix: npt.NDArray[np.int64], names: Sequence[str], title: str = "") -> Figure:
    """Row-normalised confusion matrix (c, c) of counts; rows are true classes.

    Up to 15 classes each cell of 0.005 or more shows its share.
    """
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    n = len(names)
    size = 2.2 + min(0.42 * n, 8)  # many classes share 8 inches, so that a page can hold them
    font = 11 if n <= 19 else 7
    figure, axis = new_figure(size + 0.6, size)
    edges = np.arange(n + 1) - 0.5
    shown = axis.pcolormesh(edges, edges, share, cmap="Blues", vmin=0, vmax=1)
    axis.set(aspect="equal", ylim=(n - 0.5, -0.5))  # true classes from top to bottom
    axis.grid(False)
    axis.set_xticks(range(n), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=font)
    axis.set_yticks(range(n), names, fontsize=font)
    axis.set(xlabel="predicted", ylabel="true", title=title)
    figure.colorbar(shown, ax=axis, label="share of the true class", shrink=0.8)
    if n <= 15:
        for row, column in zip(*np.nonzero(share >= 0.005), strict=True):
            value = share[row, column]
            colour = "white" if value > 0.5 else "black"
            text = f"{value:.2f}".removeprefix("0")
            axis.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    return figure


@mpl.rc_context(STYLE)
def reliability_plot(tables: Mapping[str, pd.DataFrame], title: str = "") -> Figure:
    """Accuracy against confidence, one line per method, over a histogram of confidence.

    `tables` are those of `metrics.reliability`, all with the same bins.
    """
    figure, (above, below) = new_figure(5.2, 5.6, 2, 1, sharex=True, height_ratios=[3, 1])
    above.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="perfect")
    for i, (name, table) in enumerate(tables.items()):
        style = class_style(i)
        filled = table[table["count"] > 0]
        above.plot(filled["confidence"], filled["accuracy"], label=name, markersize=6, **style)
        edges = np.append(table["low"], table["high"].iloc[-1])
        share = table["count"] / max(table["count"].sum(), 1)
        below.stairs(share, edges, color=style["color"], linewidth=2)
    above.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02), title=title)
    above.legend()
    below.set(xlabel="confidence", ylabel="share of\nqueries")
    return figure


@mpl.rc_context(STYLE)
def interval_plot(
    intervals: Mapping[str, Interval], label: str, reference: float | None = None, title: str = ""
) -> Figure:
    """A dot and its 95 % interval per row, from top to bottom, with values in print.

    `reference` draws a vertical line, 0 for differences.
    """
    labels = [textwrap.fill(name, 26) for name in intervals]
    n_lines = max((name.count("\n") + 1 for name in labels), default=1)
    figure, axis = new_figure(7.4, 1.1 + (0.24 + 0.18 * n_lines) * len(intervals))
    if reference is not None:
        axis.axvline(reference, color=GREY, linestyle="--", linewidth=1)
    sign = "+" if reference == 0 else ""
    for row, interval in enumerate(intervals.values()):
        axis.plot([interval.low, interval.high], [row, row], color=PALETTE[0])
        axis.plot(interval.value, row, "o", color=PALETTE[0], markersize=8)
        text = f"{interval.value:{sign}.3f} [{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]"
        where = axis.get_yaxis_transform()
        axis.text(1.02, row, text, va="center", fontsize=10, transform=where)
    axis.set_yticks(range(len(labels)), labels)
    axis.set(xlabel=label, title=title, ylim=(len(intervals) - 0.5, -0.5))
    axis.grid(False, axis="y")
    return figure


@mpl.rc_context(STYLE)
def curve_plot(
    x: Sequence[float],
    curves: Mapping[str, Sequence[Interval]],
    x_label: str,
    y_label: str,
    log_x: bool = False,
    title: str = "",
) -> Figure:
    """A line with its 95 % band per method, over the same `x` for all."""
    figure, axis = new_figure(6.4, 4.2)
    for i, (name, curve) in enumerate(curves.items()):
        style = class_style(i)
        low, high = [point.low for point in curve], [point.high for point in curve]
        axis.plot(x, [point.value for point in curve], label=name, markersize=7, **style)
        axis.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)
    if log_x:
        axis.set_xscale("log")
        axis.set_xticks(list(x), [f"{value:g}" for value in x])
        axis.minorticks_off()
    axis.set(xlabel=x_label, ylabel=y_label, title=title)
    axis.legend()
    return figure


@dataclass(frozen=True)
class Panel:
    """What was found along an axis, and where the shop itself stands on it.

    ``here`` is one place, drawn as a line; or quantiles, between which the plane is shaded.
    """

    # arm → place → what was found there; of an arm with the place 0 alone, whatever the place
    curves: Mapping[str, Mapping[float, Interval]]
    here: Sequence[float]


@mpl.rc_context(STYLE)
def regime_plot(panels: Mapping[str, Panel], x_label: str, y_label: str, title: str = "") -> Figure:
    """A line with its 95 % band per arm along an axis, one panel below the other.

    Panels are entitled by their names where there are several, else by `title`. An axis that spans
    more than 20 times is drawn in doublings.
    """
    figure, axes = new_figure(7.4, 0.6 + 3.6 * len(panels), len(panels), 1, squeeze=False)
    for axis, (name, panel) in zip(axes[:, 0], panels.items(), strict=True):
        _draw_regime(axis, panel)
        axis.set(ylabel=y_label, title=name if len(panels) > 1 else title)
    axes[-1, 0].set_xlabel(x_label)
    return figure


def _draw_regime(axis: Any, panel: Panel) -> None:
    here, curves = panel.here, dict(panel.curves)
    aside = {arm: curves.pop(arm)[0] for arm in panel.curves if list(panel.curves[arm]) == [0]}
    for i, (arm, curve) in enumerate(curves.items()):
        style, found = class_style(i), list(curve.values())
        axis.plot(list(curve), [at.value for at in found], label=arm, markersize=7, **style)
        low, high = [at.low for at in found], [at.high for at in found]
        axis.fill_between(list(curve), low, high, color=style["color"], alpha=0.12, linewidth=0)
    for i, (arm, at) in enumerate(aside.items(), start=len(curves)):
        colour = class_style(i)["color"]
        axis.axhline(at.value, color=colour, linestyle=":", label=arm)
        axis.axhspan(at.low, at.high, color=colour, alpha=0.12, linewidth=0)
    places = sorted({place for curve in curves.values() for place in curve})
    if places[0] > 0 and places[-1] > 20 * places[0]:
        axis.set_xscale("log", base=2)
        axis.minorticks_off()
    axis.set_xticks(places, [f"{place:g}" for place in places])
    if len(here) == 1:
        axis.axvline(here[0], color=GREY, linestyle="--", linewidth=1, label="this shop")
    elif here:
        axis.axvspan(here[0], here[-1], color=GREY, alpha=0.12, linewidth=0, label="this shop")
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9)


@mpl.rc_context(STYLE)
def thumbnail_scatter(
    points: npt.NDArray[np.floating],
    images: Sequence[Any] | npt.NDArray[np.uint8],
    labels: npt.NDArray[np.integer],
    names: Sequence[str],
    thumbnail_share: float = 0.06,
    title: str = "",
) -> Figure:
    """Points in the plane, for example of t-SNE, with thumbnails at some of them.

    A thumbnail is drawn at its exact place, and left out where it would cover an earlier one;
    what is left out stays as a dot, as do all where pictures may not be shown. Frames, dots and
    legend share a class's colour and marker.

    Parameters
    ----------
    points : (n, 2) positions.
    images : n PIL images or (h, w, 3) uint8 arrays.
    labels : (n,) classes, indices into `names`.
    names : class names.
    thumbnail_share : side of a thumbnail as a share of the plot's side.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    span = float((high - low).max()) or 1.0
    side = thumbnail_share * span
    width, height = 7 * np.maximum((high - low + 2 * side) / span, 0.3)
    shown = np.unique(labels)
    n_columns = 1 if _LEGEND_ROW * len(shown) <= height else 2
    height = max(height, _LEGEND_ROW * math.ceil(len(shown) / n_columns))
    figure, axis = new_figure(width + 1.8 * n_columns, height + 0.4)  # the legend and the title
    dots = []
    for label in shown:
        member = labels == label
        style = class_style(int(label))
        dots.append(axis.scatter(*points[member].T, s=20, linewidths=0, **style))
    for i in _apart(points, side):
        left, bottom = points[i] - side / 2
        box = (left, left + side, bottom, bottom + side)
        axis.imshow(np.asarray(images[i]), extent=box, zorder=3, gid=THUMBNAIL)
        frame = Rectangle((left, bottom), side, side, fill=False, linewidth=2, zorder=4)
        frame.set_gid(THUMBNAIL)
        frame.set_edgecolor(class_style(int(labels[i]))["color"])
        axis.add_patch(frame)
    axis.set(xlim=(low[0] - side, high[0] + side), ylim=(low[1] - side, high[1] + side))
    axis.set(title=title, xticks=[], yticks=[], aspect="equal")
    axis.grid(False)
    axis.spines[:].set_visible(False)
    figure.legend(  # names given here may begin with an underscore
        dots,
        [names[label] for label in shown],
        loc="outside right center",
        fontsize=9,
        markerscale=1.4,
        ncols=n_columns,
    )
    return figure


def _apart(points: npt.NDArray[np.floating], side: float) -> list[int]:
    """Indices of points whose squares of that side do not overlap, earlier ones first."""
    chosen: list[int] = []
    for i, point in enumerate(points):
        distance = np.abs(points[chosen] - point).max(axis=1, initial=0)  # Chebyshev
        if (distance >= side * 1.05).all():
            chosen.append(i)
    return chosen
