"""What notebook 04 calls."""

from __future__ import annotations

from vsa.index.codec import Codec
from vsa.index.lists import hamming_of_runs
from vsa.study.catalogue.prepare import open_shop
from vsa.study.index.experiment import open_lab
from vsa.study.index.plots import codec_plot, growth_plot, recall_plot, similarity_plot
from vsa.study.index.results import IndexResults, reading

__all__ = [
    "Codec",
    "IndexResults",
    "codec_plot",
    "growth_plot",
    "hamming_of_runs",
    "open_lab",
    "open_shop",
    "reading",
    "recall_plot",
    "similarity_plot",
]
