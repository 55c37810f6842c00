"""The experiments of notebook 06: the engine of a run, taken apart, timed and grown."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from vsa.category.predictor import CategoryPrediction
from vsa.category.selection import Prints
from vsa.category.settings import SelectionSettings
from vsa.data.images import load_images
from vsa.embedding.describer import Describer, describe_photos
from vsa.embedding.extract import FULL_BOX
from vsa.engine import ALL_STAGES, PAGE, Stages, VisualSearch, likely_categories
from vsa.offline import prints_of, write_engine
from vsa.runtime.device import pick_device
from vsa.runtime.fingerprint import state_digest
from vsa.runtime.seeds import generator
from vsa.study.catalogue.prepare import Shop
from vsa.study.end_to_end.naive import NaivePipeline
from vsa.study.end_to_end.run_engine import engine_folder, parts_of
from vsa.study.index.prepare import IndexTask
from vsa.study.predecessors import leave
from vsa.study.run import Run
from vsa.study.simulate.growth import make_growth
from vsa.study.simulate.signals import simulate_signals
from vsa.trained import TrainedModels

K = PAGE
WHOLE, CEILING, UNSELECTED = "whole path", "full float search", "no selection"
LEFT_OUT = {
    "no category": Stages(category=False),
    "no box": Stages(box=False),
    "no refined rank": Stages(refine=False),
    "no re-rank": Stages(rerank=False),
}
ALL = "all stages"
_N_WARMUP = 5
FUNNEL = (
    "for sale",
    "in a searched category",
    "in a visited list",
    "among the candidates",
    "in the first 60 by feature",
    "in the first 20 by feature",
    "in the first 20 after re-ranking",
    "first after re-ranking",
)


@dataclass(frozen=True)
class Photos:
    """Test photos whose product is for sale, and what the engine's networks say of them."""

    paths: list[Path]
    products: np.ndarray  # int64 (n,)
    categories: np.ndarray  # str (n,), the true ones
    predictions: list[CategoryPrediction]
    in_box: np.ndarray  # float32 (n, d), features of the learned box
    whole: np.ndarray  # float32 (n, d), features of the whole photo
    boxes: np.ndarray  # float32 (n, 4), learned


@dataclass(frozen=True)
class Clients:
    """What some clients get who ask one photo after the other."""

    n_clients: int
    queries_per_s: float
    seconds: np.ndarray  # of each query


@dataclass(frozen=True)
class EndToEndLab:
    """The engine of one run, and what it is judged with."""

    run: Run
    shop: Shop
    task: IndexTask
    models: TrainedModels
    plain_hits: np.ndarray | None = None  # bool (n, 60), of the test photos by the plain describer

    @cached_property
    def engine(self) -> VisualSearch:
        """The published engine: all images that selection kept."""
        folder = engine_folder(self.run)
        self._publish(folder, self.task.kept, self.run.settings.selection)
        return VisualSearch.open(leave(self.run, folder))

    @cached_property
    def photos(self) -> Photos:
        """The test photos, described in batches by the engine's own networks."""
        asked, engine = self.task.test, self.engine
        root, cache = self.shop.dataset.root, self.run.artifacts / "images"
        paths = list(asked.paths)
        category, _, describer = parts_of(engine)
        stored = load_images(root, paths, category.store_px, cache)
        device = engine.device
        boxes = np.tile(FULL_BOX, (len(paths), 1))
        if describer.locates:
            boxes = self.locate(describer)
        own, whole = (
            describe_photos(one, root, paths, boxes, device, cache)
            for one in (describer, replace(describer, look="whole"))
        )
        return Photos(
            [root / path for path in paths],
            asked.products,
            asked.categories,
            category.predict_batch(stored),
            own,
            whole,
            boxes,
        )

    def locate(self, describer: Describer) -> np.ndarray:
        """Boxes of the test photos by what locates for a describer, float32 (n, 4)."""
        root, cache = self.shop.dataset.root, self.run.artifacts / "images"
        paths, engine = list(self.task.test.paths), self.engine
        return describer.boxes(
            parts_of(engine).network,
            engine.image_px,
            lambda size_px: load_images(root, paths, size_px, cache),
            engine.device,
        )

    # What each stage is worth --------------------------------------------------------------

    def ablation(self) -> dict[str, np.ndarray]:
        """Products on the page of each photo, int64 (n, 60), −2 past its end, by variant."""
        found = {WHOLE: self._pages(self.engine, ALL_STAGES)}
        for name, stages in LEFT_OUT.items():
            found[name] = self._pages(self.engine, stages)
        folder = self._folder("unselected")
        self._publish(folder, np.ones(len(self.task.kept), bool))
        with closing(VisualSearch.open(folder)) as unselected:
            found[UNSELECTED] = self._pages(unselected, ALL_STAGES)
        features, products = self.task.features[self.task.kept], self.task.products[self.task.kept]
        similarity = self.photos.in_box @ features.T
        found[CEILING] = _padded(products[np.argsort(-similarity, axis=1, kind="stable")[:, :K]])
        return found

    def funnel(self) -> dict[str, np.ndarray]:
        """Stage → whether an identical item is still there after it, bool (n,), per photo."""
        engine, photos, task = self.engine, self.photos, self.task
        offered, names = task.products[task.kept], task.categories[task.kept]
        index, params = engine.index, engine.index.params
        kept = np.zeros((len(photos.products), len(FUNNEL)), bool)
        for row, product in enumerate(photos.products):
            feature, prediction = photos.in_box[row], photos.predictions[row]
            wanted = likely_categories(prediction, index.categories)
            searched = np.isin(names, index.categories if wanted is None else wanted)
            visited, near = (
                offered[index.candidates(feature, replace(params, n_candidates=n), wanted).ids]
                for n in (len(index), max(K, params.n_candidates))
            )
            ids, similarity = engine.retrieve(feature, prediction, K, ALL_STAGES)
            page = self.codes(engine.page(ids, similarity, ALL_STAGES, None))
            first = offered[ids]
            same = (offered[searched], visited, near, first, first[:20], page[:20], page[:1])
            kept[row] = [True, *(bool((products == product).any()) for products in same)]
        return dict(zip(FUNNEL, kept.T, strict=True))

    # Time ----------------------------------------------------------------------------------

    def grown(self, n: int) -> tuple[VisualSearch, float]:
        """The engine with a catalogue grown to `n` items, and the seconds it took to open."""
        folder = self._folder(f"engine-{n}")
        features, catalogue = self._grown_catalogue(n)
        self._write(folder, features, catalogue)
        start = time.perf_counter()
        engine = VisualSearch.open(folder)
        return engine, time.perf_counter() - start

    def naive(self, engine: VisualSearch) -> NaivePipeline:
        """The same models, and the catalogue of an engine, without engineering."""
        device = replace(pick_device(), autocast_dtype=None)
        features = engine.index.current().base
        order = np.argsort(features.ids)
        names = pd.factorize(engine.catalogue["category"].to_numpy(), sort=True)
        category = replace(self.models.category, device=device)
        return NaivePipeline(
            replace(self.models, category=category, ranker=engine.ranker),
            torch.from_numpy(features.features[order].astype(np.float32)),
            torch.from_numpy(names[0].astype(np.int64)),
            list(names[1]),
            engine.catalogue,
        )

    def stage_times(self, engine: VisualSearch, n: int) -> pd.DataFrame:
        """Milliseconds of each stage and of all, one row per photo, one photo at a time."""
        paths = self._some(n)
        for path in paths[:_N_WARMUP]:
            engine.search(path, K)
        answers = [engine.search(path, K) for path in paths]
        return pd.DataFrame([a.stage_ms | {ALL: a.total_ms} for a in answers])

    def against_naive(
        self, engine: VisualSearch, naive: NaivePipeline, n: int
    ) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
        """Seconds per photo, and products found (n, 60), of both; asked in turn."""
        paths = self._some(n)
        asked: dict[str, Callable[[Path], pd.DataFrame]] = {
            "engine": lambda path: engine.search(path, K).results,
            "naive": lambda path: naive.search(path, K),
        }
        seconds: dict[str, list[float]] = {name: [] for name in asked}
        found: dict[str, list[np.ndarray]] = {name: [] for name in asked}
        for number, path in enumerate([*paths[:_N_WARMUP], *paths]):
            for name, search in asked.items():
                start = time.perf_counter()
                page = search(path)
                spent = time.perf_counter() - start
                if number >= _N_WARMUP:
                    seconds[name].append(spent)
                    found[name].append(_padded(self.codes(page)[None])[0])
        return pd.DataFrame(seconds), {name: np.stack(rows) for name, rows in found.items()}

    def clients(
        self, engine: VisualSearch, n_clients: Sequence[int], seconds: float
    ) -> list[Clients]:
        """Clients in threads, each of whom asks one photo after the other."""
        paths = self._some(len(self.photos.paths))
        return [_load(engine, paths, n, seconds) for n in n_clients]

    def asked(self, n: int) -> np.ndarray:
        """Rows of the `n` photos that time is measured with, spread over all."""
        last = len(self.photos.paths) - 1
        return np.unique(np.linspace(0, last, min(n, last + 1)).round().astype(int))

    # Failures ------------------------------------------------------------------------------

    def failures(self, pages: np.ndarray, n: int) -> np.ndarray:
        """Rows of the photos whose page lacks the product, the most mistaken ones first.

        Most mistaken is where the best identical item is furthest behind the page's first.
        """
        offered = self.task.products[self.task.kept]
        similarity = self.photos.in_box @ self.task.features[self.task.kept].T
        wanted = self.photos.products[:, None]
        identical = np.where(offered[None] == wanted, similarity, -np.inf).max(axis=1)
        missed = np.flatnonzero(~(pages == wanted).any(axis=1))
        behind = similarity.max(axis=1) - identical
        return missed[np.argsort(-behind[missed], kind="stable")][:n]

    # Parts ---------------------------------------------------------------------------------

    def _some(self, n: int) -> list[Path]:
        return [self.photos.paths[row] for row in self.asked(n)]

    def _folder(self, name: str) -> Path:
        return (
            self.run.artifacts
            / "endtoend"
            / f"{name}-{state_digest(self.models.network.state_dict())}"
        )

    @cached_property
    def _catalogue(self) -> pd.DataFrame:
        """All catalogue images, with the signals that notebook 05 simulates if there are none."""
        catalogue = self.shop.dataset.catalogue
        if self.shop.has_quality:
            return catalogue
        return catalogue.assign(**simulate_signals(catalogue, self.run.seed))

    def _publish(
        self, folder: Path, chosen: np.ndarray, selection: SelectionSettings | None = None
    ) -> None:
        """An engine of some pictures; with `selection`, it selects what is added later by it."""
        catalogue, prints = self._catalogue[chosen], None
        if selection is not None:
            cache = self.run.artifacts / "images"
            prints = prints_of(self.shop.dataset.root, catalogue.path.tolist(), cache)
        self._write(folder, self.task.features[chosen], catalogue, selection, prints)

    def _write(
        self,
        folder: Path,
        features: np.ndarray,
        catalogue: pd.DataFrame,
        selection: SelectionSettings | None = None,
        prints: Prints | None = None,
    ) -> None:
        asking = self.task.validation.first(self.run.settings.index.n_queries).features
        root, seed = self.shop.dataset.root, self.run.seed
        write_engine(
            folder,
            self.models,
            features,
            catalogue,
            root,
            validation=asking,
            codes=self.run.settings.index,
            seed=seed,
            selection=selection,
            prints=prints,
        )

    def _pages(self, engine: VisualSearch, stages: Stages) -> np.ndarray:
        photos = self.photos
        features = photos.in_box if stages.box else photos.whole
        rows = np.full((len(features), K), -2)
        for row, feature in enumerate(features):
            ids, similarity = engine.retrieve(feature, photos.predictions[row], K, stages)
            codes = self.codes(engine.page(ids, similarity, stages, None))
            rows[row, : len(codes)] = codes
        return rows

    @cached_property
    def _code_of(self) -> dict[str, int]:
        catalogue = self.shop.dataset.catalogue.product_id
        return dict(zip(catalogue, self.task.products.tolist(), strict=True))

    def codes(self, page: pd.DataFrame) -> np.ndarray:
        """Product codes of a page; −1 for a grown item, which is nobody's product."""
        return np.array([self._code_of.get(product, -1) for product in page.product_id], np.int64)

    def _grown_catalogue(self, n: int) -> tuple[np.ndarray, pd.DataFrame]:
        """The kept items, and grown ones with the quality signals of others of their category."""
        task = self.task
        own = self._catalogue[task.kept].reset_index(drop=True)
        features = task.features[task.kept]
        growth = make_growth(features, own.category.to_numpy(str), self.run.seed)
        grown, categories = growth.catalogue(max(0, n - len(own)))
        rng = generator(self.run.seed, "grown listings")
        donor = np.empty(len(grown), np.int64)
        for category in np.unique(categories):
            rows = np.flatnonzero(categories == category)
            donor[rows] = rng.choice(np.flatnonzero(own.category == category), len(rows))
        listings = own.iloc[donor].assign(
            image_id=[f"grown-{i}" for i in range(len(grown))], product_id="grown"
        )
        together = np.concatenate([features.astype(np.float16), grown])
        return together, pd.concat([own, listings], ignore_index=True)


def _padded(products: np.ndarray) -> np.ndarray:
    """Rows of at most 60 products, filled up with −2."""
    rows = np.full((len(products), K), -2)
    rows[:, : products.shape[1]] = products
    return rows


def _load(engine: VisualSearch, paths: Sequence[Path], n_clients: int, seconds: float) -> Clients:
    times: list[list[float]] = [[] for _ in range(n_clients)]
    end = time.perf_counter() + seconds

    def ask(client: int) -> None:
        while (start := time.perf_counter()) < end:
            engine.search(paths[(len(times[client]) * n_clients + client) % len(paths)], K)
            times[client].append(time.perf_counter() - start)

    threads = [threading.Thread(target=ask, args=(client,)) for client in range(n_clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = np.concatenate([np.array(t) for t in times])
    return Clients(n_clients, len(together) / (time.perf_counter() - start), together)
