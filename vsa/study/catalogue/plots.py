"""Pictures of tables: quality signals, click rates."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vsa.data.schema import QUALITY
from vsa.study.figures.style import PALETTE, STYLE, new_figure

_LABELS = {
    "sales": "sales (items)",
    "conversion_rate": "conversion rate",
    "applause_rate": "applause rate",
    "price": "price",
}
_LOGARITHMIC = ("sales", "price")


@mpl.rc_context(STYLE)
def quality_plot(catalogue: pd.DataFrame, title: str = "") -> Figure:
    """Histograms of the quality signals that the catalogue has; sales and price on log scales."""
    present = [name for name in QUALITY if catalogue[name].notna().any()]
    figure, axes = new_figure(2.9 * len(present), 2.9, 1, len(present), squeeze=False)
    for axis, name in zip(axes[0], present, strict=True):
        values = catalogue[name].dropna().to_numpy()
        bins: int | np.ndarray = 30
        if name in _LOGARITHMIC:
            values = np.maximum(values, 1)
            bins = np.geomspace(values.min(), max(values.max(), 1.1 * values.min()), 30)
            axis.set_xscale("log")
        axis.hist(values, bins, color=PALETTE[0])
        axis.set(xlabel=_LABELS[name], ylabel="images" if axis is axes[0, 0] else None)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


@mpl.rc_context(STYLE)
def click_rate_plot(by_rank: pd.DataFrame, title: str = "") -> Figure:
    """Click-through rate against rank, from `clicks.clicks_by_rank`."""
    figure, axis = new_figure(6.4, 3.2)
    axis.plot(by_rank["rank"], by_rank.click_rate, "o-", color=PALETTE[0], markersize=4)
    axis.set(xlabel="rank on the page", ylabel="click-through rate", title=title)
    axis.set_ylim(bottom=0)
    return figure
