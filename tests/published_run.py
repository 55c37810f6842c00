"""A run with results and published jobs that nobody trained."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from vsa.data.schema import BOX
from vsa.study.embedding.jobs import Job, Judged
from vsa.study.embedding.published import CATALOGUE, QUERIES, pack, path_of, tables_digest
from vsa.study.ledger.bootstrap import Interval, mean_interval
from vsa.study.ledger.claims import judge
from vsa.study.ledger.ledger import Ledger
from vsa.study.run import Run, make_run

SECTION = "03_click_mined_training"
N_PRODUCTS, N_IMAGES = 20, 70


@dataclasses.dataclass(frozen=True)
class Made:
    """What was made up, to compare with what is read."""

    run: Run
    queries: pd.DataFrame
    catalogue: pd.DataFrame
    judged: dict[tuple[str, int], Judged]  # (variant, seed) → of the test queries


def make_published_run(
    profile: str = "smoke",
    dataset: str = "synthetic",
    variants: tuple[str, ...] = ("clicks",),
    seeds: tuple[int, ...] = (0, 1),
    skill: float = 0.0,
    data: str = "photos",
    overrides: str = "",
) -> Made:
    """A run whose methods find the product more often the larger `skill` is.

    Methods of runs with equal `data` have the same queries, which are hard for all of them or
    easy for all.
    """
    run = make_run(dataset, profile, 0, overrides)
    folder = run.reports / "jobs"
    folder.mkdir(parents=True)
    queries, catalogue = _tables()
    queries.to_parquet(folder / QUERIES)
    catalogue.to_parquet(folder / CATALOGUE)
    facts = {
        "format": 1,
        "key": "0123456789ab",
        "data": {"queries": data, "tables": tables_digest(queries, catalogue)},
    }
    judged = {}
    for variant in variants:
        for seed in seeds:
            one = {split: _judged(queries, catalogue, split, seed, skill) for split in SPLITS}
            job = Job(variant, seed, one, pd.DataFrame(), {}, CARD, None)
            content = pack(job, facts | {"variant": variant, "seed": seed})
            path_of(folder, variant, seed).write_bytes(content)
            judged[variant, seed] = one["test"]
    made = Made(run, queries, catalogue, judged)
    _write_records(made, variants, seeds)
    return made


SPLITS = ("val", "test")
CARD = {"trouble": [], "seconds": 12.0, "steps": 6}


def _tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    products = np.arange(N_PRODUCTS).repeat(5)
    queries = pd.DataFrame(
        {
            "query_id": [f"q{i}" for i in range(len(products))],
            "product_id": [f"p{i}" for i in products],
            "category": "bags",
            "split": np.where(products < 5, "val", "test"),
        }
    )
    queries[BOX] = [0.2, 0.2, 0.8, 0.8]
    offered = np.arange(N_IMAGES) % N_PRODUCTS
    catalogue = pd.DataFrame({"image_id": [f"i{i}" for i in range(N_IMAGES)]})
    catalogue = catalogue.assign(product_id=[f"p{i}" for i in offered], category="bags")
    return queries, catalogue


def _judged(
    queries: pd.DataFrame, catalogue: pd.DataFrame, split: str, seed: int, skill: float
) -> Judged:
    """Rankings by a noisy score, the noise the same for whoever asks the same query."""
    wanted = queries.product_id[queries.split == split].to_numpy()
    offered = catalogue.product_id.to_numpy()
    noise = np.random.default_rng([7, seed]).standard_normal((len(wanted), len(offered)))
    scores = noise + skill * (offered == wanted[:, None])
    ranks = np.argsort(-scores, axis=1)[:, :60]
    hits = offered[ranks] == wanted[:, None]
    boxes = np.tile(np.float32([0.2, 0.2, 0.8, 0.8 - 0.1 * seed]), (len(wanted), 1))
    return Judged(hits, hits, boxes, ranks)


def _write_records(made: Made, variants: tuple[str, ...], seeds: tuple[int, ...]) -> None:
    ledger = Ledger.open(made.run, SECTION)
    for variant in variants:
        for k in (1, 20):
            recall = np.stack([made.judged[variant, s].hits[:, :k].any(axis=1) for s in seeds])
            found = mean_interval(recall.astype(float), 50, 0)
            ledger.record("features", variant, f"Identical Recall@{k}", found, seeds=seeds)
    ledger.record("speed", "joint, one pass", "latency", 3.0)
    effect = Interval(0.1, 0.05, 0.2, 50)
    ledger.claim(judge("C2", effect, "Identical Recall@1"))
    ledger.save()
