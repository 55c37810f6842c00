"""Figures of notebook 05, each with its words."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from vsa.ranking.blend import TOLERANCE
from vsa.study.figures.plots import interval_plot
from vsa.study.figures.style import (
    GREY,
    STYLE,
    HouseFigure,
    class_style,
    new_figure,
    plain_log_numbers,
    worded,
)
from vsa.study.ledger.bootstrap import Interval
from vsa.study.ranking.experiment import RANDOM
from vsa.study.ranking.results import RankingResults, calibration_bins

Points = Mapping[str, tuple[Interval, Interval]]  # name → NDCG of appearance, conversion rate


@mpl.rc_context(STYLE)
def conversion_plot(
    own: Points, blended: Points, curves: Mapping[str, pd.DataFrame]
) -> HouseFigure:
    """Conversion against NDCG of appearance: hollow a score's own order, filled its blend.

    `curves` (columns conversion and ndcg) show what other weights of a score would have given.
    """
    figure, axis = new_figure(10, 5)
    names = list(dict.fromkeys([*own, *blended]))
    for number, name in enumerate(names):
        style = class_style(number) | ({"color": GREY} if name == RANDOM else {})
        for points, face in ((own, "white"), (blended, style["color"])):
            if name in points:
                label = name if face != "white" or name not in blended else None
                _cross(axis, *points[name], style, face, label)
        if name in curves:
            axis.plot(curves[name].ndcg, curves[name].conversion, color=style["color"], linewidth=1)
    axis.axvline(1 - TOLERANCE, color=GREY, linestyle="--", linewidth=1)
    axis.set(xlabel="NDCG of appearance", ylabel="conversion rate (simulated, exact)")
    axis.set_title("What re-ranking converts, and what it costs in appearance")
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9)
    return worded(
        figure,
        "conversion",
        "Conversion rate against NDCG of appearance for all rankers, before and after blending.",
        "Hollow: a score's own order. Filled: blended into appearance as validation chose. Lines: "
        "all weights, first log. Dashed: the limit. Bars are 95 % intervals over products and "
        "logs.",
    )


def _cross(
    axis: Axes, x: Interval, y: Interval, style: dict[str, str], face: str, label: str | None
) -> None:
    axis.errorbar(
        x.value,
        y.value,
        xerr=[[x.value - x.low], [x.high - x.value]],
        yerr=[[y.value - y.low], [y.high - y.value]],
        fmt=style["marker"],
        color=style["color"],
        markerfacecolor=face,
        markersize=8,
        elinewidth=1,
        label=label,
    )


def gain_plot(results: RankingResults) -> HouseFigure:
    """What each blend converts beyond appearance alone."""
    label = "conversion rate − that of appearance only"
    return worded(
        interval_plot(results.gain_intervals(), label, 0, "Gain in conversion"),
        "conversion_gain",
        "Gain in conversion rate of each blended ranker and control over appearance only.",
        "Exact conversion of test pages minus that of their order by appearance; simulated "
        "shoppers.",
    )


def importance_plot(results: RankingResults) -> HouseFigure:
    """What shuffling an input costs."""
    lost = results.importance_intervals()
    return worded(
        interval_plot(lost, "conversion rate lost", 0, "What shuffling an input costs"),
        "ranking_importance",
        "Loss in conversion rate when one input of GBDT + LR is shuffled within each page.",
        "Importance of each input for GBDT + LR's own order, on test pages.",
    )


@mpl.rc_context(STYLE)
def calibration_plot(found: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> HouseFigure:
    """Mean true against mean predicted purchase probability, in bins of equal count."""
    figure, axis = new_figure(6, 4.6)
    tables = {name: calibration_bins(*pair) for name, pair in found.items()}
    both = np.concatenate([table[["predicted", "true"]].to_numpy() for table in tables.values()])
    ends = [both.min() * 0.8, both.max() * 1.25]
    axis.plot(ends, ends, color=GREY, linestyle="--", linewidth=1, label="perfect")
    for number, (name, table) in enumerate(tables.items()):
        axis.plot(table.predicted, table.true, label=name, markersize=6, **class_style(number))
    axis.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    axis.set_title("Predicted and true probability of a purchase")
    axis.set(xlabel="predicted purchase probability", ylabel="true purchase probability")
    for side in (axis.xaxis, axis.yaxis):
        plain_log_numbers(side)
    axis.legend()
    return worded(
        figure,
        "purchase_calibration",
        "Mean true against mean predicted purchase probability of three rankers, log axes.",
        "Fifteen bins of equally many results; the dashed line is perfect calibration.",
    )
