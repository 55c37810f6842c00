"""The online re-ranking stage: a page of results in, its order out (paper section 3.3)."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from vsa.ranking.blend import best_first, blend
from vsa.ranking.features import Filling, page_features, quality_array
from vsa.ranking.forest import Forest
from vsa.ranking.models import LeafTable
from vsa.ranking.segments import Segments
from vsa.runtime.atomic import atomic_dir, settled
from vsa.runtime.checked import check_manifest
from vsa.runtime.errors import InputError

_CARD = "card.json"


@dataclass(frozen=True)
class Ranked:
    """A page in its new order."""

    order: np.ndarray  # int64 (n,): positions on the page that was given, best first
    score: np.ndarray  # float32 (n,) in [0, 1], of the results as they were given


@dataclass(frozen=True)
class QualityRanker:
    """A fitted GBDT + LR, and how much of it is blended into appearance."""

    model: LeafTable
    filling: Filling
    weight: float  # of the score, in [0, 1]
    segments: Segments

    def order(
        self,
        similarity: np.ndarray,
        quality: pd.DataFrame | np.ndarray,
        segment: str | None = None,
    ) -> Ranked:
        """Re-order one page.

        Parameters
        ----------
        similarity : (n,) inner products with the photo, in any order; n may be 0.
        quality : columns sales, conversion_rate, applause_rate and price, as a table or (n, 4);
            NaN where missing.
        segment : user portrait, one of `segments.names`; None averages over all shoppers.

        Raises
        ------
        InputError for an unknown segment; ValueError for shapes that do not fit or a similarity
        that is not finite.
        """
        number = None if segment is None else self.segments.number(segment)
        similarity, signals = np.asarray(similarity, np.float32), quality_array(quality)
        if similarity.shape != signals.shape[:1]:
            raise ValueError(f"{similarity.shape} similarities, signals {signals.shape}")
        if not np.isfinite(similarity).all():
            raise ValueError("similarities must be finite")
        if not len(similarity):
            return Ranked(np.zeros(0, np.int64), np.zeros(0, np.float32))
        x = page_features(similarity, signals, self.filling, self.segments)  # (S, n, F)
        if number is None:
            scores = self.model.score(x.reshape(-1, x.shape[-1])).reshape(x.shape[:2])
            score = self.segments.weights @ scores
        else:
            score = self.model.score(x[number])
        mixed = blend(similarity, score, self.weight)
        return Ranked(best_first(mixed), mixed)


def save_ranker(folder: Path, ranker: QualityRanker) -> None:
    """Publish a ranker in a folder of its own; replaces an earlier one."""
    with atomic_dir(folder, marker=_CARD) as draft:
        write_ranker(draft, ranker)


def open_ranker(folder: Path) -> QualityRanker:
    """Open what `save_ranker` published; raises InputError for none, or a damaged one."""
    folder = settled(folder)
    if not folder.is_dir():
        raise InputError(
            "no quality ranker here", cure="Run notebook 05_quality_rerank", file=folder
        )
    check_manifest(folder)
    return read_ranker(folder)


def write_ranker(folder: Path, ranker: QualityRanker) -> None:
    """Write a ranker into an empty folder."""
    forest = ranker.model.forest
    np.savez(
        folder / "trees.npz",
        feature=forest.feature,
        threshold=forest.threshold,
        child=forest.child,
        table=ranker.model.table,
    )
    card = {
        "depth": forest.depth,
        "bias": ranker.model.bias,
        "weight": ranker.weight,
        "filling": dataclasses.asdict(ranker.filling),
        "segments": dict(zip(ranker.segments.names, ranker.segments.shares, strict=True)),
    }
    (folder / _CARD).write_text(json.dumps(card, indent=1), encoding="utf-8")


def read_ranker(folder: Path) -> QualityRanker:
    """Read what `write_ranker` wrote, from a folder that was checked."""
    card = json.loads((folder / _CARD).read_text(encoding="utf-8"))
    with np.load(folder / "trees.npz") as arrays:
        forest = Forest(
            arrays["feature"],
            arrays["threshold"],
            arrays["child"],
            card["depth"],
        )
        model = LeafTable(forest, arrays["table"], card["bias"])
    segments = Segments.of(list(card["segments"]), list(card["segments"].values()))
    return QualityRanker(model, Filling(**card["filling"]), card["weight"], segments)
