"""What is asked of an engine, what a search goes through, and what it answers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from PIL import Image

from vsa.category.predictor import CategoryPrediction
from vsa.data.decoding import Source

COVERED = 0.99  # of the category distribution: the fewest categories that make it up are searched
STAGES = ("decode", "category", "box and feature", "search", "re-rank")


@dataclass(frozen=True)
class Stages:
    """What a search goes through; each stage may be left out, to see what it does."""

    category: bool = True  # only the likely categories are searched
    box: bool = True  # the feature is that of the box, not of the whole photo
    refine: bool = True  # candidates are ordered by features, not by codes
    rerank: bool = True  # the page is re-ordered by quality


ALL_STAGES = Stages()


@dataclass(frozen=True)
class Answer:
    """What the engine found out about one photo, and how long each stage took."""

    image: np.ndarray  # uint8 (S, S, 3), as the category stage sees it, or the network
    category: CategoryPrediction | None  # None where the engine has no category stage
    box: np.ndarray  # float32 (4,): x_min, y_min, x_max, y_max, shares of the sides
    other_boxes: np.ndarray  # float32 (m, 4): of what else may have been meant, likeliest first
    results: pd.DataFrame  # best first: the catalogue's columns, similarity, rank before, score
    stage_ms: dict[str, float]  # of each stage; category runs beside box and feature
    total_ms: float
    missing_shards: tuple[int, ...] = ()  # of a cluster, that did not answer: the result is partial


def likely_categories(prediction: CategoryPrediction, known: Sequence[str]) -> list[str] | None:
    """The fewest categories that make up 0.99 of the fused distribution, and the index knows.

    None, which means all of them, if it knows none.
    """
    order = np.argsort(-prediction.fused, kind="stable")
    n_needed = int(np.searchsorted(np.cumsum(prediction.fused[order]), COVERED)) + 1
    chosen = [prediction.categories[i] for i in order[:n_needed]]
    return [name for name in chosen if name in known] or None


@dataclass
class Clock:
    """Milliseconds of named stages, in their order."""

    stage_ms: dict[str, float] = field(default_factory=dict)
    start: float = field(default_factory=time.perf_counter)

    def since_start_ms(self) -> float:
        return 1e3 * (time.perf_counter() - self.start)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.stage_ms[stage] = 1e3 * (time.perf_counter() - start)


@dataclass(frozen=True)
class Question:
    """A photo, and what is wanted of it, as `VisualSearch.ask` has checked it."""

    photo: Source
    k: int
    box: np.ndarray | Literal["own"] | None  # float32 (4,); the learned one; the whole photo
    stages: Stages
    segment: str | None
    categories: tuple[str, ...] | None  # the only ones that are searched; None: the likely ones
    clock: Clock = field(default_factory=Clock)

    @property
    def given_box(self) -> np.ndarray | None:
        """The box that somebody has said the object is in, float32 (4,)."""
        return self.box if isinstance(self.box, np.ndarray) else None


@dataclass(frozen=True)
class Seen:
    """A photo that was decoded for a question."""

    asked: Question
    decoded: Image.Image
    image: np.ndarray  # uint8 (S, S, 3), as of `Answer`


@dataclass(frozen=True)
class Described:
    """What the networks of boxes and features say of a photo."""

    boxes: np.ndarray  # float32 (m, 4): what was described, then what else may have been meant
    feature: np.ndarray  # float32 (d,) of unit length
