"""Figures of notebook 08, each with its words."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from vsa.index.build import n_lists_for
from vsa.study.figures.style import (
    GREY,
    PALETTE,
    HouseFigure,
    class_style,
    new_figure,
    plain_log_numbers,
    worded,
)
from vsa.study.scale.cost import Costs, Demand, Machine
from vsa.study.scale.load import FAILED, JUDGED_S, PARTIAL, WRONG, Disturbed, Rolled, as_timeline
from vsa.study.scale.results import SIZES, modelled

_BIN_S = 0.5
_AFTER_S = 30.0  # of a loss, at most, that are shown
_KINDS = {PARTIAL: PALETTE[4], FAILED: PALETTE[1], WRONG: PALETTE[6]}
_WORDS = {PARTIAL: "partial, and says so", FAILED: "no answer", WRONG: "wrong"}


def loss_figure(found: Disturbed, before_s: float) -> HouseFigure:
    """What clients got, and how late, by seconds since a node was killed; all losses together."""
    parts = []
    for number, loss in enumerate(found.losses):
        later = [other.at for other in found.losses[number + 1 :]]
        table = as_timeline(found.searches, loss.at)
        end = min([_AFTER_S, *(at - loss.at - before_s for at in later)])
        parts.append(table[(table.s >= -before_s) & (table.s < end)])
    figure, (above, below) = _time_panels(pd.concat(parts))
    for axis in (above, below):
        axis.axvspan(0, JUDGED_S, color=GREY, alpha=0.12, linewidth=0)
        for number, loss in enumerate(found.losses):
            if np.isfinite(loss.whole_s):
                label = "whole again" if not number else None
                axis.axvline(loss.whole_s, color=PALETTE[2], linestyle="--", label=label)
    above.legend(fontsize=8, loc="upper right")
    below.set_xlabel("seconds since a worker node was killed")
    above.set_title(f"A node is killed while clients ask ({len(found.losses)} in all)")
    return worded(
        figure,
        "node_loss",
        "Share of partial, absent and wrong answers, and latency, against the seconds since a "
        "worker node was killed.",
        "All losses on one clock, in steps of half a second. In the grey band errors are judged; "
        "dashed lines say when every replica and writer answered again.",
    )


def roll_figure(found: Rolled) -> HouseFigure:
    """The same while every shard gets a new base."""
    table = as_timeline(found.searches, found.start)
    figure, (above, below) = _time_panels(table)
    for axis in (above, below):
        axis.axvspan(0, found.end - found.start, color=PALETTE[5], alpha=0.2, linewidth=0)
    above.legend(fontsize=8, loc="upper right")
    below.set_xlabel("seconds since the first shard began a new base")
    above.set_title("All shards get a new base while clients ask")
    return worded(
        figure,
        "rolling_base",
        "Share of partial, absent and wrong answers, and latency, against the seconds since the "
        "roll of new bases began.",
        "In the blue band changes are folded into new bases, shard by shard, and replicas reopen.",
    )


def _time_panels(table: pd.DataFrame) -> tuple[Figure, tuple[Axes, Axes]]:
    """Above, what was not right, in steps of half a second; below, latency."""
    figure, (above, below) = new_figure(9, 5.2, 2, 1, sharex=True)
    step = (table.s // _BIN_S) * _BIN_S
    counts = pd.crosstab(step, table.kind)
    shares = counts.div(counts.sum(axis=1), axis=0)
    floor = np.zeros(len(shares))
    for kind, colour in _KINDS.items():
        share = shares[kind].to_numpy() if kind in shares else np.zeros(len(shares))
        place = shares.index + _BIN_S / 2
        above.bar(place, share, _BIN_S, bottom=floor, color=colour, label=_WORDS[kind])
        floor = floor + share
    above.set(ylabel="share of searches", ylim=(0, max(0.05, 1.15 * float(floor.max()))))
    answered = table[table.kind != FAILED]
    grouped = answered.ms.groupby((answered.s // _BIN_S) * _BIN_S)
    below.plot(answered.s, answered.ms, ".", color=GREY, markersize=2, alpha=0.5)
    for quantile, name, number in ((0.5, "median", 0), (0.95, "95th percentile", 1)):
        line = grouped.quantile(quantile)
        below.plot(line.index + _BIN_S / 2, line, color=PALETTE[number], label=name)
    below.set(yscale="log", ylabel="latency, ms (log scale)")
    plain_log_numbers(below.yaxis)
    below.legend(fontsize=8, loc="upper right")
    return figure, (above, below)


def cost_figure(costs: Costs) -> HouseFigure:
    """What was timed as points, the fitted costs as lines."""
    figure, (left, right) = new_figure(10, 4.2, 1, 2)
    for number, (probes, rows) in enumerate(costs.shards.groupby("probes")):
        style = class_style(number)
        left.plot(rows["items"], rows.ms, style["marker"], color=style["color"])
        sizes = np.geomspace(rows["items"].min(), rows["items"].max(), 50)
        fitted = [costs.shard.ms(n, n_lists_for(int(n)), probes) for n in sizes]
        left.plot(sizes, fitted, color=style["color"], label=f"{probes:.0f} lists visited")
    left.set(xscale="log", yscale="log", xlabel="items in the shard", ylabel="milliseconds")
    left.set_title("A search of one shard")
    for number, (n_shards, rows) in enumerate(costs.messages.groupby("shards")):
        style = class_style(number)
        right.plot(rows.bytes / 1e3, rows.ms, style["marker"], color=style["color"])
        fitted = [costs.router.ms(n_shards, n_bytes) for n_bytes in rows.bytes]
        label = f"{n_shards:.0f} asked at once"
        right.plot(rows.bytes / 1e3, fitted, color=style["color"], label=label)
    right.set(xlabel="kilobytes that each answers", ylabel="milliseconds", ylim=(0, None))
    right.set_title("Messages of Ray without any work")
    ticks = sorted(costs.shards["items"].unique())
    left.set_xticks(ticks, [f"{size:,.0f}" for size in ticks])
    left.xaxis.set_minor_formatter(NullFormatter())
    plain_log_numbers(left.yaxis)
    for axis in (left, right):
        axis.legend(fontsize=8)
    return worded(
        figure,
        "scale_costs",
        "Left: milliseconds of a shard's search against its items. Right: milliseconds until "
        "several processes have answered, against the bytes of an answer.",
        "Points are medians that were measured, lines the fitted costs: three numbers for shards, "
        "three for messages.",
    )


def model_figure(costs: Costs, machine: Machine, n_measured: int) -> HouseFigure:
    """Machines, memory and latency against items, from what was measured to 10¹⁰."""
    figure, axes = new_figure(11, 4.2, 1, 3)
    sizes = np.geomspace(min(SIZES[0] / 10, n_measured), SIZES[-1], 41)
    for number, (name, in_memory) in enumerate(
        (("features in memory", True), ("features on a disk", False))
    ):
        made = [modelled(costs, machine, n, in_memory=in_memory) for n in sizes]
        style = {"color": class_style(number)["color"], "label": name}
        axes[0].plot(sizes, [one.n_machines for one in made], **style)
        total = [one.memory_bytes * one.n_shards * one.n_replicas / 1e9 for one in made]
        axes[1].plot(sizes, total, **style)
        axes[2].plot(sizes, [one.latency_ms for one in made], **style)
        if in_memory:
            most = [
                modelled(costs, machine, n, in_memory=True, n_probe=_same_share(n, n_measured))
                for n in sizes
            ]
            low, high = ([one.latency_ms for one in some] for some in (made, most))
            axes[2].fill_between(
                sizes, low, high, alpha=0.2, linewidth=0, label="to the same share of lists"
            )
    for axis, title in zip(
        axes,
        ("machines", "gigabytes in memory, all machines", "latency of a query, ms"),
        strict=True,
    ):
        axis.axvspan(sizes[0], n_measured, color=GREY, alpha=0.15, linewidth=0)
        axis.set(xscale="log", yscale="log", xlabel="items", title=title)
        axis.legend(fontsize=8)
    plain_log_numbers(axes[0].yaxis)
    plain_log_numbers(axes[2].yaxis)
    figure.suptitle("A model, not a measurement: to the right of the grey band nothing was run")
    return worded(
        figure,
        "scale_model",
        "Machines, memory and latency that the cost model gives for a hundred thousand to ten "
        "billion items.",
        f"For {Demand(1).queries_per_s:,.0f} queries a second and machines of "
        f"{machine.memory_bytes / 1e9:.0f} GB and {machine.n_cores} cores, two replicas at least. "
        "The band: from as many visited lists at every size to the same share of all lists.",
    )


def _same_share(n_items: float, n_measured: int) -> float:
    """Lists to visit if their share of all lists is to be that of the largest measured index."""
    return Demand.n_probe * n_lists_for(int(n_items)) / n_lists_for(n_measured)
