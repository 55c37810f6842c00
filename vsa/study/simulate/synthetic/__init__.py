"""The embedded default data set: a procedurally rendered shop of the paper's 14 categories."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from vsa.data.schema import CATALOGUE, QUERIES, Dataset, check
from vsa.runtime.atomic import atomic_dir
from vsa.runtime.fingerprint import key
from vsa.runtime.paths import artifacts_dir
from vsa.study.simulate import signals
from vsa.study.simulate.settings import SyntheticSize
from vsa.study.simulate.synthetic import shop
from vsa.study.simulate.synthetic.datasheet import DATASHEET

__all__ = ["DATASHEET", "load_synthetic", "redraw"]

_BOXES = "boxes.npy"
VERSION = 1  # raise it when a picture or a table of the shop comes out otherwise
SIMULATED = (
    "every picture, studio or real shot, is drawn by a program",
    "products, their families and their identities are made up",
    "duplicate listings follow a chosen law",
    "sales, conversion, applause and price are drawn from a chosen model, whatever the appearance",
)


def load_synthetic(size: SyntheticSize, seed: int) -> Dataset:
    """The synthetic shop of that size, rendered on first use and read from disk afterwards.

    It lies in ``artifacts/synthetic/<key>``; the key covers the size, the seed and the versions of
    what draws it.
    """
    versions = {"synthetic shop": VERSION, "quality signals": signals.VERSION}
    name = key(versions, size=size, seed=seed)
    root = artifacts_dir() / "synthetic" / name
    if not root.exists():
        with atomic_dir(root) as draft:
            tables = shop.render_shop(size.n_products_per_category, size.image_px, seed, draft)
            for table, file in zip(tables, ("catalogue", "queries"), strict=True):
                table.to_parquet(draft / f"{file}.parquet", index=False)
    catalogue, queries = root / "catalogue.parquet", root / "queries.parquet"
    return Dataset(
        name="synthetic",
        root=root,
        catalogue=check(pd.read_parquet(catalogue), CATALOGUE, catalogue),
        queries=check(pd.read_parquet(queries), QUERIES, queries),
        title="Synthetic shop",
        source="drawn by vsa.study.simulate.synthetic",
        licence="Apache-2.0, as the code that draws it",
        datasheet=DATASHEET,
        simulated=SIMULATED,
    )


def redraw(
    size: SyntheticSize, seed: int, query_ids: Sequence[str], share: float, drawn_by: int
) -> tuple[Path, list[str], np.ndarray]:
    """Photos of a rendered shop, drawn once more with objects of another share of the picture.

    Drawn on first use and read from disk afterwards, beside the shop. Returns the folder, the files
    in it in the order of the ids, and the boxes, float32 (n, 4); parameters as of
    `shop.redraw_queries`.
    """
    asked = {"query_ids": list(query_ids), "share": share, "drawn_by": drawn_by}
    name = key({"synthetic shop": VERSION}, size=size, seed=seed, **asked)
    root = artifacts_dir() / "synthetic" / f"redrawn-{name}"
    if not root.exists():
        with atomic_dir(root) as draft:
            shape = size.n_products_per_category, size.image_px, seed
            boxes = shop.redraw_queries(*shape, query_ids, share, drawn_by, draft)
            np.save(draft / _BOXES, boxes)
    return root, [f"{query_id}.png" for query_id in query_ids], np.load(root / _BOXES)
