"""Recall against latency, of the index and of its peers: measurements that notebook 04 shows.

Every figure is of one thread and one query at a time, and everything that is compared was measured
in one run on the same items. A machine may change its speed between two peers, so each is asked
once more in turns with the index.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pandas as pd

from vsa.index.build import build_index, n_lists_for, train_model
from vsa.index.codec import STORED, Codec, Encoder
from vsa.index.hits import find
from vsa.index.index import Index
from vsa.index.lists import train_lists
from vsa.index.memory import Memory
from vsa.index.model import Model
from vsa.index.plain import hamming
from vsa.index.request import SearchParams
from vsa.index.settings import CodeSettings
from vsa.metrics import linear_recall_at_k, ndcg_at_k
from vsa.runtime.atomic import atomic_file
from vsa.runtime.fingerprint import key
from vsa.runtime.progress import progress
from vsa.study.index.grids import explored
from vsa.study.index.method import Items, Method, Setting
from vsa.study.index.peers import ENGINE, build_peer, coarse_filter, engine
from vsa.study.index.stages import STAGES, stage_times
from vsa.study.index.timing import N_WARMUP, K, latency, one_core, one_thread
from vsa.study.simulate.growth import Growth

USUAL_CODES = CodeSettings()
VERSION = 11  # of what is compared, peers included, and how
WANTED_RECALL = 0.995  # on validation queries, so that 0.99 can be judged on test queries
NEAR = 0.005  # that a quarter of the queries may tell too little by
_N_TURNS = 9  # of a peer and the index
_CHUNK_ROWS = 2**18
_REFINED, _COARSE = "refined", "coarse"  # folders of the index, and of one of codes of features


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
    return pd.DataFrame([_measured(method, s, items, queries, truth) for s in method.settings])


def _measured(
    method: Method, setting: Setting, items: Items, queries: Queries, truth: Truth
) -> dict[str, Any]:
    ids, times, cpu_share = ask_all(method, queries, setting)
    each = scores(ids, items, queries, truth)
    return {
        "method": method.name,
        "setting": ", ".join(f"{key} {value}" for key, value in setting.items()),
        "asked": json.dumps(setting),
        **{name: float(values.mean()) for name, values in each.items()},
        **latency(times),
        "recalls": each["recall"],
        "code_recalls": each["code_recall"],
        "seconds": times,
        "cpu_share": cpu_share,
        "bytes": method.bytes_per_item,
        "ranks_by": method.ranks_by,
    }


def ask_all(
    method: Method, queries: Queries, setting: Setting
) -> tuple[np.ndarray, np.ndarray, float]:
    """Ids (n, 60), −1 past the end; seconds of each query, after some that do not count; CPU time.

    That is the process's, as a share of the time that passed: more than 1 if threads helped.
    """
    pairs = list(zip(queries.features, queries.codes, strict=True))
    for feature, code in pairs[:N_WARMUP]:
        method.search(feature, code, K, setting)
    ids, times = np.full((len(pairs), K), -1), np.empty(len(pairs))
    began = time.process_time()
    for row, (feature, code) in enumerate(pairs):
        start = time.perf_counter()
        found = method.search(feature, code, K, setting)
        times[row] = time.perf_counter() - start
        ids[row, : len(found)] = found
    return ids, times, float((time.process_time() - began) / times.sum())


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


def tuned(
    method: Method, items: Items, validation: Queries, truth: Truth
) -> tuple[Setting, list[Setting]]:
    """The fastest setting with the wanted recall on validation queries, and those worth showing.

    Settings are explored on a quarter of the queries (`grids.explored`). From the fastest on, those
    that come near the wanted recall are then tried on all queries, until one has it; if none has,
    the one that came nearest is taken. Worth showing are settings that no faster one equals.
    """
    column = "recall" if method.ranks_by == "features" else "code_recall"
    rows, few = list[dict[str, Any]](), quarter(validation, truth)

    def recall(setting: Setting) -> float:
        rows.append(_measured(method, setting, items, *few))
        return float(rows[-1][column])

    tried = [setting for setting, _ in explored(recall, method.settings, method.most)]
    curve = pd.DataFrame(rows)
    by_time = curve.sort_values("p50_ms")
    better = by_time[column] > by_time[column].cummax().shift(fill_value=-1.0)
    best = int(curve[column].idxmax())
    for row in by_time.index[by_time[column] >= WANTED_RECALL - NEAR]:
        if _measured(method, tried[row], items, validation, truth)[column] >= WANTED_RECALL:
            best = int(row)
            break
    shown = sorted(by_time.index[better].union([best]))
    return tried[best], [tried[i] for i in shown]


def quarter(queries: Queries, truth: Truth) -> tuple[Queries, Truth]:
    """Every fourth query."""
    some = slice(None, None, 4)
    few = Queries(queries.features[some], queries.codes[some])
    return few, Truth(truth.ids[some], truth.similarity[some], truth.hamming[some])


def judged(
    method: Method,
    items: Items,
    sets: Sequence[tuple[Queries, Truth]],
) -> tuple[pd.DataFrame, Setting]:
    """Curve of a method on the second set of queries, at settings that the first set chose.

    The row of the one that it chose for the wanted recall is marked ``chosen``; that setting is
    returned too. The others, which are drawn only, are asked every fourth query.
    """
    with one_thread(), one_core():
        best, shown = tuned(method, items, *sets[0])
        curve = measure(replace(method, settings=shown), items, *quarter(*sets[1]))
        again = measure(replace(method, settings=[best]), items, *sets[1])
    return pd.concat([curve.assign(chosen=0), again.assign(chosen=1)]), best


def in_turns(peer: Method, own: Method, queries: Queries) -> dict[str, np.ndarray]:
    """Median seconds of a query, turn by turn: of a peer, ``turns``, and the index, ``own_turns``.

    Both are asked the same queries within a second or so, on one core, so that a machine that
    slows down slows both. Each is asked at the first of its settings.
    """

    def seconds(method: Method) -> float:
        return float(np.median(ask_all(method, queries, method.settings[0])[1]))

    with one_thread(), one_core():
        pairs = [(seconds(peer), seconds(own)) for _ in range(_N_TURNS)]
    turns, own_turns = np.array(pairs).T
    return {"turns": turns, "own_turns": own_turns}


def compare(
    folder: Path,
    items: Items,
    categories: np.ndarray,
    queries: Queries,
    validation: Queries,
    peers: Sequence[str],
    *,
    is_resumed: bool = False,
) -> pd.DataFrame:
    """Curves of the index and its peers, by name; each is built, asked, and forgotten.

    All are tuned by one rule (`tuned`), and the setting that it says is marked ``chosen``; there,
    each peer is asked `in_turns` with the index, or with its coarse filter if it ranks by codes.
    Indexes are built into `folder`, which is removed in the end. Where it `is_resumed`, each
    method's curve is kept there, too, and a call that was stopped is gone on with: for catalogues
    that take hours. Then the caller removes the folder, once it has kept what is returned.
    """
    sets = [(asked, make_truth(items, asked)) for asked in (validation, queries)]
    kept = folder if is_resumed else None
    own_curve = _kept(kept, ENGINE, partial(_own, folder, items, categories, sets))
    curves = [own_curve]
    with Index.open(folder / _REFINED) as refined, Index.open(folder / _COARSE) as coarse:
        both = engine(refined), coarse_filter(coarse)
        own = {method.ranks_by: _at_chosen(method, own_curve) for method in both}
        for name in progress(peers, "peers"):
            curves.append(_kept(kept, name, partial(_of_peer, name, items, sets, own)))
    if not is_resumed:
        shutil.rmtree(folder)
    return pd.concat(curves, ignore_index=True).assign(n_items=len(items.features))


def _own(
    folder: Path, items: Items, categories: np.ndarray, sets: Sequence[tuple[Queries, Truth]]
) -> pd.DataFrame:
    """Curves of the index and of its coarse filter alone, which are built into a folder."""
    start = time.perf_counter()
    build_index(folder / _REFINED, items.features, categories=categories, model=items.model)
    built = time.perf_counter() - start
    start = time.perf_counter()
    with Index.open(folder / _REFINED) as index:
        opened = time.perf_counter() - start
        curve, best = judged(engine(index), items, sets)
        spent = stage_times(index, SearchParams(**best), sets[1][0].features)
        curve = curve.assign(**{f"{stage}_ms": spent[stage] for stage in STAGES})
        on_disk = index.stats()["bytes on disk per item"]
    model = by_features(items.model)
    build_index(folder / _COARSE, items.features, categories=categories, model=model)
    with Index.open(folder / _COARSE) as index:
        coarse = judged(coarse_filter(index), items, sets)[0]
    return pd.concat([curve, coarse]).assign(build_s=built, open_s=opened, disk_bytes=on_disk)


def _at_chosen(method: Method, curve: pd.DataFrame) -> Method:
    """The method with no setting but the one that its curve says was chosen."""
    row = curve[(curve.method == method.name) & (curve.chosen == 1)].iloc[0]
    return replace(method, settings=[json.loads(row.asked)])


def by_features(model: Model) -> Model:
    """The same lists, and codes of features: of what a scan of all codes has."""
    if not model.is_of_differences:
        return model
    assert isinstance(model.codec, Codec)
    return Model(replace(model.codec, of_differences=False), model.lists)


def _of_peer(
    name: str,
    items: Items,
    sets: Sequence[tuple[Queries, Truth]],
    own: Mapping[str, Method],
) -> pd.DataFrame:
    start = time.perf_counter()
    method = build_peer(name, items)
    built = time.perf_counter() - start + method.saved_s
    curve, best = judged(method, items, sets)
    few, _ = quarter(*sets[1])
    turns = in_turns(replace(method, settings=[best]), own[method.ranks_by], few)
    return curve.assign(
        build_s=built, **{name: [each] * len(curve) for name, each in turns.items()}
    )


def _kept(folder: Path | None, name: str, measured: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """What was measured, now or by a call that was stopped later."""
    if folder is None:
        return measured()
    path = folder / f"{key({}, name=name)}.parquet"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as draft:
            measured().to_parquet(draft)
    return pd.read_parquet(path)


def codec_ranking(
    codec: Encoder, queries: np.ndarray, features: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the 60 nearest by code, int64 (n, 60); and how many are of the 60 by feature (n,).

    Codes are compared by Hamming distance, those of differences by the similarity they estimate.
    """
    if isinstance(codec, Codec) and codec.of_differences:
        rows = _estimated(codec, queries, features)
    else:
        index = faiss.IndexBinaryFlat(codec.n_bits)
        index.add(codec.encode(features))
        rows = index.search(codec.encode(queries), K)[1]
    return rows, _overlap(rows, queries, features)


def _estimated(codec: Codec, queries: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Rows of the most similar by estimate, int64 (n, 60), in lists as an index has them.

    As faiss has it, −1 stands where there are fewer.
    """
    n = len(features)
    lists = train_lists(features, np.zeros(n, int), [""], codec, n_lists_for(n), 0)
    store = Memory(Model(codec, lists), SearchParams(len(lists), K))
    own = lists.assign(features, np.zeros(n, int))
    store.put(np.arange(n), own, features.astype(STORED), np.empty(0, np.int64))
    rows = find([store.current()], queries.astype(STORED), K, store.params, refined=False).ids
    return np.pad(rows, ((0, 0), (0, K - rows.shape[1])), constant_values=-1)


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
    exact, there = faiss.knn(queries, features, K, faiss.METRIC_INNER_PRODUCT)
    exact = np.where(there >= 0, exact, -np.inf)
    similarity = np.einsum("nd,nkd->nk", queries, features[rows])
    return linear_recall_at_k(np.where(rows >= 0, similarity, -np.inf).astype(np.float32), exact)
