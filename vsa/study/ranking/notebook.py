"""What notebook 05 calls."""

from __future__ import annotations

from vsa.ranking.models import GbdtLr, LeafTable
from vsa.ranking.serve import open_ranker
from vsa.study.catalogue.prepare import open_shop
from vsa.study.ranking.experiment import open_lab
from vsa.study.ranking.plots import calibration_plot, conversion_plot, gain_plot, importance_plot
from vsa.study.ranking.prepare import publish_ranker, ranker_folder
from vsa.study.ranking.results import RankingResults
from vsa.study.simulate import shoppers

__all__ = [
    "GbdtLr",
    "LeafTable",
    "RankingResults",
    "calibration_plot",
    "conversion_plot",
    "gain_plot",
    "importance_plot",
    "open_lab",
    "open_ranker",
    "open_shop",
    "publish_ranker",
    "ranker_folder",
    "shoppers",
]
