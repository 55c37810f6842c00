"""Plots of click-mined training, for the figures in `plots`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from vsa.embedding.candidates import ADAPTED
from vsa.study.embedding.examples import BoxExamples, MinedPage, ResultGrid
from vsa.study.embedding.finished import FinishedJobs
from vsa.study.embedding.variants import registered, variants
from vsa.study.figures.grids import DrawnBox, image_grid, image_rows
from vsa.study.figures.style import GREY, PALETTE, STYLE, class_style, new_figure
from vsa.study.ledger.bootstrap import Interval

_LEARNED, _TRUE = PALETTE[1], PALETTE[5]
_DECISIONS = {
    "click kept": PALETTE[0],
    "click dropped": PALETTE[1],
    "removed: too near": PALETTE[1],
    "negative": PALETTE[0],
}


def mined_page_plot(page: MinedPage) -> Figure:
    """A query and the decisions of the filter; titles say too which images are identical."""
    titles = page.decisions
    if page.identical is not None:
        titles = [
            f"{decision}\n{'identical' if same else 'another product'}"
            for decision, same in zip(page.decisions, page.identical, strict=True)
        ]
    return image_grid(
        [page.query, *page.images],
        ["query", *titles],
        n_columns=6,
        frame_colours=[None, *(_DECISIONS[decision] for decision in page.decisions)],
        heading="What the filter makes of one shopper's clicks",
    )


@mpl.rc_context(STYLE)
def training_plot(finished: FinishedJobs, names: Sequence[str], title: str = "") -> Figure:
    """Share of triplet terms that still push, against steps; mean over seeds, smoothed.

    Registered losses are drawn beside the named variants, where they tell that share.
    """
    figure, axis = new_figure(8.2, 3.8)
    shown = dict.fromkeys((*names, *(variant.name for variant in registered())))
    for i, name in enumerate(n for n in shown if n in finished):
        curves = [job.curve for job in finished.jobs[name].values()]
        if all(curve.active_share.isna().all() for curve in curves):
            continue
        active = pd.Series(np.mean([curve.active_share.to_numpy() for curve in curves], axis=0))
        smooth, style = _smoothed(active, curves[0], 10), class_style(i)
        every = max(1, len(smooth) // 8)
        axis.plot(curves[0]["at"], smooth, label=name, markevery=every, markersize=6, **style)
    axis.set(xlabel="step", ylabel="share of terms above zero", ylim=(0, None), title=title)
    figure.legend(loc="outside right upper", fontsize=9)
    return figure


@mpl.rc_context(STYLE)
def box_training_plot(finished: FinishedJobs, names: Sequence[str], title: str = "") -> Figure:
    """Mean side and spread of the centres of the boxes against steps, of the first seed."""
    figure, axes = new_figure(8.6, 3.6, 1, 2)
    panels = {
        "mean_side": "mean side (share of the image)",
        "centre_spread": "spread of centres (share of the image)",
    }
    for i, name in enumerate(n for n in names if n in finished):
        curve = next(iter(finished.jobs[name].values())).curve
        for axis, column in zip(axes, panels, strict=True):
            smooth, style = _smoothed(curve[column], curve, 5), class_style(i)
            every = max(1, len(smooth) // 8)
            axis.plot(curve["at"], smooth, label=name, markevery=every, markersize=6, **style)
            if len(variants()[name].stages) > 1:
                for start in curve["at"][curve.stage != curve.stage.shift()].iloc[1:]:
                    axis.axvline(start, color=GREY, linestyle=":", linewidth=1)
    for axis, label in zip(axes, panels.values(), strict=True):
        axis.set(xlabel="step", ylabel=label, ylim=(0, None))
    axes[0].set_title(title)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


@mpl.rc_context(STYLE)
def adaptation_plot(finished: FinishedJobs, title: str = "") -> Figure:
    """MAP on validation photos against steps of the adaptation; a line per seed, the kept ringed.

    Where nothing was adapted it says so.
    """
    figure, axis = new_figure(7.0, 3.6)
    axis.set(xlabel="step", ylabel="mAP, validation photos", title=title)
    if ADAPTED not in finished:
        text = "The pretrained weights were not to be had: nothing was adapted."
        axis.text(0.5, 0.5, text, ha="center", transform=axis.transAxes)
        return figure
    for i, (seed, job) in enumerate(finished.jobs[ADAPTED].items()):
        card, style = job.card, class_style(i)
        curve = pd.DataFrame(card["curve"])
        starts = curve[curve.step == 0].drop_duplicates("power")
        learned = curve[curve.power == card["power"]].sort_values("step")
        axis.plot(starts.step, starts.score, linestyle="none", **style)
        chosen = learned[learned.clicks == card["clicks"]]
        for clicks, line in learned.groupby("clicks", sort=False):
            look = style if clicks == card["clicks"] else style | {"alpha": 0.4}
            axis.plot(line.step, line.score, label=f"seed {seed}, {clicks} clicks", **look)
        kept = chosen[chosen.step == card["kept_step"]].iloc[0]
        ring = {"marker": "o", "markersize": 16, "fillstyle": "none", "color": style["color"]}
        axis.plot(kept.step, kept.score, linestyle="none", **ring)
        for start in starts.itertuples():
            label = f"power {start.power:g}"
            at = (start.step, start.score)
            axis.annotate(label, at, (9, -10), textcoords="offset points", fontsize=9)
    axis.margins(y=0.15)
    axis.legend(loc="lower right")
    return figure


def _smoothed(values: pd.Series, curve: pd.DataFrame, n_steps: int) -> pd.Series:
    """Mean over about so many steps of what a curve shows, of which each point may be several."""
    steps_per_point = max(1.0, (curve["at"].iloc[-1] + 1) / len(curve))
    return values.rolling(max(1, round(n_steps / steps_per_point)), min_periods=1).mean()


@mpl.rc_context(STYLE)
def box_plot(examples: BoxExamples, n_columns: int = 6) -> Figure:
    """Queries with the learned box (solid) and the true one (dashed)."""
    heading = "Learned boxes, solid" + ("; true ones, dashed" if examples.true is not None else "")
    boxes = [[DrawnBox(box, _LEARNED)] for box in examples.learned]
    if examples.true is not None:
        for drawn, true in zip(boxes, examples.true, strict=True):
            drawn.append(DrawnBox(true, _TRUE, "--"))
    images = list(examples.images)
    return image_grid(images, examples.titles, n_columns, boxes=boxes, heading=heading)


def result_plot(grid: ResultGrid, title: str = "") -> Figure:
    """A row of results per variant, best first; identical items are framed."""
    framed = {
        (row, column)
        for row, identical in enumerate(grid.identical.values())
        for column in (1 + np.flatnonzero(identical)).tolist()
    }
    rows = [(name, [grid.query, *images]) for name, images in grid.results.items()]
    return image_rows(rows, {0: "query", 1: "results, best first"}, framed, heading=title)


@mpl.rc_context(STYLE)
def occlusion_plot(
    images: np.ndarray, maps: dict[str, list[np.ndarray]], title: str = ""
) -> Figure:
    """Photos, and beneath each how far the feature moves when a place is covered.

    Parameters
    ----------
    images : uint8 (n, S, S, 3).
    maps : name of a network → n maps as of `pictures.occlusion_map`, each on a scale of its own.
    title : what to see.
    """
    n, size = len(images), images.shape[1]
    n_rows = 1 + len(maps)
    figure, axes = new_figure(1.5 * n + 2, 1.75 * n_rows + 0.3, n_rows, n, squeeze=False)
    colours = ScalarMappable(Normalize(0, 1), "inferno")
    for axis, image in zip(axes.flat, [*images] * n_rows, strict=True):
        axis.imshow(image)
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
        axis.spines[:].set_visible(False)
    for row, (name, found) in enumerate(maps.items(), start=1):
        for axis, strength in zip(axes[row], found, strict=True):
            axis.imshow(
                strength / max(float(strength.max()), 1e-9),
                cmap=colours.cmap,
                norm=colours.norm,
                alpha=0.75,
                extent=(-0.5, size - 0.5, size - 0.5, -0.5),
            )
        axes[row, 0].set_title(name, fontsize=10, loc="left")
    axes[0, 0].set_title("photo", fontsize=10, loc="left")
    figure.colorbar(colours, ax=axes, label="effect of covering, of the map's largest", shrink=0.7)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


@mpl.rc_context(STYLE)
def stray_clicks_plot(
    recall: Mapping[str, Mapping[float, Interval]],
    precision: Mapping[str, Mapping[float, float]],
    label: str,
    title: str = "",
    here: Sequence[float] = (),
) -> Figure:
    """What is found after learning from more and more stray clicks, and how many are right.

    `recall` and `precision` hold, by kind of clicks, a value for each rate of stray ones. Without
    any it says so. `here` is the rate of the shop as it is.
    """
    figure, (above, below) = new_figure(6.8, 5.6, 2, 1, sharex=True, height_ratios=[3, 2])
    above.set(ylabel=label, title=title)
    below.set(xlabel="rate of stray clicks", ylabel="click precision")
    if not any(recall.values()):
        text = "The clicks of this log cannot be simulated, or weights were not to be had."
        above.text(0.5, 0.5, text, ha="center", transform=above.transAxes)
        return figure
    for i, (kind, curve) in enumerate(recall.items()):
        rates, style = list(curve), class_style(i)
        above.plot(rates, [at.value for at in curve.values()], label=kind, markersize=7, **style)
        low, high = ([getattr(at, end) for at in curve.values()] for end in ("low", "high"))
        above.fill_between(rates, low, high, color=style["color"], alpha=0.15, linewidth=0)
        shares = precision[kind]
        below.plot(list(shares), list(shares.values()), label=kind, markersize=7, **style)
    for rate in here:
        for axis in (above, below):
            axis.axvline(rate, color=GREY, linestyle="--", linewidth=1, label="this shop")
    below.set_ylim(None, 1.02)
    above.legend()
    return figure
