"""What notebook 04 puts into an index, and who asks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Asked:
    """Photos of a split whose product is for sale."""

    features: np.ndarray  # float32 (n, d), unit length
    products: np.ndarray  # int64 (n,)
    categories: np.ndarray  # str (n,)

    def first(self, n: int) -> Asked:
        """At most `n` of them, spread over all."""
        rows = np.unique(np.linspace(0, len(self.features) - 1, n).round().astype(int))
        return Asked(self.features[rows], self.products[rows], self.categories[rows])


@dataclass(frozen=True)
class IndexTask:
    """The catalogue, with what selection removed, and the photos that search it."""

    features: np.ndarray  # float32 (n, d), unit length, of all catalogue images
    products: np.ndarray  # int64 (n,)
    categories: np.ndarray  # str (n,)
    kept: np.ndarray  # bool (n,): selected
    group: np.ndarray  # int64 (n,): of duplicates; −1 outside any
    validation: Asked
    test: Asked
    test_unselected: Asked  # photos of all products that the catalogue had before selection

    def summary(self) -> pd.DataFrame:
        """Images, products and categories on either side."""
        sides = {
            "catalogue": (self.products, self.categories),
            "catalogue, selected": (self.products[self.kept], self.categories[self.kept]),
            "photos, validation": (self.validation.products, self.validation.categories),
            "photos, test": (self.test.products, self.test.categories),
        }
        return pd.DataFrame(
            {
                name: {
                    "images": len(products),
                    "products": len(np.unique(products)),
                    "categories": len(np.unique(categories)),
                }
                for name, (products, categories) in sides.items()
            }
        ).T
