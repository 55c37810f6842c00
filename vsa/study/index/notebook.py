"""What notebook 04 calls."""

from __future__ import annotations

from vsa.index.codec import Codec
from vsa.index.plain import hamming, weighted, weights_of
from vsa.study.catalogue.prepare import open_shop
from vsa.study.index.experiment import open_lab
from vsa.study.index.plots import (
    codec_plot,
    growth_plot,
    recall_plot,
    similarity_plot,
    stage_plot,
)
from vsa.study.index.results import IndexResults, reading

__all__ = [
    "Codec",
    "IndexResults",
    "codec_plot",
    "growth_plot",
    "hamming",
    "open_lab",
    "open_shop",
    "reading",
    "recall_plot",
    "similarity_plot",
    "stage_plot",
    "weighted",
    "weights_of",
]
