"""The index at sizes that only shards hold: what `benchmark.compare` measures, built part by part.

A shard is made of parts of a grown catalogue; while its features are in memory, the photos that
will ask are compared with all of them. So no more than one shard's features is ever in memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pandas as pd

from vsa.index.build import build_index, n_lists_for, train_model
from vsa.index.codec import STORED
from vsa.index.hits import best
from vsa.index.index import Index
from vsa.index.request import DISTANCES, SearchParams
from vsa.index.settings import CodeSettings
from vsa.metrics import linear_recall_at_k, ndcg_at_k
from vsa.runtime.progress import progress
from vsa.study.index.benchmark import (
    NEAR,
    USUAL_CODES,
    WANTED_RECALL,
    Queries,
    Truth,
    by_features,
    make_queries,
    quarter,
)
from vsa.study.index.grids import explored
from vsa.study.index.method import Setting, grid
from vsa.study.index.peers import COARSE, ENGINE, LINEAR
from vsa.study.index.timing import N_WARMUP, K, latency, one_thread
from vsa.study.simulate.growth import Growth

_N_PROBE = (16, 32, 64, 128, 256)
_N_CANDIDATES = (500, 1000, 2000, 4000, 8000)
_CHUNK_ROWS = 2**18

# a feature and its code → ids (≤ 60,), and how near they are (≤ 60,), greater is nearer
Search = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def compare_shards(
    folder: Path,
    growth: Growth,
    n: int,
    n_shards: int,
    asked: np.ndarray,
    validation: np.ndarray,
    part_size: int = 2**20,
    codes: CodeSettings = USUAL_CODES,
) -> pd.DataFrame:
    """Curves of `n` items in shards that answer one after the other, and of the linear scan.

    `asked` and `validation` are features, float32 (m, d); a catalogue of `part_size` items at a
    time is grown. Returns the columns of `benchmark.compare` and ``n_shards``; rows whose settings
    `validation` chose are marked ``chosen``. `n_candidates` counts those of one shard.
    """
    start, not_building = time.perf_counter(), 0.0
    model = train_model(
        *growth.draw(0, min(n, part_size)),
        n_lists=n_lists_for(n),
        codec=codes.codec,
        n_bits=codes.n_bits,
        seed=growth.seed,
    )
    sets = [make_queries(features, model.codec) for features in (validation, asked)]
    found = [_nothing(queries) for queries in sets]
    scan = faiss.IndexBinaryFlat(model.codec.n_bits)
    folders = [folder / f"shard-{shard:02d}" for shard in range(n_shards)]
    parts = np.array_split(np.arange(-(-n // part_size)), n_shards)
    for path, numbers in zip(progress(folders, "shards"), parts, strict=True):
        began = time.perf_counter()
        features, categories = _shard(growth, n, numbers, part_size)
        not_building += time.perf_counter() - began
        first = int(numbers[0]) * part_size
        build_index(path, features, first + np.arange(len(features)), categories, model=model)
        began = time.perf_counter()
        scan.add(model.codec.encode(features))
        found = [
            _nearer(queries, features, first, *f) for queries, f in zip(sets, found, strict=True)
        ]
        not_building += time.perf_counter() - began
        del features
    facts: dict[str, Any] = {"build_s": time.perf_counter() - start - not_building}
    with one_thread():
        truths = [
            Truth(ids, similarity, scan.search(queries.codes, K)[0])
            for queries, (ids, similarity) in zip(sets, found, strict=True)
        ]
        linear = _measure(LINEAR, _linear(scan), {}, sets[1], truths[1])
        del scan
        start = time.perf_counter()
        shards = [Index.open(path) for path in folders]
        facts["open_s"] = time.perf_counter() - start
        facts["bytes"] = 8 * model.n_words + sum(
            array.nbytes / n for array in (model.lists.centroids, model.lists.codes)
        )
        stats = [shard.stats() for shard in shards]
        facts["disk_bytes"] = float(np.mean([s["bytes on disk per item"] for s in stats]))
        rows = [linear | {"bytes": model.codec.n_bits / 8, "build_s": 0.0}]
        engine = grid(n_candidates=_N_CANDIDATES, n_probe=_N_PROBE, distance=DISTANCES)
        coarse = grid(n_probe=_N_PROBE)
        most = {"n_probe": len(model.lists), "n_candidates": min(len(shard) for shard in shards)}
        for method, make, settings in ((ENGINE, _refined, engine), (COARSE, _coarse, coarse)):
            if method == COARSE and model.is_of_differences:
                for shard, path in zip(shards, folders, strict=True):
                    _code_features(shard, path)
                shards = [Index.open(path) for path in folders]
            setting = _fastest(method, partial(make, shards), settings, most, sets[0], truths[0])
            search, shown = make(shards, setting), {"shards": n_shards, **setting}
            rows.append(_measure(method, search, shown, sets[1], truths[1]) | facts)
        for shard in shards:
            shard.close()
    curve = pd.DataFrame(rows)
    return curve.assign(n_items=n, n_shards=n_shards, chosen=1)


def _code_features(index: Index, folder: Path) -> None:
    """Build an index again with codes of features, which a scan of all codes compares."""
    base, lists = index.current().base, index.model.lists
    names = np.asarray(lists.names, object)[np.repeat(lists.category, np.diff(base.offsets))]
    build_index(folder, base.features, base.ids, names, model=by_features(index.model))
    index.close()


def _shard(
    growth: Growth, n: int, numbers: np.ndarray, part_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Features and categories of some parts of the catalogue, the last of which may be shorter."""
    starts = numbers * part_size
    sizes = np.minimum(n - starts, part_size)
    features = np.empty((sizes.sum(), growth.features.shape[1]), STORED)
    categories = np.empty(len(features), growth.categories.dtype)
    for number, start, size in zip(progress(numbers, "grow"), starts, sizes, strict=True):
        rows = slice(start - starts[0], start - starts[0] + size)
        features[rows], categories[rows] = growth.draw(int(number), int(size))
    return features, categories


def _nothing(queries: Queries) -> tuple[np.ndarray, np.ndarray]:
    n = len(queries.features)
    return np.empty((n, 0), np.int64), np.empty((n, 0), np.float32)


def _nearer(
    queries: Queries, features: np.ndarray, first: int, ids: np.ndarray, similarity: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The 60 nearest among those found before and new features, whose ids count from `first`."""
    for start in range(0, len(features), _CHUNK_ROWS):
        part = features[start : start + _CHUNK_ROWS].astype(np.float32)
        s, i = faiss.knn(queries.features, part, K, faiss.METRIC_INNER_PRODUCT)
        ids, similarity = np.hstack([ids, i + first + start]), np.hstack([similarity, s])
        order = np.argsort(-similarity, axis=1, kind="stable")[:, :K]
        ids = np.take_along_axis(ids, order, axis=1)
        similarity = np.take_along_axis(similarity, order, axis=1)
    return ids, similarity


def _linear(scan: faiss.IndexBinaryFlat) -> Search:
    def search(feature: np.ndarray, code: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        del feature
        distances, ids = scan.search(code[None], K)
        return ids[0], -distances[0]

    return search


def _refined(shards: Sequence[Index], setting: Setting) -> Search:
    params = SearchParams(**setting)

    def search(feature: np.ndarray, code: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        del code
        parts = [shard.candidates(feature, params) for shard in shards]
        hits = best(parts, K, len(shards) * params.n_candidates)
        return hits.ids, hits.similarity

    return search


def _coarse(shards: Sequence[Index], setting: Setting) -> Search:
    params = SearchParams(n_candidates=K, distance="hamming", **setting)

    def search(feature: np.ndarray, code: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        del code
        parts = [shard.candidates(feature, params, refined=False) for shard in shards]
        hits = best(parts, K, K)
        return hits.ids, hits.similarity

    return search


def _measure(
    method: str, search: Search, setting: Setting, queries: Queries, truth: Truth
) -> dict[str, Any]:
    """Recall and latency of one setting, as a row of `benchmark.compare`."""
    n = len(queries.codes)
    ids, nearness = np.full((n, K), -1), np.full((n, K), -np.inf, np.float32)
    times = np.empty(n)
    for row in [*range(min(N_WARMUP, n)), *range(n)]:
        start = time.perf_counter()
        i, s = search(queries.features[row], queries.codes[row])
        times[row] = time.perf_counter() - start
        ids[row, : len(i)], nearness[row, : len(s)] = i, s
    by_code = method != ENGINE
    exact = -truth.hamming.astype(np.float32) if by_code else truth.similarity
    recalls, name = linear_recall_at_k(nearness, exact), "code_recall" if by_code else "recall"
    return {
        "method": method,
        "setting": ", ".join(f"{key} {value}" for key, value in setting.items()),
        name: float(recalls.mean()),
        f"{name}s": recalls,
        "ndcg": float(ndcg_at_k(ids, truth.ids).mean()),
        **latency(times),
        "seconds": times,
        "ranks_by": "codes" if by_code else "features",
    }


def _fastest(
    method: str,
    make: Callable[[Setting], Search],
    settings: Sequence[Setting],
    most: Mapping[str, int],
    queries: Queries,
    truth: Truth,
) -> Setting:
    """The fastest setting with the wanted recall, or the one that comes nearest.

    As `benchmark.tuned` has it: settings are explored on a quarter of the queries, and those that
    come near the wanted recall are then tried on all of them.
    """
    few, rows = quarter(queries, truth), list[dict[str, Any]]()

    def recall(setting: Setting) -> float:
        rows.append(_measure(method, make(setting), setting, *few))
        return _recall(rows[-1])

    most = {name: limit for name, limit in most.items() if name in settings[0]}
    tried = explored(recall, settings, most)
    for number in np.argsort([row["p50_ms"] for row in rows]):
        setting, found = tried[number]
        if found < WANTED_RECALL - NEAR:
            continue
        if _recall(_measure(method, make(setting), setting, queries, truth)) >= WANTED_RECALL:
            return setting
    return max(tried, key=lambda pair: pair[1])[0]


def _recall(row: dict[str, Any]) -> float:
    return float((row["recalls"] if "recalls" in row else row["code_recalls"]).mean())
