"""Figures of notebook 02, each with its words, and the plots they are made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from vsa.category.predictor import CategoryPrediction, CategoryPredictor
from vsa.category.task import CategoryTask
from vsa.data.images import decode, load_image, load_images
from vsa.study.catalogue.prepare import Shop
from vsa.study.category.experiment import SeedResult
from vsa.study.category.results import (
    FUSION,
    MODEL,
    SEARCH,
    CategoryOutcome,
    accuracy_by_category,
    growth_curves,
)
from vsa.study.figures.plots import (
    confusion_plot,
    curve_plot,
    interval_plot,
    reliability_plot,
    thumbnail_scatter,
)
from vsa.study.figures.projection import tsne
from vsa.study.figures.style import (
    GREY,
    PALETTE,
    STYLE,
    HouseFigure,
    class_style,
    new_figure,
    worded,
)
from vsa.study.ledger.ledger import Ledger
from vsa.study.settings import CategorySettings

N_SHOWN = 10  # neighbours drawn


def training_figure(results: list[SeedResult], settings: CategorySettings) -> HouseFigure:
    """The loss of each seed."""
    return worded(
        training_plot([r.log for r in results], [r.seed for r in results], "Every seed converges?"),
        "category_training",
        "Training loss of the category classifier against steps, one line per seed.",
        f"Training loss of the classifier ({settings.architecture}), smoothed over ten steps.",
    )


def differences_figure(ledger: Ledger) -> HouseFigure:
    """What beats what."""
    differences = ledger.intervals("difference", "Accuracy@1 difference")
    return worded(
        interval_plot(differences, "difference in Accuracy@1", 0, "What beats what"),
        "category_differences",
        "Paired differences in Accuracy@1 between methods, with 95 % intervals.",
        "Paired differences in Accuracy@1; the bootstrap resamples products and seeds.",
    )


def categories_figure(task: CategoryTask, outcome: CategoryOutcome) -> HouseFigure:
    """Accuracy by category."""
    return worded(
        accuracy_by_category_plot(accuracy_by_category(task, outcome), "Where it is hard"),
        "accuracy_by_category",
        "Accuracy@1 of model, search and fusion for each category.",
        "Accuracy@1 by category, mean over seeds.",
    )


def confusion_model_figure(task: CategoryTask, outcome: CategoryOutcome) -> HouseFigure:
    """What the model alone mistakes for what."""
    return worded(
        confusion_plot(outcome.confusion(MODEL), task.categories, "Model alone"),
        "confusion_model",
        "Confusion matrix of the model by itself, all seeds.",
        "Confusion of the model by itself; rows are true categories, all seeds together.",
    )


def confusion_fusion_figure(task: CategoryTask, outcome: CategoryOutcome) -> HouseFigure:
    """What is mistaken for what after fusion."""
    return worded(
        confusion_plot(outcome.confusion(FUSION), task.categories, "After fusion"),
        "confusion_fusion",
        "Confusion matrix after fusion, all seeds.",
        "Confusion after fusion; rows are true categories, all seeds together.",
    )


def reliability_figure(outcome: CategoryOutcome) -> HouseFigure:
    """Accuracy against confidence."""
    return worded(
        reliability_plot(outcome.reliability(n_bins=10), "Confidence against accuracy"),
        "reliability",
        "Reliability diagram: accuracy against confidence for model, search and fusion.",
        "Accuracy of predictions by their confidence, and how often each confidence occurs.",
    )


def growth_figure(ledger: Ledger, outcome: CategoryOutcome) -> HouseFigure:
    """Accuracy while the reference set grows."""
    title = "Search begins to help where fusion leaves the model"
    sizes, curves = growth_curves(ledger, outcome)
    return worded(
        curve_plot(sizes, curves, "reference images", "Accuracy@1", log_x=True, title=title),
        "reference_growth",
        "Accuracy@1 of model, search and fusion as the reference set grows.",
        "Accuracy@1 as the reference set grows; bands are 95 % intervals.",
    )


def vote_figure(
    shop: Shop,
    task: CategoryTask,
    outcome: CategoryOutcome,
    predictor: CategoryPredictor,
    *,
    repaired: bool,
) -> HouseFigure:
    """The test photo that the vote corrects most, or else the one that it misleads most."""
    query = task.test.iloc[telling_query(outcome, repaired=repaired)]
    title = "The vote repairs" if repaired else "The vote misleads"
    root = shop.dataset.root
    figure = photo_plot(root, query, predict_photo(predictor, root / query.path), title)
    if repaired:
        return worded(
            figure,
            "vote_repairs",
            "A query that the neighbours' vote corrects, with ten neighbours and three "
            "distributions.",
            "The query whose true category gains most from the vote.",
        )
    return worded(
        figure,
        "vote_misleads",
        "A query that the neighbours' vote misleads, with ten neighbours and three distributions.",
        "The query whose true category loses most by the vote.",
    )


def tsne_figure(
    shop: Shop, task: CategoryTask, results: list[SeedResult], outcome: CategoryOutcome, seed: int
) -> HouseFigure:
    """The classifier's features in the plane, first training seed."""
    points, rows = tsne(results[0].features["test"], seed)
    shown = load_images(shop.dataset.root, task.test.path.iloc[rows].tolist(), 48)
    title = "Queries group by category where the classifier is sure"
    labels = outcome.labels[rows]
    return worded(
        thumbnail_scatter(points, shown, labels, task.categories, title=title),
        "category_tsne",
        "t-SNE of category features of test queries, coloured by category.",
        "t-SNE of the classifier's features of test queries, first seed.",
    )


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


def predict_photo(predictor: CategoryPredictor, path: Path) -> CategoryPrediction:
    """What the category stage says of an image file."""
    return predictor.predict(load_image(path, predictor.store_px))


def photo_plot(root: Path, photo: pd.Series, prediction: CategoryPrediction, title: str) -> Figure:
    """A photo of the data set in that folder, its neighbours, and what the stage says of it."""
    neighbours = load_images(root, prediction.neighbours.path[:N_SHOWN].tolist(), 96)
    shown = decode(root / photo.path, min_px=200)
    return prediction_plot(shown, prediction, neighbours, photo.category, title)


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
