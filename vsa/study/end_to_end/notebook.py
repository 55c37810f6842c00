"""What notebook 06 calls."""

from __future__ import annotations

from vsa.study.catalogue.prepare import open_shop
from vsa.study.end_to_end.experiment import WHOLE
from vsa.study.end_to_end.looks import ask_looks, record_looks
from vsa.study.end_to_end.plots import ablation_plot, failure_plot, funnel_plot, waterfall_plot
from vsa.study.end_to_end.prepare import open_end_to_end
from vsa.study.end_to_end.results import EndToEndResults

__all__ = [
    "WHOLE",
    "EndToEndResults",
    "ablation_plot",
    "ask_looks",
    "failure_plot",
    "funnel_plot",
    "open_end_to_end",
    "open_shop",
    "record_looks",
    "waterfall_plot",
]
