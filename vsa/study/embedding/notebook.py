"""What notebook 03 calls."""

from __future__ import annotations

from vsa.embedding.boxes import best_boxes, learn_from_clicks
from vsa.embedding.joint import soft_mask
from vsa.embedding.losses import l2, per_query
from vsa.embedding.mining import RawTriplets
from vsa.runtime.device import pick_device
from vsa.study.catalogue.prepare import open_shop
from vsa.study.catalogue.splits import declaration
from vsa.study.embedding.examples import category_net, domain_sample
from vsa.study.embedding.finished import gather, judged_test
from vsa.study.embedding.fold_results import record_folds
from vsa.study.embedding.lengths import reading_of_lengths, record_lengths
from vsa.study.embedding.linear_results import record_linear
from vsa.study.embedding.looks import (
    reading_of_boxes,
    reading_of_looks,
    record_boxes,
    record_looks,
)
from vsa.study.embedding.plots import (
    adaptation_figure,
    after_categories_figure,
    after_figure,
    before_figure,
    better_figure,
    box_training_figure,
    boxes_figure,
    differences_figure,
    lengths_figure,
    looks_figure,
    mined_page_figure,
    occlusion_figure,
    plane_of,
    recall_figure,
    stray_clicks_figure,
    training_figure,
    worse_figure,
)
from vsa.study.embedding.prepare import open_labs, prepare_learning, publish_network
from vsa.study.embedding.reading import reading
from vsa.study.embedding.results import SENSITIVITY, record
from vsa.study.embedding.variants import JOINT, PER_QUERY

__all__ = [
    "JOINT",
    "PER_QUERY",
    "SENSITIVITY",
    "RawTriplets",
    "adaptation_figure",
    "after_categories_figure",
    "after_figure",
    "before_figure",
    "best_boxes",
    "better_figure",
    "box_training_figure",
    "boxes_figure",
    "category_net",
    "declaration",
    "differences_figure",
    "domain_sample",
    "gather",
    "judged_test",
    "l2",
    "learn_from_clicks",
    "lengths_figure",
    "looks_figure",
    "mined_page_figure",
    "occlusion_figure",
    "open_labs",
    "open_shop",
    "per_query",
    "pick_device",
    "plane_of",
    "prepare_learning",
    "publish_network",
    "reading",
    "reading_of_boxes",
    "reading_of_lengths",
    "reading_of_looks",
    "recall_figure",
    "record",
    "record_boxes",
    "record_folds",
    "record_lengths",
    "record_linear",
    "record_looks",
    "soft_mask",
    "stray_clicks_figure",
    "training_figure",
    "worse_figure",
]
