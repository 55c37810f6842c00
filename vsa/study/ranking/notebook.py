"""What notebook 05 calls."""

from __future__ import annotations

from vsa.ranking.models import GbdtLr, LeafTable
from vsa.ranking.serve import open_ranker, save_ranker
from vsa.study.catalogue.prepare import open_shop
from vsa.study.ranking.plots import calibration_plot, conversion_plot, gain_plot, importance_plot
from vsa.study.ranking.prepare import rank_lab, ranker_folder
from vsa.study.ranking.results import RankJudge
from vsa.study.simulate import shoppers

__all__ = [
    "GbdtLr",
    "LeafTable",
    "RankJudge",
    "calibration_plot",
    "conversion_plot",
    "gain_plot",
    "importance_plot",
    "open_ranker",
    "open_shop",
    "rank_lab",
    "ranker_folder",
    "save_ranker",
    "shoppers",
]
