"""What a linear map of frozen features learns from: batches as the works build them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from vsa.study.lineage.lab import LineageLab
from vsa.study.lineage.pictures import Pictures

PHOTO, PICTURE = 0, 1  # where a row of a batch comes from


@dataclass(frozen=True)
class Lessons:
    """Features of training photos and of the catalogue, one table, and their labels."""

    features: np.ndarray  # float32 (n, d), unit length
    product: np.ndarray  # int64 (n,), −1: not known, or not to be learned from
    category: np.ndarray  # int64 (n,), −1: not known
    domain: np.ndarray  # int64 (n,): PHOTO or PICTURE
    _rows: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)  # of product and side

    @classmethod
    def of(cls, lab: LineageLab, describe: Callable[[Pictures], np.ndarray]) -> Lessons:
        """Those of a lab; of the catalogue only products of training photos have a label."""
        task, rows = lab.task, lab.task.rows("train")
        wanted, offered = task.products
        known = np.isin(offered, wanted[task.labelled])
        photos, pictures = (describe(some) for some in lab.seen)
        return cls(
            np.concatenate([photos, pictures]).astype(np.float32),
            np.concatenate(
                [
                    np.where(np.isin(rows, task.labelled), wanted[rows], -1),
                    np.where(known, offered, -1),
                ]
            ),
            np.concatenate([lab.categories("train"), lab.categories("catalogue")]),
            np.repeat([PHOTO, PICTURE], [len(photos), len(pictures)]),
        )

    def rows_of(self, product: int, domain: int) -> np.ndarray:
        """Rows of a product on one side."""
        if (product, domain) not in self._rows:
            is_there = (self.product == product) & (self.domain == domain)
            self._rows[product, domain] = np.flatnonzero(is_there)
        return self._rows[product, domain]

    @cached_property
    def learned(self) -> np.ndarray:
        """Products that are on both sides, int64."""
        first, second = (self.product[self.domain == side] for side in (PHOTO, PICTURE))
        found = np.intersect1d(first, second)
        return found[found >= 0]


Draw = Callable[[Lessons, np.random.Generator, int], np.ndarray]
"""Lessons, a generator, number of pairs → rows of a batch, two for each pair."""


def pairs(lessons: Lessons, rng: np.random.Generator, n_pairs: int) -> np.ndarray:
    """N products, and a photo and a picture of each: an N-pair batch."""
    chosen = rng.permutation(lessons.learned)[:n_pairs]
    sides = [[rng.choice(lessons.rows_of(p, side)) for p in chosen] for side in (PHOTO, PICTURE)]
    return np.concatenate(sides).astype(np.int64)


def identities(lessons: Lessons, rng: np.random.Generator, n_pairs: int) -> np.ndarray:
    """Few products and up to four rows of each, from either side: FaceNet's batch."""
    rows: list[int] = []
    for product in rng.permutation(lessons.learned):
        mine = np.flatnonzero(lessons.product == product)
        rows += rng.permutation(mine)[:4].tolist()
        if len(rows) >= 2 * n_pairs:
            break
    return np.array(rows[: 2 * n_pairs], np.int64)


def anything(lessons: Lessons, rng: np.random.Generator, n_pairs: int) -> np.ndarray:
    """Rows that have a category, drawn evenly."""
    return rng.choice(np.flatnonzero(lessons.category >= 0), 2 * n_pairs)


def by_relevance(lessons: Lessons, rng: np.random.Generator, n_pairs: int) -> np.ndarray:
    """Triplets in three parts: photo, picture of its product, less relevant picture.

    Two of three of the last are of the photo's category, which is more relevant, and one is of any
    other: Wang et al. (2014) draw negatives of both kinds, and the near ones more often.
    """
    n = max(1, 2 * n_pairs // 3)
    learned = rng.choice(lessons.learned, n)
    photos = np.array([rng.choice(lessons.rows_of(p, PHOTO)) for p in learned])
    positive = np.array([rng.choice(lessons.rows_of(p, PICTURE)) for p in learned])
    pictures = np.flatnonzero((lessons.domain == PICTURE) & (lessons.product >= 0))
    negative = np.empty(n, np.int64)
    for place, product in enumerate(learned):
        other = pictures[lessons.product[pictures] != product]
        same = lessons.category[other] == lessons.category[positive[place]]
        is_near = rng.random() < 2 / 3
        wanted = other[same == is_near]
        negative[place] = rng.choice(wanted if len(wanted) else other)
    return np.concatenate([photos, positive, negative])
