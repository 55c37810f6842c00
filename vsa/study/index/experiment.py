"""The experiments of notebook 04: measured once, kept in files, read back while nothing changed."""

from __future__ import annotations

import itertools
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pandas as pd

from vsa.index import build, codec, index, model
from vsa.index.build import build_index, n_lists_for
from vsa.index.codec import CODECS, UnfitBitsError, make_codec
from vsa.index.index import Index
from vsa.index.shards import ShardedIndex, build_shards
from vsa.runtime.atomic import atomic_file
from vsa.runtime.fingerprint import Versions, checksum, key, libraries
from vsa.runtime.seeds import generator
from vsa.study.catalogue.prepare import Shop
from vsa.study.index import benchmark
from vsa.study.index.benchmark import K, codec_ranking, compare, make_items, make_queries
from vsa.study.index.method import Items
from vsa.study.index.peers import IVF, LINEAR, PEERS, SCALABLE
from vsa.study.index.prepare import IndexTask, index_task
from vsa.study.index.timing import one_thread
from vsa.study.index.traffic import Traffic, shard_results, throughput, update_traffic
from vsa.study.run import Run
from vsa.study.settings import IndexSettings
from vsa.study.simulate import growth
from vsa.study.simulate.growth import Growth, local_dimension, make_growth, neighbour_similarity

_VERSIONS: Versions = {
    "growth": growth.VERSION,
    "codecs": codec.VERSION,
    "binary index": index.VERSION,
    "comparison of indexes": benchmark.VERSION,
}
_AS_SHOWN = {"itq": "ITQ"}
_BITS = (64, 128, 256, 512)
_N_SHARDS = 4
_N_UNIFORM = 20_000


@dataclass(frozen=True)
class IndexLab:
    """Where experiments with the features of one run are made."""

    task: IndexTask
    settings: IndexSettings
    seed: int
    folder: Path

    @cached_property
    def growth(self) -> Growth:
        """Catalogues of any size, grown from the images that selection kept."""
        task = self.task
        return make_growth(task.features[task.kept], task.categories[task.kept], self.seed)

    # Growing -------------------------------------------------------------------------------

    def growth_evidence(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Half of the catalogue against as many items grown from the other half.

        Returns mean similarity of a photo's nearest items by rank, and the local dimension, with
        columns ``real`` and ``grown``.
        """
        task, rng = self.task, generator(self.seed, "halves")
        order = rng.permutation(np.flatnonzero(task.kept))
        first, second = order[: len(order) // 2], order[len(order) // 2 :]
        source = make_growth(task.features[first], task.categories[first], self.seed)
        grown, _ = source.draw(0, len(second))
        kinds = {"real": task.features[second], "grown": grown.astype(np.float32)}
        asked = task.test.features
        k = min(K, len(second))
        curves = {name: neighbour_similarity(asked, items, k) for name, items in kinds.items()}
        dimension = {
            name: [local_dimension(asked, items, min(20, k))] for name, items in kinds.items()
        }
        return pd.DataFrame(curves, index=np.arange(1, k + 1)), pd.DataFrame(dimension)

    # Codes ---------------------------------------------------------------------------------

    def codecs(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Name → per test query, rows of the kept catalogue ranked by code, and the overlap.

        Every registered codec is there, with each number of bits that it can have.
        The overlap is the share of the 60 nearest by feature that are among the 60 by code.
        """
        task = self.task
        features = task.features[task.kept]
        labels = pd.factorize(task.categories[task.kept])[0]
        found = {}
        for bits, name in itertools.product(_BITS, CODECS):
            with suppress(UnfitBitsError):
                one = make_codec(name, features, bits, self.seed, labels)
                variant = f"{_AS_SHOWN.get(name, name)}, {bits} bits"
                found[variant] = codec_ranking(one, task.test.features, features)
        found["float, exact"] = benchmark.float_ranking(task.test.features, features)
        found["RaBitQ, 1 bit per dimension"] = benchmark.rabitq_ranking(
            task.test.features, features
        )
        return found

    # Recall against latency ----------------------------------------------------------------

    def curve(self, n: int) -> pd.DataFrame:
        """`benchmark.compare` on a catalogue of `n` items; measured now unless it is on disk."""
        path = self.curve_path(n)
        if not path.is_file():
            items, categories = self._grown(n)
            is_large = n not in self.settings.sizes
            folder = path.with_suffix(".parts") if is_large else self.folder / "compared"
            made = compare(
                folder,
                items,
                categories,
                make_queries(self.asked, items.model.codec),
                make_queries(self.validation, items.model.codec),
                self._peers(n),
                is_resumed=is_large,
            )
            with atomic_file(path) as draft:
                made.to_parquet(draft)
            if is_large:
                shutil.rmtree(folder)
        return pd.read_parquet(path)

    def curves(self) -> dict[int, pd.DataFrame]:
        """The curves of all sizes of the profile, and of those that `make bench-index` measured."""
        sizes = set(self.settings.sizes)
        found = {int(path.name.split("-")[1]) for path in self.folder.glob("curve-*.parquet")}
        sizes |= {n for n in found if self.curve_path(n).is_file()}
        return {n: self.curve(n) for n in sorted(sizes)}

    def worst_case(self) -> pd.DataFrame:
        """As `curve`, by rotated features that have no structure: uniform on the sphere."""
        n, d = min(_N_UNIFORM, *self.settings.sizes), self.task.features.shape[1]
        rng = generator(self.seed, "uniform")
        features = rng.standard_normal((n, d), np.float32)
        features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float16)
        model = build.train_model(
            features,
            [""] * n,
            n_lists=n_lists_for(n),
            **self._codes,
        )
        items = Items(features, model.codec.encode(features), model)
        asked = rng.standard_normal((2 * min(50, len(self.asked)), d), np.float32)
        asked /= np.linalg.norm(asked, axis=1, keepdims=True)
        queries, validation = np.split(asked, 2)
        return compare(
            self.folder / "compared",
            items,
            np.full(n, ""),
            make_queries(queries, model.codec),
            make_queries(validation, model.codec),
            (LINEAR, IVF),
        )

    @property
    def asked(self) -> np.ndarray:
        """Test queries that time is measured with, float32 (n, d)."""
        return self.task.test.first(self.settings.n_queries).features

    @property
    def validation(self) -> np.ndarray:
        """Validation queries that settings are chosen with, float32 (n, d)."""
        return self.task.validation.first(self.settings.n_queries).features

    # Load and shards -----------------------------------------------------------------------

    def loads(self) -> list[Traffic]:
        """Searches in the largest catalogue of the profile beside writers of several speeds."""
        items, categories = self._grown(max(self.settings.sizes))
        folder = self.folder / "index"
        build_index(folder, items.features, categories=categories, model=items.model)
        fresh, _ = self.growth.draw(10**6, 2**14)
        rates = (0.0, 5000.0, np.inf)
        return update_traffic(folder, fresh, self.asked, self.settings.traffic_s, rates)

    def shards(self) -> tuple[np.ndarray, dict[str, float]]:
        """Whether shards change results, per query; and queries per second, by set-up."""
        n = min(self.settings.sizes)
        features, categories = self.growth.catalogue(n)
        folder = self.folder / "shards"
        build_shards(
            folder, _N_SHARDS, features, categories=categories, seed=self.seed, **self._codes
        )
        one_folder = self.folder / "one-shard"
        shared, _ = model.read_model(folder / "shard-00")
        build_index(one_folder, features, categories=categories, model=shared)
        rates = {}
        one, many = Index.open(one_folder), ShardedIndex.open(folder, 2)
        same = shard_results(one, many, self.asked, one.params)
        for clients in (1, 2, 4):
            for name, searcher in (("one index", one), (f"{_N_SHARDS} shards × 2 replicas", many)):
                rate = throughput(
                    searcher.search_one, self.asked, clients, self.settings.traffic_s / 5
                )
                rates[f"{name}, {clients} clients"] = rate
        one.close()
        many.close()
        return same, rates

    # Categories ----------------------------------------------------------------------------

    def narrowed(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Rows of the kept catalogue, int64 (n, 60), −1 past the end, and seconds (n,).

        Searched everywhere, and within the true category of each photo: what a perfect category
        prediction would give.
        """
        task, folder = self.task, self.folder / "index"
        names = task.categories[task.kept]
        build_index(folder, task.features[task.kept], categories=names, **self._codes)
        found = {}
        with Index.open(folder) as index, one_thread():
            for name, categories in (("everywhere", None), ("its category", task.test.categories)):
                ids = np.full((len(task.test.features), K), -1)
                seconds = np.zeros(len(ids))
                for row, feature in enumerate(task.test.features):
                    wanted = None if categories is None else [str(categories[row])]
                    if wanted and wanted[0] not in index.categories:
                        continue  # nobody has said what this photo shows
                    start = time.perf_counter()
                    found_now = index.search_one(feature, K, categories=wanted)
                    seconds[row] = time.perf_counter() - start
                    ids[row, : len(found_now.ids)] = found_now.ids
                found[name] = ids, seconds
        return found

    # Selection -----------------------------------------------------------------------------

    def selection(self) -> dict[str, np.ndarray]:
        """Results, rows of the whole catalogue, int64 (n, 60) and −1, with and without selection.

        Asked are photos of all products that were for sale before it.
        """
        task = self.task
        found = {}
        for name, kept in (("all images", np.ones(len(task.kept), bool)), ("selected", task.kept)):
            rows = np.flatnonzero(kept)
            asked = task.test_unselected.features
            ranked = faiss.knn(asked, task.features[rows], K, faiss.METRIC_INNER_PRODUCT)[1]
            found[name] = np.where(ranked >= 0, rows[ranked], -1)
        return found

    @property
    def _codes(self) -> dict[str, Any]:
        return {"codec": self.settings.codec, "n_bits": self.settings.n_bits}

    # Files ---------------------------------------------------------------------------------

    def _grown(self, n: int) -> tuple[Items, np.ndarray]:
        """A catalogue, which stays in memory until another one is grown, and its categories."""
        if n not in self._last_grown:
            self._last_grown.clear()
            self._last_grown[n] = make_items(self.growth, n, self.seed, self.settings)
        return self._last_grown[n]

    @cached_property
    def _last_grown(self) -> dict[int, tuple[Items, np.ndarray]]:
        return {}

    def curve_path(self, n: int) -> Path:
        """Where `curve` keeps what it measured; `make bench-index` puts larger sizes there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"curve-{n}-{self._key(n)}.parquet"

    def _peers(self, n: int) -> list[str]:
        """Those that are compared at a size."""
        return [name for name in PEERS if n <= self.settings.n_peers or name in SCALABLE]

    def _key(self, n: int) -> str:
        return key(
            _VERSIONS | libraries("faiss-cpu", "numba", "numpy", "torch", "usearch"),
            data=self._data,
            seed=self.seed,
            n_queries=self.settings.n_queries,
            n_peers=self.settings.n_peers,
            codes=[CODECS.identity(self.settings.codec), self.settings.n_bits],
            peers=[PEERS.identity(name) for name in self._peers(n)],
        )

    @cached_property
    def _data(self) -> list[str]:
        task = self.task
        arrays = (task.features, task.categories, task.kept)
        return [checksum(a) for a in (*arrays, task.test.features, task.validation.features)]


def open_lab(run: Run, shop: Shop) -> IndexLab:
    """Where notebook 04 experiments; raises NotApplicable where there are no features to index."""
    folder = run.artifacts / "index"
    return IndexLab(index_task(run, shop), run.settings.index, run.seed, folder)
