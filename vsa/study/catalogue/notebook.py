"""What notebook 01 calls."""

from vsa.data.schema import CATALOGUE, QUERIES, check
from vsa.study.catalogue.plots import (
    click_rate_figure,
    duplicates_figure,
    pairs_figure,
    quality_figure,
    session_figure,
)
from vsa.study.catalogue.prepare import open_shop, prepare_shop
from vsa.study.catalogue.results import record_shop
from vsa.study.catalogue.splits import declaration

__all__ = [
    "CATALOGUE",
    "QUERIES",
    "check",
    "click_rate_figure",
    "declaration",
    "duplicates_figure",
    "open_shop",
    "pairs_figure",
    "prepare_shop",
    "quality_figure",
    "record_shop",
    "session_figure",
]
