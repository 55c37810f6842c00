"""What notebook 02 calls."""

from __future__ import annotations

from vsa.category.fusion import fuse
from vsa.category.search import vote
from vsa.runtime.device import pick_device
from vsa.study.catalogue.prepare import open_shop
from vsa.study.category.experiment import run_seeds, trained_predictor
from vsa.study.category.hard import ask_leaves
from vsa.study.category.looks import (
    look_at_crops,
    looks_figure,
    reading_of_looks,
    record_looks,
)
from vsa.study.category.plots import (
    categories_figure,
    confusion_fusion_figure,
    confusion_model_figure,
    differences_figure,
    growth_figure,
    reliability_figure,
    training_figure,
    tsne_figure,
    vote_figure,
)
from vsa.study.category.prepare import open_published, prepare_categories, publish_predictor
from vsa.study.category.results import (
    answer_test_queries,
    hits,
    reading,
    reading_of_hard,
    record,
)
from vsa.study.ledger.bootstrap import mean_interval

__all__ = [
    "answer_test_queries",
    "ask_leaves",
    "categories_figure",
    "confusion_fusion_figure",
    "confusion_model_figure",
    "differences_figure",
    "fuse",
    "growth_figure",
    "hits",
    "look_at_crops",
    "looks_figure",
    "mean_interval",
    "open_published",
    "open_shop",
    "pick_device",
    "prepare_categories",
    "publish_predictor",
    "reading",
    "reading_of_hard",
    "reading_of_looks",
    "record",
    "record_looks",
    "reliability_figure",
    "run_seeds",
    "trained_predictor",
    "training_figure",
    "tsne_figure",
    "vote",
    "vote_figure",
]
