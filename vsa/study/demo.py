"""A small engine to try things with: a rendered shop, and networks that were trained briefly.

It has every stage but re-ranking, which would need a log of purchases, and needs no ImageNet
weights. It shows how the parts work, not how well: its folder says what it finds.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from vsa.data.load import load_dataset
from vsa.engine import VisualSearch
from vsa.learn import train
from vsa.offline import build
from vsa.runtime.atomic import atomic_dir, require_replaceable, settled
from vsa.study.simulate.clicks import with_clicks

ENGINE, PICTURES, PHOTOS, FOUND = "engine", "pictures", "photos", "found.json"  # in its folder
MAX_BYTES = 10_000_000  # of the engine
_SHOP = {"n_products_per_category": 6, "image_px": 64}
_BACKBONE = "googlenet_3b"
_TRAINING = {
    "category.store_px": 54,
    "category.crop_px": 48,
    "category.n_steps": 120,
    "category.batch_size": 32,
    "embedding.image_px": 48,
    "embedding.feature_dim": 128,
    "embedding.n_triplets": 12,
    "embedding.n_steps": 60,
    "embedding.n_box_steps": [15, 15],
    "embedding.n_joint_steps": 15,
}
_NOTE = "trained for a minute on rendered pictures, to try things with; no result rests on it"


def make_demo(folder: Path) -> Path:
    """Render the shop, train, build, and ask the engine for all test photos; a minute or so.

    The folder, which replaces an earlier one, holds the engine, its pictures and the test photos;
    it may be copied elsewhere. Raises InputError for one that holds anything else.
    """
    require_replaceable(folder, FOUND)
    shop = with_clicks(load_dataset("synthetic", settings=_SHOP))
    model = train(shop, backbone=_BACKBONE, pretrained=False, joint_only=True, settings=_TRAINING)
    model = replace(model, notes=(*model.notes, _NOTE))
    photos = shop.queries[shop.queries.split == "test"]
    photos = photos[photos.product_id.isin(shop.catalogue.product_id)]
    with atomic_dir(folder, marker=FOUND, manifest=False) as draft:
        for path in shop.catalogue.path:
            _copy(shop.root / path, draft / PICTURES / path)
        for path in photos.path:
            _copy(shop.root / path, draft / PHOTOS / Path(path).name)
        build(shop, model, draft / ENGINE)
        with VisualSearch.open(draft / ENGINE) as engine:
            found = _ask(engine, photos, draft / PHOTOS)
        (draft / FOUND).write_text(json.dumps(found, indent=1), encoding="utf-8")
    return folder


def open_demo(folder: Path) -> VisualSearch:
    """The engine of a folder that `make_demo` made, wherever it was copied to."""
    folder = settled(folder)
    return VisualSearch.open(folder / ENGINE, root=folder / PICTURES)


def is_demo(folder: Path) -> bool:
    """Whether `make_demo` made this folder."""
    return (settled(folder) / FOUND).is_file()


def quality(folder: Path) -> dict[str, float]:
    """What the engine found of its test photos: n, and shares of them."""
    return dict(json.loads((settled(folder) / FOUND).read_text(encoding="utf-8")))


def _copy(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, target)


def _ask(engine: VisualSearch, photos: pd.DataFrame, place: Path) -> dict[str, float]:
    first, twentieth, category = [], [], []
    for row in photos.itertuples(index=False):
        answer = engine.search(place / Path(row.path).name, 20)
        products = answer.results.product_id.tolist()
        first.append(row.product_id in products[:1])
        twentieth.append(row.product_id in products)
        category.append(answer.category is not None and answer.category.category == row.category)
    shares = {
        "first result is the product": first,
        "product is among 20 results": twentieth,
        "category is right": category,
    }
    return {"photos": len(photos)} | {name: float(np.mean(of)) for name, of in shares.items()}
