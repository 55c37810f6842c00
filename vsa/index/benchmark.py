"""Recall against latency, growth, update load, shards: measurements that notebook 04 shows.

Every figure is of one thread and one query at a time, unless it says otherwise, and everything
that is compared was measured in one run on the same items.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import pandas as pd

from vsa.evaluation.metrics import linear_recall_at_k, ndcg_at_k
from vsa.index.build import build_index, n_lists_for, train_model
from vsa.index.codec import Codec
from vsa.index.growth import Growth
from vsa.index.index import BinaryIndex
from vsa.index.lists import hamming
from vsa.index.peers import Items, Method
from vsa.index.tuning import Trial, choose_knobs
from vsa.runtime.progress import progress

K = 60
WANTED_RECALL = 0.995  # on validation queries, so that 0.99 can be judged on test queries
BATCH = 256  # items per durable write
_N_WARMUP = 20
_CHUNK_ROWS = 2**18


@dataclass(frozen=True)
class Queries:
    """Photos as the index sees them."""

    features: np.ndarray  # float32 (n, d), unit length
    codes: np.ndarray  # uint8 (n, n_bits / 8)


@dataclass(frozen=True)
class Truth:
    """What linear scans find."""

    ids: np.ndarray  # int64 (n, 60), by feature, best first
    similarity: np.ndarray  # float32 (n, 60)
    hamming: np.ndarray  # int32 (n, 60), of the nearest by code


def make_items(growth: Growth, n: int, seed: int) -> tuple[Items, np.ndarray]:
    """A grown catalogue with codes and lists, and its category codes."""
    features, categories = growth.catalogue(n)
    model = train_model(features, categories, n_lists=n_lists_for(n), seed=seed)
    codes = model.codec.encode(features)
    names = model.lists.category_codes(np.unique(categories))
    lists = model.lists.assign(codes, names[np.unique(categories, return_inverse=True)[1]])
    return Items(features, codes, lists, model), categories


def make_queries(features: np.ndarray, codec: Codec) -> Queries:
    """Features as stored and their codes."""
    stored = features.astype(np.float16)
    return Queries(stored.astype(np.float32), codec.encode(stored))


def make_truth(items: Items, queries: Queries) -> Truth:
    """Scan all features and all codes."""
    n = len(queries.features)
    ids, similarity = np.empty((n, 0), np.int64), np.empty((n, 0), np.float32)
    for start in range(0, len(items.features), _CHUNK_ROWS):
        part = items.features[start : start + _CHUNK_ROWS].astype(np.float32)
        k = min(K, len(part))
        s, i = faiss.knn(queries.features, part, k, faiss.METRIC_INNER_PRODUCT)
        ids, similarity = np.hstack([ids, i + start]), np.hstack([similarity, s])
        order = np.argsort(-similarity, axis=1, kind="stable")[:, :K]
        ids, similarity = (np.take_along_axis(a, order, axis=1) for a in (ids, similarity))
    index = faiss.IndexBinaryFlat(items.model.codec.n_bits)
    index.add(items.codes)
    return Truth(ids, similarity, index.search(queries.codes, K)[0])


def measure(method: Method, items: Items, queries: Queries, truth: Truth) -> pd.DataFrame:
    """One row per setting: recall against both scans, NDCG, and latency in ms."""
    rows = []
    for setting in method.settings:
        ids, times = ask_all(
            lambda i, s=setting: method.search(queries.features[i], queries.codes[i], K, s),
            len(queries.features),
        )
        rows.append(
            {
                "method": method.name,
                "setting": ", ".join(f"{key} {value}" for key, value in setting.items()),
                **score(ids, items, queries, truth),
                **latency(times),
                "bytes": method.bytes_per_item,
                "ranks_by": method.ranks_by,
            }
        )
    return pd.DataFrame(rows)


def ask_all(ask: Callable[[int], np.ndarray], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids (n, 60), −1 past the end, and seconds of `n` queries, after some that do not count."""
    for i in range(min(_N_WARMUP, n)):
        ask(i)
    ids, times = np.full((n, K), -1), np.empty(n)
    for i in range(n):
        start = time.perf_counter()
        found = ask(i)
        times[i] = time.perf_counter() - start
        ids[i, : len(found)] = found
    return ids, times


def score(ids: np.ndarray, items: Items, queries: Queries, truth: Truth) -> dict[str, float]:
    """Mean over queries of what ids found are worth."""
    return {
        name: float(values.mean()) for name, values in scores(ids, items, queries, truth).items()
    }


def scores(ids: np.ndarray, items: Items, queries: Queries, truth: Truth) -> dict[str, np.ndarray]:
    """Per query (n,): recall against the scan of features and of codes, and NDCG."""
    similarity = np.full(ids.shape, -np.inf, np.float32)
    nearness = np.full(ids.shape, -np.inf, np.float32)
    for row, found in enumerate(ids):
        there = found >= 0
        features = items.features[found[there]].astype(np.float32)
        similarity[row, there] = features @ queries.features[row]
        nearness[row, there] = -hamming(queries.codes[row], items.codes[found[there]])
    return {
        "recall": linear_recall_at_k(similarity, truth.similarity),
        "code_recall": linear_recall_at_k(nearness, -truth.hamming.astype(np.float32)),
        "ndcg": ndcg_at_k(ids, truth.ids),
    }


def latency(times: np.ndarray) -> dict[str, float]:
    """Quantiles of seconds, in ms."""
    p50, p95, p99 = 1e3 * np.quantile(times, [0.5, 0.95, 0.99])
    return {"p50_ms": p50, "p95_ms": p95, "p99_ms": p99}


def fastest(curve: pd.DataFrame, column: str, recall: float) -> pd.DataFrame:
    """Of each method the fastest setting that reaches a recall, fastest method first."""
    reached = curve[curve[column] >= recall]
    best = reached.loc[reached.groupby("method").p50_ms.idxmin()]
    return best.sort_values("p50_ms").set_index("method")


def compare(
    folder: Path,
    items: Items,
    categories: np.ndarray,
    queries: Queries,
    peers: Sequence[Callable[[Items], Method]],
    own: Sequence[Callable[[BinaryIndex], Method]],
) -> pd.DataFrame:
    """Curves of the index and its peers; each is built, asked and forgotten before the next."""
    with one_thread():
        truth = make_truth(items, queries)
    build_index(folder, items.features, categories=categories, model=items.model)
    curves = []
    with BinaryIndex(folder) as index, one_thread():
        curves += [measure(make(index), items, queries, truth) for make in own]
    for make in progress(peers, "peers"):
        start = time.perf_counter()
        method = make(items)
        built = time.perf_counter() - start
        with one_thread():
            curves.append(measure(method, items, queries, truth).assign(build_s=built))
    return pd.concat(curves, ignore_index=True)


class one_thread:
    """Let faiss use one thread only."""

    def __enter__(self) -> None:
        self.before = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        faiss.omp_set_num_threads(self.before)


def tune(index: BinaryIndex, validation: np.ndarray) -> Trial:
    """The knobs that an index of this size is judged with."""
    with one_thread():
        return choose_knobs(index, validation, WANTED_RECALL, K)
