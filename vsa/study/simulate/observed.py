"""A shop as its owner has it: a folder with a click log, and no product known of any photo.

Clicks are simulated from the products of photos, which are then taken away from all photos but
those for testing. What is written is a folder that ``folder:PATH`` reads like anybody's: so the
way from an observed log to an engine can be gone, and compared with a run that knew the products.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from vsa.category.settings import ClassifierSettings
from vsa.data.schema import BOX, QUALITY, Dataset
from vsa.embedding.settings import EmbeddingSettings
from vsa.engine import VisualSearch
from vsa.learn import train
from vsa.metrics import identical_recall_at_k
from vsa.models.embedder import Embedder
from vsa.offline import build
from vsa.runtime.atomic import atomic_dir
from vsa.runtime.errors import InputError
from vsa.runtime.settings import setting_names
from vsa.study.settings import Settings
from vsa.trained import TrainedModels

_MARKER = "catalogue.csv"


def write_observed_shop(shop: Dataset, out: str | Path, *, hide: bool = True) -> Path:
    """Write a shop with its click log as a folder of tables and pictures, complete or not at all.

    Parameters
    ----------
    shop : with page views, such as `vsa.study.simulate.clicks.with_clicks` returns.
    out : the folder; one that was made like this is replaced. Pictures are hard links where the
        disk allows it, and copies elsewhere.
    hide : take away what train and val photos show, boxes too; test photos keep it, to be judged.

    Returns
    -------
    The folder, for ``vsa.load_dataset(f"folder:{out}")``.

    Raises
    ------
    InputError for a shop without page views, and for one whose pictures may not be copied.
    """
    if shop.pvlog is None:
        raise InputError(
            "the shop has no click log to write",
            cure="Simulate one first: vsa.study.simulate.clicks.with_clicks(shop)",
        )
    if not shop.may_show_pictures:
        raise InputError(
            f"pictures of {shop.name} may not be redistributed", cure="Take another data set"
        )
    catalogue, queries = shop.catalogue, shop.queries.copy()
    queries[BOX] = _pixels(shop)
    if hide:
        queries.loc[queries.split != "test", ["product_id", *BOX]] = None
    paths = {
        name: f"pictures/{name}" for name in pd.unique(pd.concat([catalogue.path, queries.path]))
    }
    id_to_path = {
        name: dict(zip(table[f"{name}_id"], table.path.map(paths), strict=True))
        for name, table in (("image", catalogue), ("query", queries))
    }
    with atomic_dir(Path(out), marker=_MARKER) as draft:
        for source, target in paths.items():
            _link(shop.root / source, draft / target)
        columns = ["product_id", "category", "leaf", "source", *QUALITY]
        shown = catalogue.assign(image_path=catalogue.path.map(paths))
        shown[["image_path", *columns]].to_csv(draft / _MARKER, index=False)
        asked = queries.assign(image_path=queries.path.map(paths))
        columns = ["image_path", "product_id", "category", *BOX, "split"]
        asked[columns].to_csv(draft / "queries.csv", index=False)
        pvlog = shop.pvlog.sort_values(["timestamp", "session_id", "rank"], kind="stable")
        pvlog = pvlog.assign(
            query_id=pvlog.query_id.map(id_to_path["query"]),
            image_id=pvlog.image_id.map(id_to_path["image"]),
            clicked=pvlog.clicked.astype(int),
        )
        columns = ["session_id", "query_id", "rank", "image_id", "clicked"]
        pvlog[columns].to_csv(draft / "pvlog.csv", index=False)
    return Path(out)


@dataclass(frozen=True)
class Searched:
    """How often an engine finds the product of test photos."""

    served: str  # the describer
    recall: dict[int, float]  # K → Identical Recall@K
    n_photos: int

    def __str__(self) -> str:
        told = ", ".join(f"Identical Recall@{k} {value:.3f}" for k, value in self.recall.items())
        return f"serves {self.served}; {told} (n = {self.n_photos})"


def learn_and_search(shop: Dataset, settings: Settings, *, seed: int = 0) -> Searched:
    """Train on a shop at a profile's sizes, build an engine, and search for its test photos."""
    of = settings.embedding
    changes = learning_settings(settings)
    model = train(
        shop, backbone=of.architecture, pretrained=of.pretrained, settings=changes, seed=seed
    )
    return build_and_search(shop, model)


def build_and_search(shop: Dataset, model: TrainedModels | Embedder) -> Searched:
    """Build an engine, and search for the test photos: the whole path, without re-ranking.

    Of an embedder it is the plain engine that a trained one has to beat.
    """
    with tempfile.TemporaryDirectory() as place:
        engine = VisualSearch.open(build(shop, model, Path(place) / "engine"))
        found = search_test_photos(engine, shop)
        engine.close()
    return found


def learning_settings(settings: Settings) -> dict[str, Any]:
    """What `vsa.train` is to differ in from its defaults, to learn as a run of these settings."""
    kinds = {"category": ClassifierSettings, "embedding": EmbeddingSettings}
    names = [f"{part}.{name}" for part, kind in kinds.items() for name in setting_names(kind)]
    given_apart = ("architecture", "pretrained")
    return {
        name: functools.reduce(getattr, name.split("."), settings)
        for name in names
        if name.rpartition(".")[2] not in given_apart
    }


def search_test_photos(
    engine: VisualSearch, shop: Dataset, ks: tuple[int, ...] = (1, 5, 20)
) -> Searched:
    """Identical Recall@K of an engine on the test photos whose product is for sale."""
    for_sale = shop.queries.product_id.isin(shop.catalogue.product_id)
    asked = shop.queries[for_sale & (shop.queries.split == "test")]
    answers = engine.search_batch([shop.root / path for path in asked.path], k=max(ks))
    found = np.full((len(asked), max(ks)), None, object)
    for row, answer in zip(found, answers, strict=True):
        products = answer.results.product_id.to_numpy()
        row[: len(products)] = products
    wanted = asked.product_id.to_numpy(object)
    codes, _ = pd.factorize(np.concatenate([wanted, found.ravel()]))  # −1: no result
    wanted_codes, found_codes = codes[: len(asked)], codes[len(asked) :].reshape(found.shape)
    recall = {
        k: float(identical_recall_at_k(found_codes, wanted_codes, k).mean()) if len(asked) else 0.0
        for k in ks
    }
    return Searched(engine.describer.name, recall, len(asked))


def _pixels(shop: Dataset) -> np.ndarray:
    """Boxes in pixels of the upright picture, (n, 4); NaN where none is known."""
    boxes = shop.queries[BOX].to_numpy(float).copy()
    for row in np.flatnonzero(np.isfinite(boxes).all(axis=1)):
        with Image.open(shop.root / shop.queries.path.iloc[row]) as picture:
            width, height = picture.size
            if picture.getexif().get(0x0112, 1) >= 5:  # turned by a quarter
                width, height = height, width
        boxes[row] *= [width, height, width, height]
    return boxes


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:  # another disk
        shutil.copyfile(source, target)
