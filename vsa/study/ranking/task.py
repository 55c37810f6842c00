"""What notebook 05 re-ranks: pages of the first results by appearance, and the listings on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from vsa.study.simulate.shoppers import CATEGORY, ELSE, IDENTICAL, LEAF, NAMES

SIDES = ("fit", "choose", "test")
K = 60  # results that are re-ordered (the paper's number)


@dataclass(frozen=True)
class Pages:
    """The first results of some photos, by appearance."""

    rows: np.ndarray  # int64 (n, k): listings, best first
    similarity: np.ndarray  # float32 (n, k), falling
    relevance: np.ndarray  # int64 (n, k): ELSE to IDENTICAL, by the true labels
    products: np.ndarray  # int64 (n,): what each photo shows

    def some(self, chosen: np.ndarray) -> Pages:
        """The pages of some photos, bool (n,)."""
        return Pages(
            self.rows[chosen],
            self.similarity[chosen],
            self.relevance[chosen],
            self.products[chosen],
        )


@dataclass(frozen=True)
class RankTask:
    """Listings and pages; photos of one product are on one side only."""

    quality: pd.DataFrame  # signals of all listings, NaN where missing
    categories: np.ndarray  # str (n,), of all listings
    fit: Pages  # rankers learn from sessions on these,
    choose: Pages  # the blend is chosen on these,
    test: Pages  # and all is reported on these
    signals_are_simulated: bool  # by this code, because the data set has none

    def pages(self, side: str) -> Pages:
        """The pages of one of `SIDES`."""
        return {"fit": self.fit, "choose": self.choose, "test": self.test}[side]

    def summary(self) -> pd.DataFrame:
        """Photos, products, and what is on their pages, by side."""
        sides = {side: self.pages(side) for side in SIDES}
        return pd.DataFrame(
            {
                name: {
                    "photos": len(pages.products),
                    "products": len(np.unique(pages.products)),
                    "results per page": pages.rows.shape[1],
                    "portraits": len(NAMES),
                }
                for name, pages in sides.items()
            }
        ).T


def relevance_of(
    wanted: tuple[np.ndarray, np.ndarray, np.ndarray],
    offered: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> np.ndarray:
    """ELSE to IDENTICAL of each result, int64 (n, k).

    Both sides are product, leaf and category; `wanted` (n,) each, `offered` (n, k) each.
    """
    product, leaf, category = (
        mine[:, None] == theirs for mine, theirs in zip(wanted, offered, strict=True)
    )
    return np.select([product, leaf, category], [IDENTICAL, LEAF, CATEGORY], ELSE)
