"""What training sees of test products, counted: the declaration that stands beside recall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from vsa.category.task import make_task
from vsa.study.catalogue.prepare import Shop
from vsa.study.ledger.ledger import Ledger

SEEN = "what training sees of test products"


@dataclass(frozen=True)
class Splits:
    """Counts of products and of catalogue pictures that selection kept."""

    n_products: int  # on test photos, and for sale
    n_shared: int  # of these, on training or validation photos, too
    n_pictures: int  # in the catalogue, of these products
    n_on_pages: int  # of these pictures, on result pages of training photos …
    n_clicked: int  # … and clicked there
    n_training: int  # that train the category classifier
    n_reference: int  # that vote on categories

    @property
    def declared(self) -> str:
        """In sentences; "" where no test product is known."""
        if not self.n_products:
            return ""
        return (
            f"{self.shared or self._disjoint} {self.n_pictures:,} catalogue pictures show these "
            f"products; of them {self.n_on_pages:,} are on result pages of training photos "
            f"({self.n_clicked:,} clicked), {self.n_training:,} train the category classifier, and "
            f"{self.n_reference:,} are in the reference set of its vote: test photos are new, and "
            "what they look for is not (the transductive case)."
        )

    @property
    def shared(self) -> str:
        """That the same products are in several splits; "" where they are not."""
        if not self.n_shared:
            return ""
        return (
            f"{self.n_shared} of the {self.n_products} products on test photos are on training or "
            "validation photos, too."
        )

    @property
    def _disjoint(self) -> str:
        return (
            f"None of the {self.n_products} products on test photos is on a training or validation "
            "photo."
        )


def count_splits(shop: Shop) -> Splits:
    """Count, on the catalogue pictures that selection kept and the log of the run."""
    queries, kept = shop.dataset.queries, shop.kept
    is_test = queries.split == "test"
    tested = queries.product_id[is_test].dropna()
    products = pd.unique(tested[tested.isin(kept.product_id)])
    pictures = kept.image_id[kept.product_id.isin(products)]
    reference = make_task(shop.dataset, kept.image_id).reference
    ours = reference[reference.id.isin(pictures)]
    shown = clicked = np.empty(0, object)
    if shop.pvlog is not None:
        trains = queries.query_id[queries.split == "train"]
        pages = shop.pvlog[shop.pvlog.query_id.isin(trains) & shop.pvlog.image_id.isin(pictures)]
        shown, clicked = pages.image_id.unique(), pages.image_id[pages.clicked].unique()
    return Splits(
        n_products=len(products),
        n_shared=int(pd.Series(products).isin(queries.product_id[~is_test]).sum()),
        n_pictures=len(pictures),
        n_on_pages=len(shown),
        n_clicked=len(clicked),
        n_training=int(ours.is_training.sum()),
        n_reference=len(ours),
    )


def record_splits(ledger: Ledger, splits: Splits) -> None:
    """Note the counts."""
    if not splits.n_products:
        return
    ledger.record(SEEN, "products on test photos", "products", splits.n_products)
    ledger.record(SEEN, "of them on other photos, too", "products", splits.n_shared)
    for variant, n_images in (
        ("catalogue pictures of test products", splits.n_pictures),
        ("on result pages of training photos", splits.n_on_pages),
        ("clicked there", splits.n_clicked),
        ("in training of the category classifier", splits.n_training),
        ("in the reference set of the category vote", splits.n_reference),
    ):
        ledger.record(SEEN, variant, "images", n_images)


def declaration(shop: Shop) -> str:
    """What training sees of test products, in sentences of Markdown."""
    return count_splits(shop).declared or "No test photo shows a product that is known."
