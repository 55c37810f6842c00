"""Figures of notebook 01: pictures of the data set, quality signals, click rates."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vsa.data.schema import QUALITY
from vsa.study.catalogue.gallery import (
    catalogue_beside_queries,
    duplicate_clusters_shown,
    session_shown,
)
from vsa.study.catalogue.prepare import Shop
from vsa.study.figures.grids import image_grid
from vsa.study.figures.style import PALETTE, STYLE, HouseFigure, new_figure, worded
from vsa.study.simulate.clicks import clicks_by_rank

_LABELS = {
    "sales": "sales (items)",
    "conversion_rate": "conversion rate",
    "applause_rate": "applause rate",
    "price": "price",
}
_LOGARITHMIC = ("sales", "price")


def pairs_figure(shop: Shop, seed: int) -> HouseFigure:
    """Catalogue images, each above a photo of the same product or category."""
    pictures = catalogue_beside_queries(shop.dataset, seed)
    return worded(
        image_grid(pictures.images, pictures.titles, n_columns=7),
        "catalogue_beside_queries",
        "Rows of catalogue images, each above a shopper's photo of the same product or category.",
        "Catalogue images (upper rows) and queries of the same product or category (below each).",
    )


def quality_figure(shop: Shop) -> HouseFigure | None:
    """The quality signals of the catalogue; None where it has none."""
    if not shop.has_quality:
        return None
    return worded(
        quality_plot(shop.dataset.catalogue, "A few listings sell most"),
        "quality_signals",
        "Histograms of sales, conversion rate, applause rate and price over catalogue images.",
        "Quality signals of the catalogue's listings; sales and price on a logarithmic scale.",
    )


def duplicates_figure(shop: Shop) -> HouseFigure | None:
    """The largest groups of copies; None where there are none."""
    pictures = duplicate_clusters_shown(shop.dataset, shop.selection)
    if not pictures.images:
        return None
    return worded(
        image_grid(pictures.images, pictures.titles, 6, pictures.frame_colours),
        "duplicate_clusters",
        "The largest groups of copies: the image kept, then those removed in its favour.",
        "The largest groups of copies, one per row; the first image is kept.",
    )


def click_rate_figure(shop: Shop) -> HouseFigure | None:
    """Click-through rate by rank; None without a click log."""
    if shop.pvlog is None:
        return None
    return worded(
        click_rate_plot(clicks_by_rank(shop.pvlog), "The top of the page is looked at most"),
        "click_rate",
        "Share of results clicked, against their rank on the page.",
        "Click-through rate by rank. Simulated unless the data set brings its own log.",
    )


def session_figure(shop: Shop) -> HouseFigure | None:
    """One page view; None without a click log."""
    if shop.pvlog is None:
        return None
    pictures = session_shown(shop.dataset, shop.pvlog)
    return worded(
        image_grid(pictures.images, pictures.titles, 6, pictures.frame_colours),
        "session",
        "One page view: the query and its first results, clicked ones framed.",
        "The query and the first results of one page view; clicked results are framed.",
    )


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
