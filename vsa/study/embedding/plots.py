"""Figures of notebook 03, each with its words; `drawing` has the plots they are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from vsa.embedding.extract import describe
from vsa.embedding.joint import JointNet
from vsa.study.embedding.drawing import (
    adaptation_plot,
    box_plot,
    box_training_plot,
    mined_page_plot,
    occlusion_plot,
    result_plot,
    stray_clicks_plot,
    training_plot,
)
from vsa.study.embedding.examples import (
    DomainSample,
    box_examples,
    category_net,
    mined_page,
    occlusion_maps,
    result_grid,
)
from vsa.study.embedding.experiment import EmbeddingLab
from vsa.study.embedding.finished import FinishedJobs
from vsa.study.embedding.lengths import LEARNING_CURVE
from vsa.study.embedding.linear_results import sweep_curves, where_it_stands
from vsa.study.embedding.looks import WAYS
from vsa.study.embedding.regimes import SESSIONS, SHARE
from vsa.study.embedding.results import RECALL, click_precision
from vsa.study.embedding.variants import (
    CATEGORY,
    CATEGORY_TRIPLETS,
    CLICKS,
    FILTER,
    JOINT,
    ORACLE,
    PER_QUERY,
    PLAIN_JOINT,
    SHARED,
)
from vsa.study.figures.plots import Panel, interval_plot, regime_plot, thumbnail_scatter
from vsa.study.figures.projection import tsne
from vsa.study.figures.style import HouseFigure, worded
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.regimes import PAPER, STRAY, curves, regime

_SHOWN = (CATEGORY, CLICKS, FILTER, PER_QUERY, JOINT, ORACLE)


def mined_page_figure(lab: EmbeddingLab) -> HouseFigure:
    """What the filter decides about one training query."""
    return worded(
        mined_page_plot(mined_page(lab)),
        "mined_page",
        "A training query, its clicked images kept or dropped, and images not clicked, removed or "
        "used.",
        "What the filter decides about one training query. The second line of a title says what "
        "is known, but not to the filter.",
    )


def training_figure(finished: FinishedJobs) -> HouseFigure:
    """How much is left to learn."""
    names = (CATEGORY_TRIPLETS, CLICKS, FILTER, SHARED, PER_QUERY, ORACLE)
    return worded(
        training_plot(finished, names, "How much is left to learn"),
        "embedding_training",
        "Share of triplet terms that are above zero, against training steps, one line per variant.",
        "Share of triplet terms that still push, mean over seeds, smoothed over ten steps.",
    )


def recall_figure(ledger: Ledger) -> HouseFigure:
    """Identical Recall@1 of every variant."""
    recall, title = ledger.intervals("features", RECALL), "Which features find the product first?"
    return worded(
        interval_plot(recall, RECALL, title=title),
        "embedding_recall",
        "Identical Recall@1 of every variant with 95 % intervals.",
        f"Identical Recall@1 over the whole catalogue. {click_precision(ledger)}".strip(),
    )


def differences_figure(ledger: Ledger) -> HouseFigure:
    """What each idea adds."""
    differences = ledger.intervals("difference", f"{RECALL} difference")
    return worded(
        interval_plot(differences, f"difference in {RECALL}", 0, "What each idea adds"),
        "embedding_differences",
        "Paired differences in Identical Recall@1 between variants, with 95 % intervals.",
        "Paired differences in Identical Recall@1; the bootstrap resamples products and seeds. "
        f"{click_precision(ledger)}".strip(),
    )


def better_figure(finished: FinishedJobs) -> HouseFigure:
    """The query where clicks help most."""
    grid = result_grid(finished, _SHOWN, better=PER_QUERY, worse=CATEGORY)
    return worded(
        result_plot(grid, "Where clicks help"),
        "results_better",
        "One query and its first ten results by each variant; the query where clicks help most.",
        "The test query whose first identical item rises most over the category network's.",
    )


def worse_figure(finished: FinishedJobs) -> HouseFigure:
    """The query where clicks hurt most."""
    grid = result_grid(finished, _SHOWN, better=CATEGORY, worse=PER_QUERY)
    return worded(
        result_plot(grid, "Where clicks hurt"),
        "results_worse",
        "One query and its first ten results by each variant; the query where clicks hurt most.",
        "The test query whose first identical item falls most below the category network's.",
    )


def before_figure(plane: Plane) -> HouseFigure:
    """Photos and catalogue pictures, as the category network sees them."""
    return worded(
        _domains_plot(plane, "Before: photos and catalogue pictures"),
        "tsne_before",
        "t-SNE of the category network's features; photos and catalogue pictures by colour.",
        "Before click-mined training: photos and catalogue pictures of the same products.",
    )


def after_figure(plane: Plane) -> HouseFigure:
    """The same pictures, by features learned from clicks."""
    return worded(
        _domains_plot(plane, "After: photos and catalogue pictures"),
        "tsne_after",
        "t-SNE of click-mined features; photos and catalogue pictures by colour.",
        "After click-mined training: the same pictures.",
    )


def after_categories_figure(plane: Plane, names: Sequence[str]) -> HouseFigure:
    """As `after_figure`, coloured by category."""
    sample, rows = plane.sample, plane.rows
    labels, title = sample.category[rows], "After: by category"
    return worded(
        thumbnail_scatter(plane.points, sample.images[rows], labels, names, title=title),
        "tsne_after_categories",
        "t-SNE of click-mined features, coloured by category.",
        "After click-mined training, by category: the same points as above.",
    )


def box_training_figure(finished: FinishedJobs) -> HouseFigure:
    """Boxes while they are learned."""
    return worded(
        box_training_plot(finished, (JOINT, PLAIN_JOINT), "Boxes while they are learned"),
        "box_training",
        "Mean side and spread of centres of learned boxes against training steps.",
        "Boxes of the training batches; dotted lines part the stages.",
    )


def boxes_figure(finished: FinishedJobs, seed: int) -> HouseFigure:
    """The best, typical and worst learned boxes."""
    return worded(
        box_plot(box_examples(finished, seed)),
        "learned_boxes",
        "Test photos with learned boxes, solid, and true boxes, dashed: best, typical and worst.",
        "Learned boxes (orange, solid) and, where known, true ones (blue, dashed).",
    )


def occlusion_figure(finished: FinishedJobs, lab: EmbeddingLab, seed: int) -> HouseFigure:
    """What the features look at, before and after learning from clicks."""
    photos = box_examples(finished, seed, n_each=2).images
    maps = {
        "category": occlusion_maps(category_net(lab), photos, lab.device),
        "clicks": occlusion_maps(lab.net(PER_QUERY), photos, lab.device),
    }
    return worded(
        occlusion_plot(photos, maps, "What features look at"),
        "occlusion",
        "Photos, and maps of how far the feature moves when a place is covered.",
        "1 − cosine between the features of the whole and of the covered photo; each map has its "
        "own scale.",
    )


def looks_figure(ledger: Ledger) -> HouseFigure:
    """MAP of who looks, by how they look."""
    precision = ledger.intervals(WAYS, "mAP")
    return worded(
        interval_plot(precision, "mAP", title="Who finds the product, by looking how?"),
        "ways_of_looking",
        "Mean average precision of three networks, by whole photo, mask, learned and true crop.",
        "mAP over the whole catalogue, test photos, with 95 % intervals. Learned boxes are those "
        "of the joint network.",
    )


def lengths_figure(ledger: Ledger) -> HouseFigure:
    """What validation photos find after training for so long."""
    curve = ledger.intervals(LEARNING_CURVE, RECALL)
    return worded(
        interval_plot(curve, f"{RECALL}, validation photos", title="How long to train"),
        "embedding_lengths",
        "Identical Recall@1 on validation photos after several numbers of steps, with intervals.",
        "The paper's loss on filtered clicks, each length with a schedule of its own.",
    )


def adaptation_figure(finished: FinishedJobs) -> HouseFigure:
    """What validation photos said while the linear map learned."""
    return worded(
        adaptation_plot(finished, "Validation photos choose where to start, and to stop"),
        "adaptation",
        "mAP on validation photos against steps of the linear adaptation, one line per seed.",
        "mAP on validation photos, mean of whole photos and learned crops. At step 0: principal "
        "components by their power; the ring marks what was kept.",
    )


def stray_clicks_figure(ledger: Ledger) -> HouseFigure:
    """From how much noise on the filter pays."""
    title = "From how much noise on does the filter pay?"
    return worded(
        stray_clicks_plot(*sweep_curves(ledger, "mAP"), "mAP", title, where_it_stands(ledger)),
        "stray_clicks",
        "mAP after learning from raw and from filtered clicks, and the share of clicks that are "
        "right, against the rate of stray clicks.",
        "Above: mAP on test photos of a linear map learned from raw and from filtered clicks, with "
        "95 % intervals. Below: the share of these clicks that show the identical item. "
        f"{PAPER[STRAY]}",
    )


def sessions_figure(ledger: Ledger) -> HouseFigure | None:
    """What a longer log is worth; None where no study has asked."""
    return _regime_figure(
        ledger,
        SESSIONS,
        "regime_sessions",
        "How much log does click mining need?",
        "mAP on test photos of a linear map of plain features, learned from logs of so many page "
        "views of each photo, always with as many steps; dotted is where every map starts. Each "
        "training seed has a log of its own.",
    )


def share_figure(ledger: Ledger) -> HouseFigure | None:
    """Where masks and crops pay; None where no study has asked."""
    return _regime_figure(
        ledger,
        SHARE,
        "regime_share",
        "Where do masks and crops pay?",
        "mAP on the test photos, drawn once more with an object whose box is meant to cover that "
        "share; of slender things it covers less. Networks learned from photos as they are: 90 % "
        "of these lie within the shaded span. Each seed is another drawing.",
    )


def _regime_figure(
    ledger: Ledger, axis: str, name: str, title: str, caption: str
) -> HouseFigure | None:
    found = curves(ledger.intervals(regime(axis), "mAP"))
    if not found:
        return None
    return worded(
        regime_plot({axis: Panel(found, ledger.standing(regime(axis)))}, axis, "mAP", title),
        name,
        f"mAP against {axis}, one line with its 95 % band per way of learning or of looking.",
        f"{caption} {PAPER[axis]}",
    )


@dataclass(frozen=True)
class Plane:
    """Photos and catalogue pictures, laid out by t-SNE of their features."""

    sample: DomainSample
    points: np.ndarray  # float32 (m, 2)
    rows: np.ndarray  # int64 (m,), of the sample


def plane_of(net: JointNet, sample: DomainSample, lab: EmbeddingLab, seed: int) -> Plane:
    """The sample as that network sees it."""
    return Plane(sample, *tsne(describe(net, sample.images, lab.device).features, seed))


def _domains_plot(plane: Plane, title: str) -> Figure:
    sample, rows = plane.sample, plane.rows
    images, labels = sample.images[rows], sample.domain[rows]
    return thumbnail_scatter(plane.points, images, labels, ("catalogue", "photo"), title=title)
