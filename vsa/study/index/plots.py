"""Figures of notebook 04."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from vsa.study.figures.style import GREY, class_style, new_figure, plain_log_numbers
from vsa.study.index.peers import COARSE, ENGINE, FLOAT, LINEAR


def recall_plot(curve: pd.DataFrame, title: str) -> Figure:
    """Recall against latency: left by code, against the scan of codes; right by feature."""
    figure, axes = new_figure(11, 4.8, 1, 2)
    for axis, column, kind, text in zip(
        axes,
        ("code_recall", "recall"),
        ("codes", "features"),
        ("Linear Recall@60 (codes)", "float Recall@60 (features)"),
        strict=True,
    ):
        shown = curve[(curve.ranks_by == kind) & (curve.chosen == 0)]
        _curves(axis, shown, column)
        axis.set(xscale="log", xlabel="median latency, ms (log scale)", ylabel=text)
        plain_log_numbers(axis.xaxis)
        axis.legend(fontsize=8, loc="lower right")
    figure.suptitle(title)
    return figure


def _curves(axis: Axes, shown: pd.DataFrame, column: str) -> None:
    for number, (method, rows) in enumerate(shown.groupby("method", sort=False)):
        rows = rows.sort_values("p50_ms")
        best = rows[column].cummax() == rows[column]  # settings that no other one beats
        rows = rows[best]
        own, style = method in (ENGINE, COARSE), class_style(number)
        axis.plot(
            rows.p50_ms,
            rows[column],
            color=style["color"],
            marker=style["marker"],
            markersize=5,
            linewidth=2.4 if own else 1.2,
            label=str(method),
        )


def growth_plot(curves: dict[int, pd.DataFrame]) -> Figure:
    """Median latency against the number of items, with lines of slope one half and one."""
    figure, axis = new_figure(7, 4.5)
    sizes = np.array(list(curves))
    for number, method in enumerate((ENGINE, COARSE, LINEAR, FLOAT)):
        times = {}
        for n, curve in curves.items():
            rows = curve[curve.method == method]
            rows = rows[rows.chosen == 1] if method in (ENGINE, COARSE) else rows
            if len(rows):
                times[n] = rows.p50_ms.iloc[0]
        axis.plot(
            list(times),
            list(times.values()),
            label=method,
            **class_style(number),
        )
    start = float(curves[sizes[0]].query("method == @ENGINE and chosen == 1").p50_ms.iloc[0])
    root = start * np.sqrt(sizes / sizes[0])
    axis.plot(sizes, root, ":", color=GREY, label="√ items")
    axis.set(xscale="log", yscale="log", xlabel="items", ylabel="median latency, ms (log scale)")
    axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axis.xaxis.set_minor_formatter(NullFormatter())
    plain_log_numbers(axis.yaxis)
    axis.set_title("Latency while the catalogue grows, at the settings chosen for each size")
    axis.legend(fontsize=8)
    return figure


def similarity_plot(similarity: pd.DataFrame) -> Figure:
    """How similar a photo's nearest items are, by rank: real and grown catalogue."""
    figure, axis = new_figure(6, 4)
    for number, kind in enumerate(similarity):
        axis.plot(
            similarity.index,
            similarity[kind],
            "-" if not number else "--",
            color=class_style(number)["color"],
            linewidth=2,
            label=f"{kind} catalogue",
        )
    axis.set(xlabel="rank", ylabel="mean similarity to the photo")
    axis.set_title("How near to photos real and grown catalogues lie")
    axis.legend()
    return figure


def codec_plot(values: dict[str, float], metric: str) -> Figure:
    """A metric of each kind of code against bits; exact features as a line."""
    figure, axis = new_figure(6.5, 4)
    kinds: dict[str, list[tuple[int, float]]] = {}
    for name, value in values.items():
        kind, _, bits = name.partition(", ")
        if bits.endswith("bits"):
            kinds.setdefault(kind, []).append((int(bits.split()[0]), value))
    for number, (kind, points) in enumerate(kinds.items()):
        axis.plot(*zip(*points, strict=True), label=kind, **class_style(number))
    exact = values["float, exact"]
    axis.axhline(exact, color=GREY, linestyle=":", label="float features")
    axis.set(xscale="log", xlabel="bits", ylabel=metric)
    ticks: Sequence[int] = sorted({bits for points in kinds.values() for bits, _ in points})
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.minorticks_off()
    axis.set_title("What codes keep, by bits")
    axis.legend()
    return figure
