"""What the study draws, and how it searches: shop, signals, clicks, shoppers, growth, indexes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from golden.methods import EXACT, NETWORK, Numbers, method, uniform, unit
from PIL import Image

from vsa.index import codec
from vsa.index import index as binary_index
from vsa.index.build import build_index
from vsa.study.embedding import retrieval
from vsa.study.index import benchmark
from vsa.study.simulate import clicks, growth, shoppers, signals, synthetic
from vsa.study.simulate.settings import ClickSettings
from vsa.study.simulate.synthetic.shop import render_shop


@method("synthetic shop", synthetic, NETWORK)
def shop() -> Numbers:
    with tempfile.TemporaryDirectory() as folder:
        catalogue, queries = render_shop(1, 32, 0, Path(folder), n_workers=1)
        means = [
            np.asarray(Image.open(Path(folder, path)), np.float64).mean(axis=(0, 1))
            for path in [*catalogue.path, *queries.path]
        ]
    sides = ["x_left", "y_top", "x_right", "y_bottom"]
    boxes = [column for column in queries if queries[column].dtype.kind == "f"] or sides
    return {
        "pictures": np.array(means),
        "images": catalogue.image_id.tolist(),
        "leaves": catalogue.leaf.tolist(),
        "sales": catalogue.sales.to_numpy(float),
        "price": catalogue.price.to_numpy(float),
        "boxes": queries[boxes].to_numpy(float),
    }


def _tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    queries = pd.DataFrame(
        {
            "query_id": [f"q{i}" for i in range(4)],
            "product_id": [f"p{i}" for i in range(4)],
            "category": ["a", "b", "a", "b"],
        }
    )
    catalogue = pd.DataFrame(
        {
            "image_id": [f"i{i}" for i in range(16)],
            "product_id": [f"p{i % 5}" for i in range(16)],
            "category": ["a", "b"] * 8,
        }
    )
    return queries, catalogue


@method("quality signals", signals, NETWORK)
def drawn_signals() -> Numbers:
    return {"signals": signals.simulate_signals(_tables()[1], 0).to_numpy()}


@method("clicks", clicks, EXACT)
def clicked() -> Numbers:
    settings = ClickSettings(
        n_results=6,
        n_sessions_per_query=3,
        position_bias=0.5,
        noise_click_rate=0.1,
        max_clicks=2,
    )
    log = clicks.simulate_pvlog(*_tables(), unit(4, 5), unit(16, 5, seed=1), settings, 0)
    return {"images": log.image_id.tolist(), "clicked": log.clicked.to_numpy().astype(int)}


@method("shoppers", shoppers, NETWORK)
def bought() -> Numbers:
    quality = pd.DataFrame(np.abs(uniform(8, 4)), columns=shoppers.QUALITY)
    appeal = shoppers.appeal(quality, np.array(["a", "b"] * 4))
    log_odds = appeal + shoppers.unobserved(8, 0)
    p = shoppers.purchase_probability(np.arange(8)[None] % 4, log_odds[None])
    seen, bought = shoppers.simulate_sessions(p, 50, np.random.default_rng(0))
    return {"p": p, "conversion": shoppers.conversion_rate(p), "seen": seen, "bought": bought}


@method("growth", growth, NETWORK)
def grown() -> Numbers:
    source = growth.make_growth(unit(40, 6), np.array(["a", "b"] * 20), 0)
    features, categories = source.draw(1, 20)
    return {"features": features.astype(np.float32), "categories": categories.tolist()}


@method("retrieval", retrieval, EXACT)
def retrieved() -> Numbers:
    found = retrieval.rank(unit(3, 6), unit(30, 6, seed=1), np.arange(3), np.arange(30) % 2)
    return {"everywhere": found.everywhere, "within": found.within}


@method("codecs", codec, NETWORK)
def codes() -> Numbers:
    features = unit(80, 16)
    rotation = codec.random_rotation(features, 32, 0)
    itq = codec.itq(features, 16, 0)
    return {
        "rotation": rotation.weight[:4],
        "codes by rotation": rotation.encode(features[:8]),
        "ITQ": itq.weight @ itq.weight.T,  # which of its optima is found depends on the machine
    }


@method("binary index", binary_index, NETWORK)
def found_by_index() -> Numbers:
    features, asked = unit(200, 16), unit(4, 16, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        build_index(Path(folder, "index"), features, categories=["a", "b"] * 100, seed=0)
        with binary_index.Index.open(Path(folder, "index")) as index:
            scores, ids = index.search(asked, 5)
            _, within = index.search(asked, 5, categories=["b"])
    return {"scores": scores, "ids": ids, "ids within": within}


@method("comparison of indexes", benchmark, EXACT)
def compared() -> Numbers:
    features, asked = unit(120, 16), unit(3, 16, seed=1)
    by_float, overlap = benchmark.float_ranking(asked, features)
    by_code, _ = benchmark.codec_ranking(codec.random_rotation(features, 32, 0), asked, features)
    return {"by feature": by_float[:, :20], "by code": np.sort(by_code)[:, :20], "overlap": overlap}
