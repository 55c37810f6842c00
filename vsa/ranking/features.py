"""What a ranker sees of a page: appearance, quality signals, user portrait (paper section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from vsa.data.schema import QUALITY
from vsa.ranking.segments import Segments

VERSION = 1
SIMILARITY, RELATIVE, SALES, CONVERSION, APPLAUSE, PRICE, MISSING, PORTRAIT = range(8)
USER_PORTRAIT = "user portrait"
_GROUPS = {
    "appearance": [SIMILARITY, RELATIVE],
    "sales": [SALES],
    "conversion": [CONVERSION],
    "applause": [APPLAUSE],
    "price": [PRICE],
}
_RATE = 1e-3  # rates are kept this far from 0 and 1


@dataclass(frozen=True)
class Filling:
    """What stands for a missing value: medians of the listings that training saw."""

    sales: float  # log(1 + sales)
    conversion: float  # log-odds
    applause: float

    @classmethod
    def of(cls, quality: np.ndarray) -> Filling:
        """Medians of `quality` (n, 4); 0 for a column without any value."""
        columns = (np.log1p(quality[:, 0]), _log_odds(quality[:, 1]), _log_odds(quality[:, 2]))
        known = (column[np.isfinite(column)] for column in columns)
        return cls(*(float(np.median(column)) if len(column) else 0.0 for column in known))


def groups(segments: Segments) -> dict[str, list[int]]:
    """What can be taken away from a ranker, and the columns that hold it."""
    columns = [PORTRAIT + number for number in range(len(segments.names))]
    return _GROUPS | ({USER_PORTRAIT: columns} if columns else {})


def quality_array(quality: pd.DataFrame | np.ndarray) -> np.ndarray:
    """The four signals in the order of `QUALITY`, float64 (n, 4), NaN where missing.

    Raises ValueError for a table without these columns, or an array of another shape.
    """
    if isinstance(quality, pd.DataFrame):
        absent = [name for name in QUALITY if name not in quality]
        if absent:
            raise ValueError(f"quality signals without {', '.join(absent)}")
        quality = quality[QUALITY].to_numpy(np.float64)
    array = np.asarray(quality, np.float64)
    if array.ndim != 2 or array.shape[1] != len(QUALITY):
        raise ValueError(f"quality signals must be (n, {len(QUALITY)}), not {array.shape}")
    return array


def relative(values: np.ndarray) -> np.ndarray:
    """Values scaled to [0, 1] within each page (..., k); 1 where all of a page are equal."""
    low, high = values.min(axis=-1, keepdims=True), values.max(axis=-1, keepdims=True)
    span = np.where(high > low, high - low, 1)
    return np.where(high > low, (values - low) / span, 1.0)


def page_features(
    similarity: np.ndarray, quality: np.ndarray, filling: Filling, segments: Segments
) -> np.ndarray:
    """Features of pages for every segment, float32 (..., S, k, F).

    F is `PORTRAIT` columns and one for each segment; without segments, S is 1.

    Parameters
    ----------
    similarity : (..., k) inner products of unit features.
    quality : (..., k, 4) signals in the order of `QUALITY`, NaN where missing.
    """
    sales = np.log1p(np.maximum(quality[..., 0], 0))
    conversion, applause = _log_odds(quality[..., 1]), _log_odds(quality[..., 2])
    price = np.log(np.maximum(quality[..., 3], 0.01))
    made = np.zeros((*similarity.shape, PORTRAIT + len(segments.names)), np.float32)
    made[..., SIMILARITY] = similarity
    made[..., RELATIVE] = relative(similarity)
    made[..., SALES] = np.where(np.isnan(sales), filling.sales, sales)
    made[..., CONVERSION] = np.where(np.isnan(conversion), filling.conversion, conversion)
    made[..., APPLAUSE] = np.where(np.isnan(applause), filling.applause, applause)
    made[..., PRICE] = np.nan_to_num(price - _median(price))
    made[..., MISSING] = np.isnan(quality).mean(axis=-1)
    made = np.repeat(made[..., None, :, :], len(segments.weights), axis=-3)
    for number in range(len(segments.names)):
        made[..., number, :, PORTRAIT + number] = 1
    return made


def _median(values: np.ndarray) -> np.ndarray:
    """Median of the known values of each page, (..., 1); NaN where none is known."""
    known = ~np.isnan(values)
    if known.all():
        return np.median(values, axis=-1, keepdims=True)
    filled = np.where(known, values, np.inf)
    filled.sort(axis=-1)
    n = known.sum(axis=-1, keepdims=True)
    both = [np.take_along_axis(filled, np.maximum(at, 0), -1) for at in ((n - 1) // 2, n // 2)]
    return np.where(n > 0, (both[0] + both[1]) / 2, np.nan)


def _log_odds(rate: np.ndarray) -> np.ndarray:
    clipped = np.clip(rate, _RATE, 1 - _RATE)
    return np.log(clipped / (1 - clipped))
