"""Figures of notebook 07, each with its words."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from vsa.study.embedding.drawing import result_plot
from vsa.study.embedding.examples import ResultGrid
from vsa.study.figures.grids import DrawnBox, image_rows
from vsa.study.figures.plots import curve_plot, interval_plot
from vsa.study.figures.style import (
    GREY,
    PALETTE,
    STYLE,
    HouseFigure,
    class_style,
    new_figure,
    plain_log_numbers,
    worded,
)
from vsa.study.ledger.ledger import Ledger
from vsa.study.lineage.experiment import Row
from vsa.study.lineage.factors import SHARES, label_curves
from vsa.study.lineage.lab import LineageLab
from vsa.study.lineage.methods import EFFORTS, METHODS
from vsa.study.lineage.results import BOXES, PLAIN, SEARCH

_N_SHOWN = 8  # results, and methods, on the page of pictures
_N_PHOTOS = 6
_BESIDE = ((5, -13), (-12, 6), (-12, -13), (5, 6))  # points from a mark to its number


def map_figure(ledger: Ledger) -> HouseFigure:
    """MAP of every row, the best on top."""
    known = ledger.intervals(SEARCH, "mAP")
    ordered = {name: known[name] for name in sorted(known, key=lambda n: -known[n].value)}
    return worded(
        interval_plot(ordered, "mAP, test photos", title="Which of these works is enough?"),
        "lineage_map",
        "Mean average precision of every method on test photos with 95 % intervals, best first.",
        "mAP over the whole catalogue, with 95 % intervals over products and, where something was "
        "trained, seeds. Settings were chosen on validation photos.",
    )


def boxes_figure(ledger: Ledger) -> HouseFigure | None:
    """IoU of every row that locates; None where true boxes are not known."""
    known = ledger.intervals(BOXES, "mean IoU")
    if not known:
        return None
    ordered = {name: known[name] for name in sorted(known, key=lambda n: -known[n].value)}
    return worded(
        interval_plot(ordered, "mean IoU with the true box", title="Who finds the object?"),
        "lineage_boxes",
        "Mean intersection over union of every method that finds boxes, with 95 % intervals.",
        "Boxes of test photos against the true ones. Faster R-CNN and SSD learned from box labels; "
        "all others never saw one.",
    )


def pareto_figure(ledger: Ledger) -> HouseFigure:
    """MAP against what is kept of a picture, and against the time of a photo."""
    return worded(
        _pareto_plot(ledger),
        "lineage_pareto",
        "mAP of every method against bytes per picture and against milliseconds per photo, "
        "logarithmic, with a line through those that no other beats in both.",
        "Each point is a method; colour and marker say what it takes. The line joins those that "
        "nothing else beats in both, and their numbers name them. Bytes are those kept of a "
        "catalogue picture; milliseconds go from a decoded photo to its page, on one thread: the "
        "ratio to the plain feature, asked in turn, times that one's milliseconds.",
    )


def front(costs: Sequence[float], values: Sequence[float]) -> list[int]:
    """Places of the Pareto front, by rising cost: what nothing beats in cost and value at once."""
    found: list[int] = []
    for place in sorted(range(len(costs)), key=lambda i: (costs[i], -values[i])):
        if not found or values[place] > values[found[-1]]:
            found.append(place)
    return found


@mpl.rc_context(STYLE)
def _pareto_plot(ledger: Ledger) -> Figure:
    table = ledger.table(SEARCH)
    if PLAIN in table.index:  # a busy machine slows both sides of the ratio, so that it holds
        table["latency"] = table["time over off the shelf"] * table.loc[PLAIN, "latency"]
    figure, axes = new_figure(9.6, 8.4, 2, 1)
    sides = {"bytes per picture": "bytes per picture", "latency": "milliseconds per photo"}
    for axis, (column, label) in zip(axes, sides.items(), strict=True):
        rows = table.dropna(subset=[column])
        names, costs, values = list(rows.index), rows[column].tolist(), rows["mAP"].tolist()
        efforts = [METHODS[name].effort for name in names]
        for effort in sorted(set(efforts)):
            mine = [i for i, other in enumerate(efforts) if other == effort]
            style = class_style(effort)
            x, y = [costs[i] for i in mine], [values[i] for i in mine]
            axis.plot(x, y, linestyle="none", label=EFFORTS[effort], markersize=7, **style)
        best = front(costs, values)
        x, y = [costs[i] for i in best], [values[i] for i in best]
        axis.plot(x, y, color=GREY, linewidth=1, zorder=0)
        for number, at in enumerate(zip(x, y, strict=True), start=1):
            beside = _BESIDE[number % len(_BESIDE)]  # neighbours may be very near
            axis.annotate(str(number), at, beside, textcoords="offset points", fontsize=9)
        listed = "\n".join(f"{n}  {names[place]}" for n, place in enumerate(best, start=1))
        where = axis.transAxes
        axis.text(1.02, 1, listed, va="top", fontsize=9, linespacing=1.5, transform=where)
        axis.set_xscale("log")
        plain_log_numbers(axis.xaxis)
        axis.margins(x=0.08, y=0.12)
        axis.set(xlabel=label, ylabel="mAP, test photos")
    axes[0].set_title("What a method costs, and what it finds")
    handles = axes[1].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3, fontsize=9)
    return figure


def labels_figure(ledger: Ledger) -> HouseFigure | None:
    """Accuracy by the share of labels, pretrained and from scratch; None where not measured."""
    curves = label_curves(ledger)
    if not curves:
        return None
    title = "What pretraining saves in labels"
    return worded(
        curve_plot(SHARES, curves, "share of the labels", "Accuracy@1", True, title),
        "lineage_labels",
        "Accuracy of categories against the share of labels, with ImageNet weights and from "
        "scratch, with 95 % bands.",
        "Categories of test photos: a softmax on a pretrained feature, and a small network from "
        "random weights.",
    )


def page_figure(lab: LineageLab, rows: Sequence[Row]) -> HouseFigure | None:
    """One photo, and what some methods find first; None where none ranks."""
    chosen = page_rows(lab, rows)
    if not chosen:
        return None
    return worded(
        result_plot(_page(lab, chosen), "One photo, asked of the best of each kind"),
        "lineage_page",
        "A test photo and its first results by the best method of each kind of effort.",
        "The test photo on which these methods differ most: the best on validation photos of each "
        "kind of effort, and their first results.",
    )


def page_rows(lab: LineageLab, rows: Sequence[Row]) -> list[Row]:
    """The best row on validation photos of each effort, from the simplest on."""
    best: dict[int, tuple[float, Row]] = {}
    for row in rows:
        if row.test is not None and row.val is not None:
            score = float(lab.task.precision(row.val, "val").mean())
            effort = METHODS[row.name].effort
            if effort not in best or score > best[effort][0]:
                best[effort] = (score, row)
    return [best[effort][1] for effort in sorted(best)]


def _page(lab: LineageLab, rows: Sequence[Row]) -> ResultGrid:
    found = {row.name: row.test[0] for row in rows if row.test is not None}
    precision = np.stack([lab.task.precision(ranks, "test") for ranks in found.values()])
    photo = int(precision.std(axis=0).argmax())
    wanted, offered = lab.task.products
    product = wanted[lab.task.rows("test")[photo]]
    shown = {name: ranks[photo][ranks[photo] >= 0][:_N_SHOWN] for name, ranks in found.items()}
    return ResultGrid(
        np.array(lab.photos["test"].squares[photo]),
        {name: np.array(lab.catalogue.squares[ranks]) for name, ranks in shown.items()},
        {name: offered[ranks] == product for name, ranks in shown.items()},
    )


def found_boxes_figure(lab: LineageLab, rows: Sequence[Row]) -> HouseFigure | None:
    """Some photos, and each method's box of them; None where no boxes were judged."""
    located = [row for row in rows if row.boxes is not None]
    everywhere = [row for row in located if len(row.located) == len(lab.photos["test"])]
    if not everywhere:
        return None
    n = len(lab.photos["test"])
    photos = np.unique(np.linspace(0, n - 1, _N_PHOTOS).round().astype(int))
    true = lab.task.boxes[lab.task.rows("test")]
    squares = [np.array(lab.photos["test"].squares[photo]) for photo in photos]
    drawn = {
        (place, column): [
            DrawnBox(true[photo], PALETTE[5], "--"),
            DrawnBox(row.boxes[0, photo], PALETTE[1]),
        ]
        for place, row in enumerate(everywhere)
        if row.boxes is not None
        for column, photo in enumerate(photos)
    }
    lines = [(textwrap.fill(row.name, 24), squares) for row in everywhere]
    return worded(
        image_rows(lines, {}, boxes=drawn, heading="Whose box is whose?"),
        "lineage_found_boxes",
        "The same test photos in every row, with one method's boxes, solid, and true ones, dashed.",
        "The same photos, spread over the test photos, with each method's box (orange, solid) and "
        "the true one (blue, dashed).",
    )
