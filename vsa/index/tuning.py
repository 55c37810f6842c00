"""The parameters that reach a wanted recall at the least cost, measured on held-out queries."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from vsa.index.codec import check_features
from vsa.index.index import Index
from vsa.index.request import SearchParams
from vsa.metrics import linear_recall_at_k
from vsa.runtime.errors import InputError

_CHUNK_ROWS = 2**17
_N_TIMED = 50


@dataclass(frozen=True)
class Trial:
    """What one setting of the parameters reached."""

    params: SearchParams
    recall: float  # Linear Recall@k against the exact ranking, ties counted as found
    median_ms: float


def exact_similarities(index: Index, features: np.ndarray, k: int = 60) -> np.ndarray:
    """The `k` greatest similarities in the whole index, float32 (n, k), best first.

    Every feature is compared, in memory that does not grow with the index; −inf past its end.
    """
    view = index.current()
    queries = check_features(features, index.model.codec.dim).astype(np.float32)
    best = np.full((len(queries), k), -np.inf, np.float32)
    alive = np.ones(len(view.base), bool)
    alive[view.hidden] = False
    for stored, valid in ((view.base.features, alive), (view.features, ~view.dead)):
        for start in range(0, len(stored), _CHUNK_ROWS):
            part = slice(start, start + _CHUNK_ROWS)
            found = queries @ stored[part].astype(np.float32).T
            found[:, ~valid[part]] = -np.inf
            if found.shape[1] > k:
                found = np.partition(found, -k, axis=1)[:, -k:]
            best = np.partition(np.concatenate([best, found], axis=1), -k, axis=1)[:, -k:]
    return -np.sort(-best, axis=1)


def try_params(
    index: Index, features: np.ndarray, exact: np.ndarray, params: SearchParams
) -> Trial:
    """Recall over all queries (n, d), and the median time of up to 50 of them."""
    k = exact.shape[1]
    found = np.full(exact.shape, -np.inf, np.float32)
    times = []
    for row, feature in enumerate(features):
        start = time.perf_counter()
        hits = index.search_one(feature, k, params)
        times.append(time.perf_counter() - start)
        found[row, : len(hits.ids)] = hits.similarity
    recall = float(linear_recall_at_k(found, exact).mean())
    return Trial(params, recall, 1e3 * float(np.median(times[-_N_TIMED:])))


def choose_params(index: Index, features: np.ndarray, recall: float = 0.99, k: int = 60) -> Trial:
    """The fastest parameters that reach a recall on held-out queries, features (n, d).

    For each number of candidates, doubled from `k` on, the fewest lists are found that suffice;
    of these pairs the fastest is taken. If none reaches it, the pair that comes nearest is.
    """
    if not 0 < recall <= 1:
        raise InputError(f"a recall of {recall} cannot be wanted", cure="Name one in (0, 1]")
    exact = exact_similarities(index, features, k)
    n_lists, tried = len(index.model.lists), []
    n_candidates, most = k, max(k, len(index))
    while True:
        trial = _fewest_lists(index, features, exact, n_candidates, recall, n_lists)
        tried.append(trial)
        reached = [t for t in tried if t.recall >= recall]
        # more candidates save lists only while each pair is faster than the last
        slower = len(reached) > 1 and reached[-1].median_ms > reached[-2].median_ms
        if n_candidates >= most or slower:
            break
        n_candidates = min(2 * n_candidates, most)
    if not reached:
        return max(tried, key=lambda t: t.recall)
    return min(reached, key=lambda t: t.median_ms)


def _fewest_lists(
    index: Index,
    features: np.ndarray,
    exact: np.ndarray,
    n_candidates: int,
    recall: float,
    n_lists: int,
) -> Trial:
    """Doubling, then bisection; recall grows with the lists visited."""
    n_probe = 1
    trial = try_params(index, features, exact, SearchParams(n_probe, n_candidates))
    while trial.recall < recall and n_probe < n_lists:
        before = trial.recall
        n_probe = min(2 * n_probe, n_lists)
        trial = try_params(index, features, exact, SearchParams(n_probe, n_candidates))
        if n_probe >= 64 and trial.recall - before < (recall - trial.recall) / 8:
            return trial  # too few candidates: more lists will not help
    low, high = n_probe // 2, n_probe
    while trial.recall >= recall and high - low > max(1, high // 8):
        middle = (low + high) // 2
        between = try_params(index, features, exact, SearchParams(middle, n_candidates))
        if between.recall >= recall:
            high, trial = middle, between
        else:
            low = middle
    return trial
