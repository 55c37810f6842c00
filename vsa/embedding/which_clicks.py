"""Raw clicks or filtered ones: validation photos choose what a linear adaptation learns from.

The paper's filter (section 3.2) takes away clicks that look unlike their photo, and images that may
show its product. Where hardly a click is stray it takes away more than it gives. Both triplets are
at hand, and the adaptation learns in seconds: so it learns from each, and the better map is kept.
What is judged as the paper's recipe (claims C2 and C3) always learns from filtered clicks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vsa.embedding.adapt import Adapted, Judge, adapt, principal_components
from vsa.embedding.mining import Mining
from vsa.embedding.settings import EmbeddingSettings
from vsa.embedding.triplets import TripletSource, from_clicks

VERSION = 1
FILTERED, RAW = "filtered", "raw"


@dataclass(frozen=True)
class AdaptedByBest(Adapted):
    """The better of two adaptations; the curve has a column ``clicks`` and rows of both."""

    clicks: str  # that it learned from


def triplet_sources(mined: Mining, n_queries: int, n_images: int) -> dict[str, TripletSource]:
    """Filtered and raw triplets of the training clicks, the paper's own first.

    Where the filter takes away nothing, or everything, there are raw ones alone.
    """
    filtered, raw = mined.filtered, mined.train.triplets
    left, there = ((one.negatives >= 0).sum() for one in (filtered, raw))
    kept = {FILTERED: filtered} if 0 < left < there else {}
    return {
        name: from_clicks(triplets, n_queries, n_images)
        for name, triplets in (kept | {RAW: raw}).items()
    }


def adapt_by_best(
    views: Sequence[np.ndarray],
    catalogue: np.ndarray,
    sources: dict[str, TripletSource],
    rows: np.ndarray,
    settings: EmbeddingSettings,
    loss: str,
    seed: int,
    judge: Judge,
) -> AdaptedByBest:
    """As `adapt`, from each source of triplets; of equal ones the first is kept.

    Parameters
    ----------
    sources : name → triplets, as of `triplet_sources`; the others are those of `adapt`.
    """
    some = np.concatenate([*(view[rows] for view in views), catalogue])
    starts = principal_components(some, settings.adapted_dim)
    found = {
        name: adapt(views, catalogue, source, rows, settings, loss, seed, judge, starts=starts)
        for name, source in sources.items()
    }
    clicks = max(found, key=lambda name: found[name].curve.score.max())
    curve = pd.concat([one.curve.assign(clicks=name) for name, one in found.items()])
    best = found[clicks]
    return AdaptedByBest(
        best.head, best.log, curve.reset_index(drop=True), best.step, best.power, clicks
    )
