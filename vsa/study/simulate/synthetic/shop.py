"""The shop: which pictures each product has, who lists it, how it sells; and their rendering."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from joblib import cpu_count

from vsa.data.schema import BOX
from vsa.runtime.progress import progress
from vsa.runtime.seeds import generator
from vsa.runtime.workers import end_with_parent, without_main
from vsa.study.simulate.signals import draw_listing
from vsa.study.simulate.synthetic.families import make_products
from vsa.study.simulate.synthetic.photos import Shot, main_shot, real_shot, relisting, sku_shot
from vsa.study.simulate.synthetic.png import save_png
from vsa.study.simulate.synthetic.products import LEAVES, Product

N_QUERIES = 3  # real shots per product
DISTRACTOR_ODDS = (0.45, 0.33, 0.15, 0.07)  # of 0, 1, 2, 3 other products in the picture
RELISTING_EXPONENT = 2.0  # further listings of a product: P(n) ∝ (n + 1) ** −2, n ≤ 12; mean ≈ 1
MAX_RELISTINGS = 12
EXACT_SHARE = 0.15  # of the further listings: the very same file
REVIEW_STRENGTH = 0.7  # shoppers' reviews are milder than queries
CATALOGUE_DIR, QUERIES_DIR = "catalogue", "queries"

# Median price by category, in the shop's currency.
PRICES = {
    "shirt": 90.0, "dress": 160.0, "pants": 120.0, "bags": 220.0, "shoes": 240.0,
    "accessories": 110.0, "snacks": 18.0, "cosmetics": 85.0, "beverages": 14.0,
    "furniture": 650.0, "toys": 60.0, "underdress": 45.0, "digital": 1400.0, "others": 35.0,
}  # fmt: skip

Row = dict[str, Any]
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Rendered:
    """The rows of one product, in the order of the tables."""

    catalogue: list[Row]
    queries: list[Row]


def render_shop(
    n_per_category: int, image_px: int, seed: int, folder: Path, n_workers: int | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Render every picture into `folder`; return the catalogue and the queries tables.

    The result is the same, byte for byte, for any number of workers.
    """
    (folder / CATALOGUE_DIR).mkdir()
    (folder / QUERIES_DIR).mkdir()
    catalogue: list[Row] = []
    queries: list[Row] = []
    done = _render_all(n_per_category, image_px, seed, folder, n_workers or cpu_count())
    for rendered in progress(done, "rendering the shop", n_per_category * len(LEAVES)):
        catalogue += rendered.catalogue
        queries += rendered.queries
    return pd.DataFrame(catalogue), pd.DataFrame(queries)


def redraw_queries(
    n_per_category: int,
    image_px: int,
    seed: int,
    query_ids: Sequence[str],
    share: float,
    drawn_by: int,
    folder: Path,
) -> np.ndarray:
    """Draw photos of a shop once more, with objects of another size; their boxes, float32 (n, 4).

    Parameters
    ----------
    n_per_category, image_px, seed : of the shop, which stays as it is.
    share : of the picture, as of `photos.real_shot`.
    drawn_by : seed of the drawing; with that of the shop all else in a photo stays the same.
    folder : where photos go, as ``<query_id>.png``.
    """
    products = _products(n_per_category, seed)
    known = {product.product_id: product for product in products}
    boxes = []
    for query_id in progress(query_ids, "drawing photos again", len(query_ids)):
        product_id, _, number = query_id.rpartition("-")
        product = known[f"p{product_id.removeprefix('q')}"]
        rng = generator(drawn_by, "picture", product.product_id, "query", int(number))
        shot = _photo(product, products, image_px, rng, 1.0, share)
        save_png(shot.image, folder / f"{query_id}.png")
        boxes.append(shot.box)
    return np.array(boxes, np.float32)


@cache
def _products(n_per_category: int, seed: int) -> list[Product]:
    """The shop's products, for who draws them several times."""
    return make_products(n_per_category, seed)


def _render_all(
    n_per_category: int, image_px: int, seed: int, folder: Path, n_workers: int
) -> Iterator[Rendered]:
    work = partial(render_product, image_px=image_px, seed=seed, folder=folder)
    if n_workers == 1:
        products = make_products(n_per_category, seed)
        yield from (work(product, products) for product in products)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_workers, context, end_with_parent) as pool:

        def each(work: Callable[[T], R], things: Iterable[T], chunksize: int = 1) -> Iterator[R]:
            with without_main():  # this starts workers
                return pool.map(work, things, chunksize=chunksize)

        products = make_products(n_per_category, seed, each)
        with NamedTemporaryFile(prefix="vsa-products-") as shared:
            pickle.dump(products, shared)
            shared.flush()
            draw = partial(_render_shared, Path(shared.name), work)
            yield from each(draw, range(len(products)), chunksize=8)


def _render_shared(
    file: Path, work: Callable[[Product, list[Product]], Rendered], index: int
) -> Rendered:
    products = _read_products(file)
    return work(products[index], products)


@cache
def _read_products(file: Path) -> list[Product]:
    """The shop's products, once in each worker: distractors may be any of them."""
    products: list[Product] = pickle.loads(file.read_bytes())
    return products


def render_product(
    product: Product, products: list[Product], image_px: int, seed: int, folder: Path
) -> Rendered:
    """Draw and save all pictures of one of the shop's `products`, any of which may be in them."""
    plan = generator(seed, "plan", product.product_id)
    quality = plan.normal()
    rows: list[Row] = []

    def save(shot: Shot, kind: str, number: int, listing: Row) -> Path:
        image_id = f"{product.product_id}-{kind}{number}"
        path = folder / CATALOGUE_DIR / f"{image_id}.png"
        save_png(shot.image, path)
        row: Row = {"image_id": image_id, "product_id": product.product_id}
        row |= {"category": product.category, "leaf": product.leaf, "source": kind}
        row |= {"path": f"{CATALOGUE_DIR}/{path.name}", **listing}
        rows.append({**row, **dict(zip(BOX, shot.box, strict=True))})
        return path

    def rng(kind: str, number: int) -> np.random.Generator:
        return generator(seed, "picture", product.product_id, kind, number)

    photo = partial(_photo, product, products, image_px)
    price = PRICES[product.category] * np.exp(plan.normal(0.1 * quality, 0.5))
    own = draw_listing(price, quality, plan)
    main = main_shot(product, image_px, rng("main", 0))
    first = save(main, "main", 0, own)
    for i in range(1 + int(plan.random() < 0.4)):
        save(sku_shot(product, image_px, rng("sku", i)), "sku", i, own)
    for i in range(int(plan.integers(0, 3))):
        save(photo(rng("review", i), REVIEW_STRENGTH), "review", i, own)
    n_more = min(int(plan.zipf(RELISTING_EXPONENT)) - 1, MAX_RELISTINGS)
    for i in range(1, n_more + 1):
        listing = draw_listing(price * np.exp(plan.normal(0, 0.12)), quality, plan)
        if plan.random() < EXACT_SHARE:
            shutil.copyfile(first, save(main, "main", i, listing))
        else:
            save(relisting(main, rng("main", i)), "main", i, listing)
    queries = [_query(product, i, photo(rng("query", i), 1.0), folder) for i in range(N_QUERIES)]
    return Rendered(rows, queries)


def _query(product: Product, number: int, shot: Shot, folder: Path) -> Row:
    query_id = f"q{product.product_id.removeprefix('p')}-{number}"
    path = f"{QUERIES_DIR}/{query_id}.png"
    save_png(shot.image, folder / path)
    row: Row = {"query_id": query_id, "path": path, "product_id": product.product_id}
    row |= {"category": product.category, "split": product.split}
    return {**row, **dict(zip(BOX, shot.box, strict=True))}


def _photo(
    product: Product,
    products: list[Product],
    image_px: int,
    rng: np.random.Generator,
    strength: float,
    share: float | None = None,
) -> Shot:
    n_around = int(rng.choice(len(DISTRACTOR_ODDS), p=DISTRACTOR_ODDS))
    around = [products[i] for i in rng.integers(0, len(products), n_around)]
    return real_shot(product, around, image_px, rng, strength, share)
