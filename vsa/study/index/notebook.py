"""What notebook 04 calls."""

from __future__ import annotations

from vsa.index.codec import Codec
from vsa.index.lists import hamming_of_runs
from vsa.study.catalogue.prepare import open_shop
from vsa.study.index.plots import codec_plot, growth_plot, recall_plot, similarity_plot
from vsa.study.index.prepare import index_lab
from vsa.study.index.results import IndexJudge, reading

__all__ = [
    "Codec",
    "IndexJudge",
    "codec_plot",
    "growth_plot",
    "hamming_of_runs",
    "index_lab",
    "open_shop",
    "reading",
    "recall_plot",
    "similarity_plot",
]
