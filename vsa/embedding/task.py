"""What click-mined training learns from, and which queries judge it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from vsa.data.schema import BOX, SPLITS
from vsa.embedding.mining import (
    FeaturePair,
    FusedDistance,
    Mining,
    PageViews,
    choose_thresholds,
    make_pages,
    mine,
)
from vsa.embedding.train import Images
from vsa.runtime.errors import NotApplicable
from vsa.runtime.fingerprint import checksum


@dataclass(frozen=True)
class EmbeddingTask:
    """Tables, images and page views, all in rows of the same two tables."""

    queries: pd.DataFrame  # schema QUERIES; products may be known for test photos only
    catalogue: pd.DataFrame  # schema CATALOGUE, the images that selection kept
    images: Images
    pages: PageViews  # of the log, simulated or observed
    local: FeaturePair  # classical descriptors, for the distance that filters clicks

    def rows(self, split: str) -> np.ndarray:
        """Query rows of a split; of val and test those only whose product is for sale.

        Where that is known of no validation photo, those of val that somebody clicked for.
        """
        if split == "val" and not self.knows_validation:
            return _clicked_for("val", self.queries, self.pages)
        return rows_of(split, self.queries, self.catalogue)

    @cached_property
    def knows_validation(self) -> bool:
        """Whether products tell what is right for validation photos; clicks do otherwise."""
        return bool(len(rows_of("val", self.queries, self.catalogue)))

    @cached_property
    def knows_training(self) -> bool:
        """Whether any training photo shows a product of the catalogue that is known."""
        train = self.queries.product_id[self.queries.split == "train"]
        return bool(train.isin(self.catalogue.product_id).any())

    @cached_property
    def clicks(self) -> tuple[np.ndarray, np.ndarray]:
        """What was clicked for whom, each pair once: rows of queries and of the catalogue."""
        page, position = np.nonzero(self.pages.clicked)
        pairs = np.stack([self.pages.query[page], self.pages.image[page, position]], axis=1)
        query, image = np.unique(pairs, axis=0).T
        return query, image

    @cached_property
    def products(self) -> tuple[np.ndarray, np.ndarray]:
        """Product codes, int64, of queries (−1: unknown) and of catalogue images."""
        return self._codes("product_id")

    @cached_property
    def categories(self) -> tuple[np.ndarray, np.ndarray]:
        """Category codes, int64, of queries (−1: unknown) and of catalogue images."""
        return self._codes("category")

    @cached_property
    def category_names(self) -> list[str]:
        """Names of the category codes, in their order."""
        both = pd.concat([self.queries.category, self.catalogue.category])
        return [str(name) for name in pd.factorize(both)[1]]

    @cached_property
    def boxes(self) -> np.ndarray | None:
        """True boxes of the queries, float32 (n, 4), to judge by; None unless all are known."""
        boxes = self.queries[BOX].to_numpy(np.float32)
        return boxes if np.isfinite(boxes).all() else None

    @cached_property
    def checksums(self) -> dict[str, Any]:
        """Of all data here, by which caches know what they rest on."""
        hash_rows = pd.util.hash_pandas_object
        return {
            "queries": hash_rows(self.queries).to_numpy().sum().item(),
            "catalogue": hash_rows(self.catalogue).to_numpy().sum().item(),
            "clicks": [checksum(array) for array in vars(self.pages).values()],
            "images": [checksum(self.images.queries), checksum(self.images.catalogue)],
            "local": [checksum(features) for features in self.local],
        }

    def _codes(self, column: str) -> tuple[np.ndarray, np.ndarray]:
        both = pd.concat([self.queries[column], self.catalogue[column]])
        first, second = np.split(pd.factorize(both)[0].astype(np.int64), [len(self.queries)])
        return first, second

    def summary(self) -> pd.DataFrame:
        """Queries, products and page views with clicks of each split, one row per split."""
        clicked = self.pages.clicked.any(axis=1)
        return pd.DataFrame(
            {
                split: {
                    "queries": len(rows := self.rows(split)),
                    "products": self.queries.product_id.iloc[rows].nunique(),
                    "pages with a click": int(np.isin(self.pages.query[clicked], rows).sum()),
                }
                for split in SPLITS
            }
        ).T


def make_task(
    queries: pd.DataFrame,
    catalogue: pd.DataFrame,
    pvlog: pd.DataFrame | None,
    images: Images,
    local: FeaturePair,
    splits: Sequence[str] = SPLITS,
) -> EmbeddingTask:
    """Check that there is something to learn and to judge; raises NotApplicable with the reason.

    `queries` are in the order of the images and of `local`, those without a known product among
    them where the log was observed; `splits` are those that must have some.
    """
    pages = require_clicks(queries, catalogue, pvlog, splits)
    return EmbeddingTask(queries, catalogue, images, pages, local)


def require_clicks(
    queries: pd.DataFrame,
    catalogue: pd.DataFrame,
    pvlog: pd.DataFrame | None,
    splits: Sequence[str] = SPLITS,
) -> PageViews:
    """The page views to learn from; raises NotApplicable, with the reason, if that cannot be."""
    if pvlog is None:
        raise NotApplicable("Click-mined training: products are not known.")
    pages = make_pages(pvlog, queries, catalogue)
    for split in splits:
        found = rows_of(split, queries, catalogue)
        if split == "val" and not len(found):
            found = _clicked_for(split, queries, pages)
        if not len(found):
            raise NotApplicable(f"Click-mined training: no {split} query shows a product for sale.")
    if not pages.of(rows_of("train", queries, catalogue)).clicked.any():
        raise NotApplicable("Click-mined training: no training query was ever clicked for.")
    return pages


def rows_of(split: str, queries: pd.DataFrame, catalogue: pd.DataFrame) -> np.ndarray:
    """Query rows of a split; of val and test those only whose product is for sale."""
    chosen = queries.split == split
    if split != "train":
        chosen &= queries.product_id.isin(catalogue.product_id.unique())
    return np.flatnonzero(chosen)


def _clicked_for(split: str, queries: pd.DataFrame, pages: PageViews) -> np.ndarray:
    """Query rows of a split with a click on some page."""
    clicked = np.zeros(len(queries), bool)
    clicked[pages.query[pages.clicked.any(axis=1)]] = True
    return np.flatnonzero(clicked & (queries.split == split).to_numpy())


def mine_clicks(
    task: EmbeddingTask, features: FeaturePair, seed: int, pages: PageViews | None = None
) -> Mining:
    """Triplets of the training clicks, filtered by thresholds that validation clicks choose.

    Where products of validation photos are not known, nothing says which clicks are right, and
    nothing is filtered.

    Parameters
    ----------
    features : of a network trained before, of queries and of the catalogue; dist fuses them with
        the task's own descriptors.
    pages : in place of the task's.
    """
    started = time.perf_counter()
    pages = task.pages if pages is None else pages
    learn_from = pages.of(task.rows("train"))
    distance = FusedDistance([task.local, features], learn_from, seed)
    val, learn = (mine(part, distance) for part in (pages.of(task.rows("val")), learn_from))
    thresholds = choose_thresholds(val, *task.products)
    return Mining(learn, val, thresholds, time.perf_counter() - started)
