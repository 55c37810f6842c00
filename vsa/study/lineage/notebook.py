"""What notebook 07 calls."""

from __future__ import annotations

from vsa.study.catalogue.prepare import open_shop
from vsa.study.lineage.experiment import run_methods
from vsa.study.lineage.factors import FACTORS, LABELS, record_factors, record_labels
from vsa.study.lineage.maps import MAPS, record_maps
from vsa.study.lineage.plots import (
    boxes_figure,
    found_boxes_figure,
    labels_figure,
    map_figure,
    page_figure,
    pareto_figure,
)
from vsa.study.lineage.pooling import integral_maxima, r_mac_regions, vlad
from vsa.study.lineage.prepare import open_lineage
from vsa.study.lineage.results import (
    BOXES,
    DIFFERENCES,
    NETWORKS,
    ON_VALIDATION,
    SEARCH,
    SIMPLEST,
    LineageResults,
    describe_methods,
    reading_of_left_out,
)
from vsa.study.lineage.rows import METHODS
from vsa.study.lineage.table import SortableTable

__all__ = [
    "BOXES",
    "DIFFERENCES",
    "FACTORS",
    "LABELS",
    "MAPS",
    "METHODS",
    "NETWORKS",
    "ON_VALIDATION",
    "SEARCH",
    "SIMPLEST",
    "LineageResults",
    "SortableTable",
    "boxes_figure",
    "describe_methods",
    "found_boxes_figure",
    "integral_maxima",
    "labels_figure",
    "map_figure",
    "open_lineage",
    "open_shop",
    "page_figure",
    "pareto_figure",
    "r_mac_regions",
    "reading_of_left_out",
    "record_factors",
    "record_labels",
    "record_maps",
    "run_methods",
    "vlad",
]
