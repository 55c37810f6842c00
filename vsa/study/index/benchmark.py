"""Recall against latency, of the index and of its peers: measurements that notebook 04 shows.

Every figure is of one thread and one query at a time, and everything that is compared was measured
in one run on the same items.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import faiss
import numpy as np
import pandas as pd

from vsa.index.build import build_index, n_lists_for, train_model
from vsa.index.codec import Encoder
from vsa.index.index import Index
from vsa.index.lists import hamming
from vsa.index.settings import CodeSettings
from vsa.index.tuning import Trial, choose_params
from vsa.metrics import linear_recall_at_k, ndcg_at_k
from vsa.runtime.progress import progress
from vsa.study.index.peers import Items, Method, Setting, build_peer, coarse_filter, engine
from vsa.study.index.timing import N_WARMUP, K, latency, one_thread
from vsa.study.simulate.growth import Growth

USUAL_CODES = CodeSettings()
VERSION = 2  # of what is compared, peers included, and how
WANTED_RECALL = 0.995  # on validation queries, so that 0.99 can be judged on test queries
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


def make_items(
    growth: Growth, n: int, seed: int, codes: CodeSettings = USUAL_CODES
) -> tuple[Items, np.ndarray]:
    """A grown catalogue with codes and lists, and its category codes."""
    features, categories = growth.catalogue(n)
    model = train_model(
        features,
        categories,
        n_lists=n_lists_for(n),
        codec=codes.codec,
        n_bits=codes.n_bits,
        seed=seed,
    )
    return Items(features, model.codec.encode(features), model), categories


def make_queries(features: np.ndarray, codec: Encoder) -> Queries:
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
        ids = np.take_along_axis(ids, order, axis=1)
        similarity = np.take_along_axis(similarity, order, axis=1)
    index = faiss.IndexBinaryFlat(items.model.codec.n_bits)
    index.add(items.codes)
    return Truth(ids, similarity, index.search(queries.codes, K)[0])


def measure(method: Method, items: Items, queries: Queries, truth: Truth) -> pd.DataFrame:
    """One row per setting: recall against both scans, NDCG, and latency in ms.

    Columns ``recalls``, ``code_recalls`` and ``seconds`` hold one number per query.
    """
    rows = []
    for setting in method.settings:
        ids, times = ask_all(method, queries, setting)
        each = scores(ids, items, queries, truth)
        rows.append(
            {
                "method": method.name,
                "setting": ", ".join(f"{key} {value}" for key, value in setting.items()),
                **{name: float(values.mean()) for name, values in each.items()},
                **latency(times),
                "recalls": each["recall"],
                "code_recalls": each["code_recall"],
                "seconds": times,
                "bytes": method.bytes_per_item,
                "ranks_by": method.ranks_by,
            }
        )
    return pd.DataFrame(rows)


def ask_all(method: Method, queries: Queries, setting: Setting) -> tuple[np.ndarray, np.ndarray]:
    """Ids (n, 60), −1 past the end, and seconds of each query, after some that do not count."""
    pairs = list(zip(queries.features, queries.codes, strict=True))
    for feature, code in pairs[:N_WARMUP]:
        method.search(feature, code, K, setting)
    ids, times = np.full((len(pairs), K), -1), np.empty(len(pairs))
    for row, (feature, code) in enumerate(pairs):
        start = time.perf_counter()
        found = method.search(feature, code, K, setting)
        times[row] = time.perf_counter() - start
        ids[row, : len(found)] = found
    return ids, times


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


def least(curve: pd.DataFrame, column: str, recall: float) -> pd.DataFrame:
    """Of each method the least setting that reaches a recall; settings come in order of cost."""
    reached = curve[curve[column] >= recall]
    return reached.drop_duplicates("method").set_index("method")


def compare(
    folder: Path,
    items: Items,
    categories: np.ndarray,
    queries: Queries,
    validation: Queries,
    peers: Sequence[str],
) -> pd.DataFrame:
    """Curves of the index and its peers, by name; each is built, asked, and forgotten.

    Rows of the index with the settings that validation queries chose are marked ``chosen``.
    """
    start = time.perf_counter()
    build_index(folder, items.features, categories=categories, model=items.model)
    built, curves = time.perf_counter() - start, []
    truth = make_truth(items, queries)
    with one_thread():
        start = time.perf_counter()
        index = Index.open(folder)
        opened = time.perf_counter() - start
        chosen = tune(index, validation.features).params
        n_probe = tune_coarse_filter(index, items, validation)
        for method, best in (
            (engine(index), {"n_probe": chosen.n_probe, "n_candidates": chosen.n_candidates}),
            (coarse_filter(index), {"n_probe": n_probe}),
        ):
            curves += [
                measure(method, items, queries, truth),
                measure(replace(method, settings=[best]), items, queries, truth).assign(chosen=1),
            ]
        on_disk = index.stats()["bytes on disk per item"]
        index.close()
    curves = [c.assign(build_s=built, open_s=opened, disk_bytes=on_disk) for c in curves]
    for name in progress(peers, "peers"):
        start = time.perf_counter()
        method = build_peer(name, items)
        built = time.perf_counter() - start
        with one_thread():
            curves.append(measure(method, items, queries, truth).assign(build_s=built))
    joined = pd.concat(curves, ignore_index=True)
    return joined.assign(n_items=len(items.features), chosen=joined.chosen.fillna(0).astype(int))


def tune(index: Index, validation: np.ndarray) -> Trial:
    """The parameters that an index of this size is judged with."""
    with one_thread():
        return choose_params(index, validation, WANTED_RECALL, K)


def tune_coarse_filter(index: Index, items: Items, validation: Queries) -> int:
    """The fewest lists, to an eighth, with which the coarse filter finds what a scan of codes does.

    Found by doubling, then bisection, on validation queries; recall grows with the lists visited.
    """
    scan = faiss.IndexBinaryFlat(items.model.codec.n_bits)
    scan.add(items.codes)
    exact = -scan.search(validation.codes, K)[0].astype(np.float32)
    view, lists = index.current(), index.model.lists

    def suffices(n_probe: int) -> bool:
        found = np.full(exact.shape, -np.inf, np.float32)
        for row, (feature, code) in enumerate(
            zip(validation.features, validation.codes, strict=True)
        ):
            distances = view.scan(code, lists.probe(feature, code, n_probe)).distances
            nearest_ones = np.sort(distances)[:K]
            found[row, : len(nearest_ones)] = -nearest_ones
        return bool(linear_recall_at_k(found, exact).mean() >= WANTED_RECALL)

    enough = 1
    while enough < len(lists) and not suffices(enough):
        enough = min(2 * enough, len(lists))
    low = enough // 2
    while enough - low > max(1, enough // 8):
        middle = (low + enough) // 2
        low, enough = (low, middle) if suffices(middle) else (middle, enough)
    return enough


def codec_ranking(
    codec: Encoder, queries: np.ndarray, features: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the 60 nearest by code, int64 (n, 60); and how many are of the 60 by feature (n,)."""
    index = faiss.IndexBinaryFlat(codec.n_bits)
    index.add(codec.encode(features))
    rows = index.search(codec.encode(queries), K)[1]
    return rows, _overlap(rows, queries, features)


def float_ranking(queries: np.ndarray, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `codec_ranking`, by the features themselves."""
    rows = faiss.knn(queries, features, K, faiss.METRIC_INNER_PRODUCT)[1]
    return rows, _overlap(rows, queries, features)


def rabitq_ranking(queries: np.ndarray, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `codec_ranking`, by faiss's RaBitQ codes; the query keeps its full precision."""
    index = faiss.IndexPreTransform(
        faiss.RandomRotationMatrix(features.shape[1], features.shape[1]),
        faiss.IndexRaBitQ(features.shape[1], faiss.METRIC_INNER_PRODUCT),
    )
    index.train(features)
    index.add(features)
    rows = index.search(queries, K)[1]
    return rows, _overlap(rows, queries, features)


def _overlap(rows: np.ndarray, queries: np.ndarray, features: np.ndarray) -> np.ndarray:
    exact = faiss.knn(queries, features, K, faiss.METRIC_INNER_PRODUCT)[0]
    similarity = np.einsum("nd,nkd->nk", queries, features[rows])
    return linear_recall_at_k(np.where(rows >= 0, similarity, -np.inf).astype(np.float32), exact)
