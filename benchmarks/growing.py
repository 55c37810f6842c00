"""What an engine costs that grows while it serves: opening, adding, searching meanwhile.

    python benchmarks/growing.py --items 1000000

Pictures are rendered; models are trained for a few steps, since only the networks' size decides
what these paths cost. The other items are random features, with prints that selection compares.
Figures go to ``reports/benchmarks.json``.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from record import record

import vsa
from vsa.category.selection import Prints
from vsa.category.settings import USUAL_SELECTION
from vsa.offline import write_engine
from vsa.study.simulate.clicks import with_clicks

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
}
N_ADDED = 1000  # at once
N_ASKED = 200  # photos, idle and while rows join


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=100_000)
    n_items = parser.parse_args().items
    shop = with_clicks(vsa.load_dataset("synthetic", settings={"n_products_per_category": 30}))
    model = vsa.train(shop, backbone="googlenet", pretrained=False, joint_only=True, settings=STEPS)
    with TemporaryDirectory() as place:
        folder = Path(place) / "engine"
        grow(shop, model, folder, n_items)
        found = measure(shop, folder)
    for name, value in found.items():
        print(f"{name}: {value}")
    record(found, "growing")


def grow(shop: vsa.Dataset, model: vsa.TrainedModels, folder: Path, n_items: int) -> None:
    """An engine of so many items, none of which is a picture."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((n_items, model.network.dim), np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    donors = shop.catalogue.iloc[rng.integers(0, len(shop.catalogue), n_items)]
    prints = Prints(
        np.ones(n_items, np.float32),
        np.ones(n_items, np.float32),
        rng.integers(0, 256, (n_items, 16), np.uint8),
        rng.integers(0, 256, (n_items, 8), np.uint8),
        np.zeros((n_items, 320), np.float16),
    )
    write_engine(
        folder,
        model,
        features.astype(np.float16),
        donors.assign(image_id=[f"item-{number}" for number in range(n_items)]),
        shop.root,
        validation=features[:50],
        selection=USUAL_SELECTION,
        prints=prints,
    )


def measure(shop: vsa.Dataset, folder: Path) -> dict[str, float]:
    """Times, each of them the median of several where it can be."""
    vsa.VisualSearch.open(folder).close()  # so that files are in memory
    opening = [timed(lambda: vsa.VisualSearch.open(folder).close()) for _ in range(3)]
    rows = shop.catalogue.drop_duplicates("path")
    photos = [shop.root / path for path in shop.queries.path[:N_ASKED]]
    with vsa.VisualSearch.open(folder) as engine:
        n_items = len(engine.index)
        adding = [
            timed(lambda row=row: engine.add(rows.iloc[[row]], select=False)) for row in range(20)
        ]
        idle = [timed(lambda photo=photo: engine.search(photo)) for photo in photos]
        many = rows.iloc[20 : 20 + N_ADDED]
        busy, seconds = while_adding(engine, many, photos)
    p95 = [1e3 * float(np.percentile(times, 95)) for times in (idle, busy)]
    found = {
        "pictures": n_items,
        "opening, warm, s": float(np.median(opening)),
        "add of one picture, median ms": 1e3 * float(np.median(adding)),
        f"added per second, {len(many)} at once": len(many) / seconds,
        "search p95 idle, ms": p95[0],
        "search p95 while rows join, ms": p95[1],
        "their ratio": p95[1] / p95[0],
        "searches while rows joined": len(busy),
    }
    return {name: round(value, 2) for name, value in found.items()}


def while_adding(
    engine: vsa.VisualSearch, many: pd.DataFrame, photos: list[Path]
) -> tuple[list[float], float]:
    """Seconds of each search while many rows join, and of their joining."""
    spent: list[float] = []
    adder = threading.Thread(
        target=lambda: spent.append(timed(lambda: engine.add(many, select=False)))
    )
    adder.start()
    times = []
    while adder.is_alive():
        photo = photos[len(times) % len(photos)]
        times.append(timed(lambda photo=photo: engine.search(photo)))
    adder.join()
    return times, spent[0]


def timed(call: Callable[[], object]) -> float:
    """Seconds of a call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
