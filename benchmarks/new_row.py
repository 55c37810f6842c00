"""Seconds until a new catalogue row can be found: engine.add, and vsa.build from kept features.

    python benchmarks/new_row.py

The shop is rendered, of 1,000 pictures; models are trained for a few steps only, since only the
networks' size decides what these paths cost. Nothing is trained for the new row.
"""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import vsa
from vsa.engine import Stages
from vsa.study.simulate.clicks import with_clicks

N_PICTURES = 1000
STEPS = {  # and pictures as large as those of the laptop profile
    "category.store_px": 112,
    "category.crop_px": 96,
    "category.batch_size": 32,
    "embedding.image_px": 96,
    "embedding.n_triplets": 16,
    "category.n_steps": 10,
    "embedding.n_steps": 3,
    "embedding.n_box_steps": [2, 2],
    "embedding.n_joint_steps": 2,
    "embedding.n_adapt_steps": 16,
}


def timed(what: str, call: Callable[[], object]) -> None:
    started = time.perf_counter()
    call()
    print(f"{what}: {time.perf_counter() - started:.1f} s", flush=True)


def main() -> None:
    whole = vsa.load_dataset("synthetic", settings={"n_products_per_category": 30})
    shop = dataclasses.replace(whole, catalogue=whole.catalogue.head(N_PICTURES))
    shop = with_clicks(shop)
    grown = dataclasses.replace(shop, catalogue=whole.catalogue.head(N_PICTURES + 1))
    row = whole.catalogue.iloc[[N_PICTURES]]
    with TemporaryDirectory() as place:
        models, engine, kept = (Path(place) / name for name in ("models", "engine", "features"))
        options = {"selection": None, "cache": kept}
        print(f"{len(shop.catalogue)} pictures of {shop.catalogue.product_id.nunique()} products")
        timed("vsa.train, a few steps", lambda: train(shop).save(models))
        timed("vsa.build, the first time", lambda: build(shop, models, engine, options))
        opened = vsa.VisualSearch.open(engine)
        timed("engine.add, one row", lambda: opened.add(row))
        found = opened.search(shop.root / row.path.iloc[0], stages=Stages(category=False))
        assert row.image_id.iloc[0] in found.results.image_id.tolist()
        opened.close()
        timed("vsa.build, one row more", lambda: build(grown, models, engine, options))


def train(shop: vsa.Dataset) -> vsa.TrainedModels:
    return vsa.train(shop, backbone="mobilenet_v2", settings=STEPS)


def build(shop: vsa.Dataset, models: Path, engine: Path, options: dict) -> Path:
    return vsa.build(shop, vsa.TrainedModels.open(models), engine, **options)


if __name__ == "__main__":
    main()
