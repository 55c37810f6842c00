"""The OFFLINE path's last steps: trained network → features → index.

Stages are wired here, in the other rooms' ``prepare`` and in `vsa.engine`, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from vsa.data.images import load_images
from vsa.embedding.extract import describe_catalogue
from vsa.runtime.fingerprint import checksum, key
from vsa.study.catalogue.prepare import Shop
from vsa.study.embedding.experiment import EmbeddingLab
from vsa.study.embedding.variants import JOINT
from vsa.study.run import Run


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


def index_task(run: Run, shop: Shop, lab: EmbeddingLab) -> IndexTask:
    """All catalogue images, and the photos that search them, as the joint network sees both.

    Photos are described behind the mask of their own box, catalogue images as they are.
    """
    net, task, dataset = lab.net(JOINT), lab.task, shop.dataset
    catalogue, kept = dataset.catalogue, shop.selection.kept.to_numpy()
    size_px, cache = run.settings.embedding.image_px, run.artifacts / "images"
    images = load_images(dataset.root, catalogue.path.tolist(), size_px, cache)
    folder = run.artifacts / "index" / f"features-{lab.path(JOINT).name}"
    whole = folder / f"catalogue-{_key(catalogue.path, images)}"
    features = describe_catalogue(net, images, lab.device, whole).features
    codes = pd.factorize(pd.concat([task.queries.product_id, catalogue.product_id]))[0]
    asking, offered = np.split(codes.astype(np.int64), [len(task.queries)])
    before = (task.queries.split == "test") & task.queries.product_id.isin(catalogue.product_id)
    chosen = {split: task.rows(split) for split in ("val", "test")}
    asked = {}
    for split, rows in (chosen | {"unselected": np.flatnonzero(before)}).items():
        photos = task.images.queries[rows]
        part = folder / f"photos-{_key(task.queries.path.iloc[rows], photos)}"
        found = describe_catalogue(net, photos, lab.device, part, boxes="own").features
        names = task.queries.category.fillna("").to_numpy(str)[rows]
        asked[split] = Asked(np.asarray(found), asking[rows], names)
    return IndexTask(
        np.asarray(features),
        offered,
        catalogue.category.to_numpy(str),
        kept,
        shop.selection.group.to_numpy(np.int64),
        asked["val"],
        asked["test"],
        asked["unselected"],
    )


def _key(paths: pd.Series, images: np.ndarray) -> str:
    """Fingerprint of images, uint8 (n, S, S, 3), by their paths and pixels.

    The network's own key does not know the images that selection removed.
    """
    return key({}, paths=paths.tolist(), pixels=checksum(images))
