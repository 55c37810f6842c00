"""Figures of notebook 06, each with its words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vsa.data.images import load_image
from vsa.study.end_to_end.experiment import ALL, EndToEndLab
from vsa.study.figures.grids import DrawnBox, image_rows
from vsa.study.figures.plots import interval_plot
from vsa.study.figures.style import GREY, PALETTE, STYLE, HouseFigure, new_figure, worded
from vsa.study.ledger.ledger import Ledger

_THUMBNAIL_PX = 96
_N_RESULTS = 5


@mpl.rc_context(STYLE)
def funnel_plot(kept: Mapping[str, np.ndarray]) -> HouseFigure:
    """A bar per stage: the share of photos whose product is still there, and what was lost."""
    shares = [float(np.mean(there)) for there in kept.values()]
    figure, axis = new_figure(8.4, 0.42 * len(shares) + 1.1)
    axis.barh(range(len(shares)), shares, color=PALETTE[0], height=0.7)
    before = 1.0
    for row, share in enumerate(shares):
        lost = f"  (−{before - share:.3f})" if row else ""
        axis.text(
            1.02, row, f"{share:.3f}{lost}", va="center", transform=axis.get_yaxis_transform()
        )
        before = share
    axis.set_yticks(range(len(shares)), list(kept))
    axis.set(xlim=(0, 1), ylim=(len(shares) - 0.4, -0.6), xlabel="share of photos")
    axis.set_title("Where identical items are lost")
    axis.grid(False, axis="y")
    return worded(
        figure,
        "funnel",
        "Share of photos with an identical item left after each stage, from the catalogue to rank "
        "one.",
        "In brackets: what the stage loses.",
    )


@mpl.rc_context(STYLE)
def waterfall_plot(times: pd.DataFrame, n_items: int) -> HouseFigure:
    """When each stage begins and ends, in medians; whiskers reach each stage's p95.

    `times` has a column per stage, and one of them all. Category runs beside box and feature.
    """
    medians, p95 = times.median(), times.quantile(0.95)
    starts, now = [], 0.0
    for stage in times:
        starts.append(0.0 if stage == ALL else now)
        if stage == "box and feature":
            now += max(medians["category"], medians[stage])
        elif stage != "category":
            now += medians[stage]
    figure, axis = new_figure(8.4, 0.45 * len(medians) + 1.2)
    for row, (stage, start) in enumerate(zip(times, starts, strict=True)):
        axis.barh(row, medians[stage], left=start, color=PALETTE[row % len(PALETTE)], height=0.7)
        axis.plot([start + medians[stage], start + p95[stage]], [row, row], color=GREY, linewidth=1)
        text = f"{medians[stage]:.1f} ms"
        axis.text(1.02, row, text, va="center", transform=axis.get_yaxis_transform())
    axis.set_yticks(range(len(medians)), list(times))
    axis.set(ylim=(len(medians) - 0.4, -0.6), xlabel="ms since the photo arrived")
    axis.set_title(f"One photo among {n_items:,} items, stage by stage")
    axis.set_xlim(left=0)
    axis.grid(False, axis="y")
    return worded(
        figure,
        "latency_waterfall",
        "Median time of each stage, one after the other, with lines to its 95th percentile.",
        "Bars: medians. Grey lines: from the median to the stage's 95th percentile.",
    )


def ablation_plot(ledger: Ledger) -> HouseFigure:
    """What leaving a stage out changes."""
    metric = "Identical Recall@20 difference"
    changes = ledger.intervals("what leaving it out changes", metric)
    label = "Identical Recall@20, without the stage − whole path"
    return worded(
        interval_plot(changes, label, 0, "What leaving a stage out changes"),
        "stage_ablation",
        "Difference in Identical Recall@20 to the whole path, with a 95 % interval, per stage left "
        "out.",
        "Left of zero: the stage finds identical items. Right of zero: it costs some.",
    )


def failure_plot(lab: EndToEndLab, page: np.ndarray, n: int) -> HouseFigure:
    """The `n` photos whose product is furthest behind what was found; `page` as of `ablation`."""
    return worded(
        _failure_plot(lab, lab.failures(page, n), "What went wrong most"),
        "failures",
        "Photos with their learned boxes, the first five results, and the picture that was missed.",
        "Each row: the photo with its learned box, the first results, and the nearest picture of "
        "its product, which is not on the page.",
    )


@mpl.rc_context(STYLE)
def _failure_plot(lab: EndToEndLab, rows: np.ndarray, title: str = "") -> Figure:
    """Photos with the learned box, the first results, and the picture that should be among them."""
    if not len(rows):
        figure, axis = new_figure(6, 0.8)
        axis.set_axis_off()
        axis.text(0, 0.5, "No photo failed.", va="center")
        return figure
    photos, root = lab.photos, lab.shop.dataset.root
    shown, boxes = [], {}
    for row, photo in enumerate(rows):
        results = lab.engine.search(photos.paths[photo], _N_RESULTS).results
        paths = [photos.paths[photo], *(root / path for path in results.path)]
        images = [load_image(path, _THUMBNAIL_PX) for path in paths]
        absent = [None] * (1 + _N_RESULTS - len(images))
        missed = load_image(_missed(lab, photo), _THUMBNAIL_PX)
        shown.append((photos.categories[photo], [*images, *absent, missed]))
        boxes[row, 0] = [DrawnBox(photos.boxes[photo])]
    titles = {0: "photo and box", 1: "first results", 1 + _N_RESULTS: "missed"}
    return image_rows(shown, titles, boxes=boxes, cell_inches=1.3, heading=title)


def _missed(lab: EndToEndLab, photo: int) -> Path:
    """The picture of the photo's product whose feature is nearest."""
    kept = np.flatnonzero(lab.task.kept)
    same = kept[lab.task.products[kept] == lab.photos.products[photo]]
    best = same[np.argmax(lab.task.features[same] @ lab.photos.in_box[photo])]
    return lab.shop.dataset.root / lab.shop.dataset.catalogue.path.iloc[best]
