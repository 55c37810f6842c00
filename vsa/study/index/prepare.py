"""Trained network → features: what notebook 04 puts into an index, and who asks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from vsa.data import crops
from vsa.data.crops import load_crops, with_margin
from vsa.data.images import load_images
from vsa.embedding import boxes as objectness
from vsa.embedding import extract, joint
from vsa.embedding.describer import Look, mean_features
from vsa.embedding.extract import describe_catalogue
from vsa.embedding.task import rows_of
from vsa.models import backbones
from vsa.models.backbones import BACKBONES
from vsa.runtime.device import pick_device
from vsa.runtime.fingerprint import checksum, key, libraries, state_digest
from vsa.study.catalogue.prepare import Shop
from vsa.study.embedding.prepare import open_describer, open_network
from vsa.study.run import Run


@dataclass(frozen=True)
class Asked:
    """Photos of a split whose product is for sale."""

    features: np.ndarray  # float32 (n, d), unit length
    products: np.ndarray  # int64 (n,)
    categories: np.ndarray  # str (n,), "" where unknown
    paths: tuple[str, ...]

    def first(self, n: int) -> Asked:
        """At most `n` of them, spread over all."""
        rows = np.unique(np.linspace(0, len(self.features) - 1, n).round().astype(int))
        paths = tuple(self.paths[row] for row in rows)
        return Asked(self.features[rows], self.products[rows], self.categories[rows], paths)


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


def index_task(run: Run, shop: Shop) -> IndexTask:
    """All catalogue images, and the photos that search them, as the served describer sees both.

    Catalogue images are seen whole, photos as the describer looks at them. Raises NotApplicable and
    InputError as `open_network`.
    """
    describer = open_describer(run, shop)
    net, size_px = describer.net, describer.image_px
    locator, locator_px = open_network(run, shop)
    dataset, cache, device = shop.dataset, run.artifacts / "images", pick_device()
    catalogue, queries = dataset.catalogue, shop.clicked_queries
    rests_on = {
        "backbones": backbones.VERSION,
        "backbone": BACKBONES.identity(net.architecture),
        "joint network": joint.VERSION,
        "extraction": extract.VERSION,
        "crops": crops.VERSION,
        "objectness": objectness.VERSION,
        **libraries("torch", "torchvision"),
    }
    known_by = key(
        rests_on,
        network=state_digest(net.state_dict()),
        locator=state_digest(locator.state_dict()),
        looks=[describer.look, describer.margin, size_px, locator_px],
        objectness=describer.localiser.digest if describer.localiser else "",
        device=repr(device),
    )
    folder = run.artifacts / "index" / f"features-{known_by}"

    def features_of(
        table: pd.DataFrame, name: str, boxes: np.ndarray | None, look: Look = describer.look
    ) -> np.ndarray:
        paths = table.path.tolist()
        if look == "both" and boxes is not None:
            views = (features_of(table, name, None), features_of(table, name, boxes, "crop"))
            return mean_features(*views)
        if look == "crop" and boxes is not None:
            around = with_margin(boxes, describer.margin)
            images, mask = load_crops(dataset.root, paths, around, size_px, cache), None
        else:
            images, mask = load_images(dataset.root, paths, size_px, cache), boxes
        place = folder / f"{name}-{_key(table.path, images)}"
        return np.asarray(describe_catalogue(net, images, device, place, boxes=mask).features)

    def boxes_of(table: pd.DataFrame) -> np.ndarray | None:
        if not describer.locates:
            return None
        paths = table.path.tolist()
        return describer.boxes(
            locator, locator_px, lambda px: load_images(dataset.root, paths, px, cache), device
        )

    codes = pd.factorize(pd.concat([queries.product_id, catalogue.product_id]))[0]
    asking, offered = np.split(codes.astype(np.int64), [len(queries)])
    before = (queries.split == "test") & queries.product_id.isin(catalogue.product_id)
    chosen = {split: rows_of(split, queries, shop.kept) for split in ("val", "test")}
    if not len(chosen["val"]):  # their products are not known: they still say what is asked
        chosen["val"] = np.flatnonzero(queries.split == "val")
    asked = {}
    for split, rows in (chosen | {"unselected": np.flatnonzero(before)}).items():
        photos = queries.iloc[rows]
        asked[split] = Asked(
            features_of(photos, "photos", boxes_of(photos)),
            asking[rows],
            photos.category.fillna("").to_numpy(str),
            tuple(photos.path),
        )
    return IndexTask(
        features_of(catalogue, "catalogue", None),
        offered,
        catalogue.category.to_numpy(str),
        shop.selection.kept.to_numpy(),
        shop.selection.group.to_numpy(np.int64),
        asked["val"],
        asked["test"],
        asked["unselected"],
    )


def _key(paths: pd.Series, images: np.ndarray) -> str:
    """Fingerprint of images, uint8 (n, S, S, 3), by their paths and pixels."""
    return key({}, paths=paths.tolist(), pixels=checksum(images))
