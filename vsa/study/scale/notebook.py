"""What notebook 08 calls."""

from __future__ import annotations

from vsa.study.catalogue.prepare import open_shop
from vsa.study.scale.cost import Machine, RouterCost, ShardCost, fit, layout
from vsa.study.scale.experiment import started
from vsa.study.scale.measure import measure_messages, measure_shards
from vsa.study.scale.plots import cost_figure, loss_figure, model_figure, roll_figure
from vsa.study.scale.prepare import open_lab
from vsa.study.scale.results import (
    COSTS,
    EQUALITY,
    HELD,
    IN_MEMORY,
    LOSS,
    ON_DISK,
    ROLL,
    TIME,
    WHOLE,
    ScaleResults,
    not_shown,
)

__all__ = [
    "COSTS",
    "EQUALITY",
    "HELD",
    "IN_MEMORY",
    "LOSS",
    "ON_DISK",
    "ROLL",
    "TIME",
    "WHOLE",
    "Machine",
    "RouterCost",
    "ScaleResults",
    "ShardCost",
    "cost_figure",
    "fit",
    "layout",
    "loss_figure",
    "measure_messages",
    "measure_shards",
    "model_figure",
    "not_shown",
    "open_lab",
    "open_shop",
    "roll_figure",
    "started",
]
