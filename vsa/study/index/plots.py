"""Figures of notebook 04, each with its words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from vsa.study.figures.style import (
    GREY,
    HouseFigure,
    class_style,
    new_figure,
    plain_log_numbers,
    worded,
)
from vsa.study.index.peers import COARSE, ENGINE, FLOAT, LINEAR
from vsa.study.index.stages import STAGES


def recall_plot(n_items: int, curve: pd.DataFrame) -> HouseFigure:
    """Recall against latency: left by code, against the scan of codes; right by feature."""
    figure, axes = new_figure(11, 5.6, 1, 2)
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
        axis.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)
    figure.suptitle(f"Recall against latency, {n_items:,} items, one thread")
    return worded(
        figure,
        "recall_latency",
        "Recall against median latency of the index and its peers, two panels, log time.",
        "Left: against the scan of codes. Right: against the scan of features. Further left and up "
        "is better; only settings that no other one of the method beats.",
    )


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


def growth_plot(curves: dict[int, pd.DataFrame]) -> HouseFigure:
    """Median latency against the number of items, with lines of slope one half and one."""
    figure, axis = new_figure(7, 4.5)
    sizes = np.array(list(curves))
    for number, method in enumerate((ENGINE, COARSE, LINEAR, FLOAT)):
        times = {}
        for n, curve in curves.items():
            rows = curve[(curve.method == method) & (curve.chosen == 1)]
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
    return worded(
        figure,
        "latency_growth",
        "Median latency against catalogue size on log axes: the index, its coarse filter, the "
        "scan.",
        "Latency at the settings chosen for each size, shards (above 25 million items) one after "
        "the other; the dotted line grows with the square root.",
    )


def stage_plot(curves: dict[int, pd.DataFrame]) -> HouseFigure:
    """A bar for each size of catalogue: where the median query's time goes."""
    figure, axis = new_figure(8, 3.2)
    rows = {n: curve[(curve.method == ENGINE) & (curve.chosen == 1)] for n, curve in curves.items()}
    rows = {n: row.iloc[0] for n, row in rows.items() if f"{STAGES[0]}_ms" in row}
    names = [f"{n:,} items" for n in rows]
    start = np.zeros(len(rows))
    for number, stage in enumerate(STAGES):
        spent = np.array([max(row[f"{stage}_ms"], 0.0) for row in rows.values()])
        axis.barh(names, spent, left=start, color=class_style(number)["color"], label=stage)
        start += spent
    axis.set(xlabel="milliseconds")
    axis.set_title("Where a query's time goes")
    axis.legend(ncols=len(STAGES), fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.25))
    return worded(
        figure,
        "query_time",
        "Stacked bars of the milliseconds that a query spends in each stage, by catalogue size.",
        "Probing compares centroids, scanning codes; selecting keeps the nearest; refining reads "
        "and compares features, and ranks. The rest is what all of these take longer in one call "
        "than one by one, if they do. Python is all around it.",
    )


def similarity_plot(similarity: pd.DataFrame) -> HouseFigure:
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
    return worded(
        figure,
        "grown_similarity",
        "Mean similarity of a photo's nearest items against their rank, in a real and a grown "
        "catalogue.",
        "Photos against half of the catalogue, and against as many items grown from the other "
        "half.",
    )


def codec_plot(found: dict[str, tuple[np.ndarray, np.ndarray]]) -> HouseFigure:
    """What each kind of code keeps of the float ranking, by bits; exact features as a line."""
    values = {name: float(overlap.mean()) for name, (_, overlap) in found.items()}
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
    axis.set(xscale="log", xlabel="bits", ylabel="share of the float ranking's first 60")
    ticks: Sequence[int] = sorted({bits for points in kinds.values() for bits, _ in points})
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.minorticks_off()
    axis.set_title("What codes keep, by bits")
    axis.legend()
    return worded(
        figure,
        "codes",
        "Share of the 60 nearest by feature that are among the 60 nearest by code, against bits.",
        "What codes alone keep of the float ranking, by bits; rotation is what the index uses.",
    )
