"""Data set → catalogue → selection, and the click log that training learns from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from vsa.category.selection import select
from vsa.data import descriptors
from vsa.data.descriptors import DESCRIPTOR_PX, weak_features
from vsa.data.images import load_images
from vsa.data.load import load_dataset
from vsa.data.schema import PVLOG, QUALITY, Dataset, check
from vsa.runtime.atomic import atomic_dir, atomic_file
from vsa.runtime.checked import check_manifest
from vsa.runtime.errors import InputError
from vsa.runtime.fingerprint import checksum, key
from vsa.study.predecessors import leave, made_by
from vsa.study.run import Run
from vsa.study.simulate.clicks import simulate_pvlog


@dataclass(frozen=True)
class Shop:
    """A data set after the offline stages that notebook 01 shows."""

    dataset: Dataset
    selection: pd.DataFrame  # one row per catalogue image: kept or why not (vsa.category.selection)
    pvlog: pd.DataFrame | None  # page views and clicks; None where products are not known
    pvlog_is_simulated: bool

    @property
    def has_quality(self) -> bool:
        """Whether listings carry sales, rates or prices."""
        return bool(self.dataset.catalogue[QUALITY].notna().any(axis=None))

    @cached_property
    def known_queries(self) -> pd.DataFrame:
        """The queries whose product is known."""
        return self.dataset.queries.dropna(subset="product_id").reset_index(drop=True)

    @cached_property
    def clicked_queries(self) -> pd.DataFrame:
        """The queries that click-mined training uses: those whose product is known.

        And where clicks were observed, all that are not for testing: a click tells what it needs.
        """
        queries = self.dataset.queries
        chosen = queries.product_id.notna()
        if self.pvlog is not None and not self.pvlog_is_simulated:
            chosen |= queries.split != "test"
        return queries[chosen].reset_index(drop=True)

    @cached_property
    def kept(self) -> pd.DataFrame:
        """The catalogue rows that selection kept."""
        ids = self.selection.image_id[self.selection.kept]
        return self.dataset.catalogue[self.dataset.catalogue.image_id.isin(ids)].reset_index(
            drop=True
        )


def descriptor_images(run: Run, dataset: Dataset, table: pd.DataFrame) -> np.ndarray:
    """Images of a table's rows, uint8 (n, 64, 64, 3), from the run's image store."""
    cache = run.artifacts / "images"
    return load_images(dataset.root, table.path.tolist(), DESCRIPTOR_PX, cache)


def weak_descriptors(run: Run, dataset: Dataset, table: pd.DataFrame) -> np.ndarray:
    """The weak baseline engine's features of a table's images, float32 (n, d); computed once."""
    images = descriptor_images(run, dataset, table)
    name = key({"descriptors": descriptors.VERSION}, images=checksum(images))
    target = run.artifacts / "images" / f"weak-features-{name}.npy"
    if not target.exists():
        with atomic_file(target) as draft:
            np.save(draft, weak_features(images))
    return np.load(target, mmap_mode="r")


def prepare_shop(run: Run) -> Shop:
    """Load the data set, select catalogue images, obtain the click log, and store the tables.

    Tables go to ``artifacts/<run>/tables``; `open_shop` reads them back.
    """
    run.begin()
    dataset = load_dataset(run.dataset, seed=run.seed, settings=run.settings.data)
    features = weak_descriptors(run, dataset, dataset.catalogue)
    selection = select(
        dataset.catalogue,
        descriptor_images(run, dataset, dataset.catalogue),
        features,
        run.settings.selection,
    )
    pvlog, is_simulated = dataset.pvlog, False
    if pvlog is None and dataset.has_identities:
        is_simulated = True
        queries = dataset.queries.dropna(subset="product_id")
        kept = selection.kept.to_numpy()
        pvlog = simulate_pvlog(
            queries,
            dataset.catalogue[kept],
            weak_descriptors(run, dataset, queries),
            features[kept],
            run.settings.clicks,
            run.seed,
        )
    with atomic_dir(run.artifacts / "tables") as draft:
        dataset.catalogue.to_parquet(draft / "catalogue.parquet")
        dataset.queries.to_parquet(draft / "queries.parquet")
        dataset.rejected.to_parquet(draft / "rejected.parquet")
        selection.to_parquet(draft / "selection.parquet")
        if pvlog is not None:
            name = "pvlog-simulated" if is_simulated else "pvlog"
            check(pvlog, PVLOG, "pvlog").to_parquet(draft / f"{name}.parquet")
    leave(run, run.artifacts / "tables")
    return Shop(dataset, selection, pvlog, is_simulated)


def open_shop(run: Run) -> Shop:
    """What `prepare_shop` stored.

    Raises InputError if notebook 01 has not run on these tables, or if a file of it is damaged.
    """
    tables = made_by("01_catalogue", run, run.artifacts / "tables")
    check_manifest(tables)
    dataset = load_dataset(run.dataset, seed=run.seed, settings=run.settings.data)
    selection = pd.read_parquet(tables / "selection.parquet")
    stored = [pd.read_parquet(tables / f"{name}.parquet") for name in ("catalogue", "queries")]
    if not all(map(_are_equal, stored, (dataset.catalogue, dataset.queries))):
        raise InputError(
            "the catalogue is not the one that was prepared",
            cure="Run notebook 01_catalogue again",
            file=tables,
        )
    simulated, observed = tables / "pvlog-simulated.parquet", tables / "pvlog.parquet"
    is_simulated = simulated.is_file()
    path = simulated if is_simulated else observed
    pvlog = pd.read_parquet(path) if path.is_file() else None
    return Shop(dataset, selection, pvlog, is_simulated)


def _are_equal(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    return first.astype(str).equals(second.astype(str))
