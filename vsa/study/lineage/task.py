"""Which photos search which catalogue in notebook 07, and what is known of both."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from vsa.data.schema import BOX
from vsa.embedding.task import rows_of
from vsa.metrics import average_precision, box_iou

JUDGED = ("val", "test")


@dataclass(frozen=True)
class LineageTask:
    """Photos and pictures, with products, categories and boxes as far as they are known."""

    queries: pd.DataFrame  # schema QUERIES
    catalogue: pd.DataFrame  # schema CATALOGUE, the images that selection kept

    @cached_property
    def knows_products(self) -> bool:
        """Whether there are validation and test photos whose product is for sale."""
        return all(len(rows_of(split, self.queries, self.catalogue)) for split in JUDGED)

    def rows(self, split: str) -> np.ndarray:
        """Query rows of a split; where products are known, of val and test those for sale only."""
        if split in JUDGED and self.knows_products:
            return rows_of(split, self.queries, self.catalogue)
        return np.flatnonzero(self.queries.split == split)

    @cached_property
    def products(self) -> tuple[np.ndarray, np.ndarray]:
        """Product codes, int64, of photos (−1: unknown) and of catalogue pictures."""
        return self._codes("product_id")

    @cached_property
    def categories(self) -> tuple[np.ndarray, np.ndarray]:
        """Category codes, int64, of photos (−1: unknown) and of catalogue pictures."""
        return self._codes("category")

    @cached_property
    def boxes(self) -> np.ndarray:
        """True boxes of photos, float32 (n, 4), NaN where there is none."""
        return self.queries[BOX].to_numpy(np.float32)

    def knows_boxes(self, split: str) -> bool:
        """Whether each photo of a split has a true box."""
        rows = self.rows(split)
        return bool(len(rows)) and bool(np.isfinite(self.boxes[rows]).all())

    @cached_property
    def labelled(self) -> np.ndarray:
        """Rows of training photos whose product the catalogue has."""
        rows, (wanted, offered) = self.rows("train"), self.products
        return rows[(wanted[rows] >= 0) & np.isin(wanted[rows], offered)]

    def lacks(self) -> dict[str, bool]:
        """Whether the data lack what methods may need, by the keys of `methods.NEEDS`."""
        asked, offered = self.categories
        n_known = len(np.unique(offered[offered >= 0]))
        return {
            "categories": n_known < 2 or not (asked[self.rows("train")] >= 0).any(),
            "training products": not len(self.labelled),
            "training boxes": not self.knows_boxes("train"),
            "true boxes": not self.knows_boxes("test"),
        }

    def hits(self, ranks: np.ndarray, split: str) -> np.ndarray:
        """Whether each result of a split's photos shows their product, bool (n, k)."""
        wanted, offered = self.products
        return np.asarray((ranks >= 0) & (offered[ranks] == wanted[self.rows(split)][:, None]))

    def precision(self, ranks: np.ndarray, split: str) -> np.ndarray:
        """Average precision of each photo of a split, float64 (n,)."""
        wanted, offered = self.products
        n_identical = (offered[None] == wanted[self.rows(split)][:, None]).sum(axis=1)
        return average_precision(self.hits(ranks, split), np.ones(len(ranks), bool), n_identical)

    def iou(self, boxes: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """IoU of boxes with the true ones of photos, float64 (n,)."""
        return box_iou(boxes, self.boxes[rows])

    def _codes(self, column: str) -> tuple[np.ndarray, np.ndarray]:
        both = pd.concat([self.queries[column], self.catalogue[column]])
        first, second = np.split(pd.factorize(both)[0].astype(np.int64), [len(self.queries)])
        return first, second
