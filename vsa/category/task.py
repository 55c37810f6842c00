"""Which labelled images train the classifier, which are searched, and which judge both.

The classifier is trained on `training` images; the search branch votes over the larger
`reference` set, which holds those and every other labelled catalogue image, as the paper's
reference set is larger than its training set (section 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from vsa.data.schema import Dataset
from vsa.runtime.errors import NotApplicable


@dataclass(frozen=True)
class CategoryTask:
    """Who is trained on, searched, and judged. Tables have columns id, path, category, split."""

    reference: pd.DataFrame  # all labelled images; column is_training marks the classifier's
    val: pd.DataFrame
    test: pd.DataFrame
    categories: list[str]

    def labels(self, table: pd.DataFrame) -> np.ndarray:
        """Category codes of a table's rows, int64 (n,)."""
        return pd.Categorical(table.category, categories=self.categories).codes.astype(np.int64)

    def summary(self) -> pd.DataFrame:
        """Images and categories of each part, one row per part."""
        parts = {
            "training": self.reference[self.reference.is_training],
            "reference": self.reference,
            "val": self.val,
            "test": self.test,
        }
        return pd.DataFrame(
            {
                name: {"images": len(table), "categories": table.category.nunique()}
                for name, table in parts.items()
            }
        ).T


def make_task(dataset: Dataset, kept_image_ids: pd.Series) -> CategoryTask:
    """Split labelled images into training, reference, validation and test.

    Training images are the labelled queries of the train split and the main catalogue images,
    less those of products that val or test queries show where splits are disjoint by product.
    """
    catalogue = dataset.catalogue[dataset.catalogue.image_id.isin(kept_image_ids)]
    queries = dataset.queries.dropna(subset="category").rename(columns={"query_id": "id"})
    judged = queries[queries.split != "train"]
    trainable = catalogue.source == "main"
    if dataset.products_disjoint:
        trainable &= ~catalogue.product_id.isin(judged.product_id)
    columns = ["id", "path", "category", "product_id", "is_training"]
    reference = pd.concat(
        [
            catalogue.rename(columns={"image_id": "id"}).assign(is_training=trainable)[columns],
            queries[queries.split == "train"].assign(is_training=True)[columns],
        ],
        ignore_index=True,
    )
    return CategoryTask(
        reference,
        queries[queries.split == "val"].reset_index(drop=True),
        queries[queries.split == "test"].reset_index(drop=True),
        dataset.categories,
    )


def require_labels(task: CategoryTask, *, judged: bool = True) -> None:
    """Raise NotApplicable, with the reason, if there is nothing to learn from or to choose by.

    And, where the task is to be `judged`, if there is nothing to judge it by.
    """
    parts = {
        "training image": task.reference[task.reference.is_training],
        "validation query": task.val,
    } | ({"test query": task.test} if judged else {})
    if len(task.categories) < 2:
        raise NotApplicable("Category prediction: there is one category only.")
    for name, table in parts.items():
        if table.empty:
            raise NotApplicable(f"Category prediction: no {name} has a category.")
