"""Pictures of category prediction."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from vsa.category.predictor import CategoryPrediction
from vsa.study.category.results import FUSION, MODEL, SEARCH, CategoryOutcome
from vsa.study.figures.style import GREY, PALETTE, STYLE, class_style, new_figure

N_SHOWN = 10  # neighbours drawn


def telling_query(outcome: CategoryOutcome, *, repaired: bool) -> int:
    """The test row of the first seed where fusion changes most: a repair, or a spoiled answer.

    Where no answer changes in the wanted direction, the row whose true category gains (loses)
    most probability.
    """
    rows = np.arange(len(outcome.labels))
    model, fused = outcome.probabilities[MODEL][0], outcome.probabilities[FUSION][0]
    gain = fused[rows, outcome.labels] - model[rows, outcome.labels]
    right_before, right_after = (p.argmax(axis=1) == outcome.labels for p in (model, fused))
    sign = 1 if repaired else -1
    changed = (sign * (right_after.astype(int) - right_before.astype(int))) > 0
    return int(np.argmax(sign * gain + 2 * changed))


@mpl.rc_context(STYLE)
def prediction_plot(
    photo: Image.Image | np.ndarray,
    prediction: CategoryPrediction,
    neighbour_images: np.ndarray,
    true_category: str | None,
    title: str = "",
) -> Figure:
    """A query, its ten nearest references with their votes, and the three distributions.

    Parameters
    ----------
    photo : the query, of any size.
    prediction : what the category stage says of the photo.
    neighbour_images : uint8 (m, s, s, 3) with m ≥ 10, nearest first.
    true_category : framed in green among neighbours and printed; None where unknown.
    title : what to see.
    """
    figure, _ = new_figure(11, 3.9)
    figure.clf()
    outer = figure.add_gridspec(1, 3, width_ratios=[1.7, 3.6, 2.2])
    axis = figure.add_subplot(outer[0])
    axis.imshow(np.asarray(photo))
    axis.set_title(f"query\n{true_category or 'category unknown'}", loc="center")
    _bare(axis)
    inner = outer[1].subgridspec(2, N_SHOWN // 2)
    for slot, neighbour in enumerate(prediction.neighbours.head(N_SHOWN).itertuples()):
        axis = figure.add_subplot(inner[slot // 5, slot % 5])
        axis.imshow(neighbour_images[slot])
        axis.set_title(f"{neighbour.category}\n{neighbour.weight:.1%}", loc="center", fontsize=9)
        _bare(axis)
        agrees = neighbour.category == true_category
        colour = PALETTE[2] if agrees else PALETTE[1]
        axis.spines[:].set(
            visible=true_category is not None,
            color=colour,
            linewidth=3,
            linestyle="-" if agrees else ":",
        )
    _draw_distributions(figure.add_subplot(outer[2]), prediction, true_category)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def _draw_distributions(
    axis: mpl.axes.Axes, prediction: CategoryPrediction, true_category: str | None
) -> None:
    methods = {MODEL: prediction.model, SEARCH: prediction.search, FUSION: prediction.fused}
    shown = np.argsort(-np.maximum.reduce(list(methods.values())))[:5]
    for slot, (name, probabilities) in enumerate(methods.items()):
        places = np.arange(len(shown)) + 0.27 * (slot - 1)
        axis.barh(places, probabilities[shown], 0.25, label=name, color=PALETTE[slot])
    names = [prediction.categories[code] for code in shown]
    axis.set_yticks(
        range(len(shown)), [f"{name} (true)" if name == true_category else name for name in names]
    )
    axis.invert_yaxis()
    axis.set(xlabel="probability", xlim=(0, 1))
    axis.grid(False, axis="y")
    axis.legend(loc="upper center", bbox_to_anchor=(0.35, -0.18), ncols=3, fontsize=9)


@mpl.rc_context(STYLE)
def accuracy_by_category_plot(table: pd.DataFrame, title: str = "") -> Figure:
    """One row per category, one mark per method; `table` as of `judge.accuracy_by_category`."""
    ordered = table.sort_values(FUSION, ascending=False)
    figure, axis = new_figure(7.2, 1.4 + 0.27 * len(ordered))
    rows = np.arange(len(ordered))
    axis.hlines(rows, ordered.min(axis=1), ordered.max(axis=1), color=GREY, linewidth=1)
    for i, method in enumerate((MODEL, SEARCH, FUSION)):
        axis.plot(ordered[method], rows, markersize=7, label=method, ls="", **class_style(i))
    axis.set_yticks(rows, ordered.index)
    axis.set(xlabel="Accuracy@1", xlim=(-0.02, 1.02), ylim=(len(rows) - 0.4, -0.6), title=title)
    figure.legend(loc="outside upper right", ncols=3)
    return figure


@mpl.rc_context(STYLE)
def training_plot(logs: Sequence[pd.DataFrame], seeds: Sequence[int], title: str = "") -> Figure:
    """Loss of each seed against steps, smoothed over ten steps; logs as of `train_classifier`."""
    figure, axis = new_figure(6.4, 3.4)
    for i, (log, seed) in enumerate(zip(logs, seeds, strict=True)):
        smooth = log.loss.rolling(10, min_periods=1).mean()
        axis.plot(log.step, smooth, color=PALETTE[i % len(PALETTE)], label=f"seed {seed}")
    axis.set(xlabel="step", ylabel="training loss (nats)", title=title)
    axis.legend()
    return figure


def _bare(axis: mpl.axes.Axes) -> None:
    axis.set(xticks=[], yticks=[])
    axis.grid(False)
    axis.spines[:].set_visible(False)
