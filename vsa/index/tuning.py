"""The parameters that reach a wanted recall at the least cost, on held-out queries.

Cost is what a query reads, in bytes, not the time it takes: the same index gets the same parameters
however busy the machine is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vsa.index.codec import STORED, check_features
from vsa.index.index import Index
from vsa.index.request import SearchParams
from vsa.metrics import linear_recall_at_k
from vsa.runtime.errors import InputError

_CHUNK_ROWS = 2**17


@dataclass(frozen=True)
class Trial:
    """What one setting of the parameters reached."""

    params: SearchParams
    recall: float  # Linear Recall@k against the exact ranking, ties counted as found
    n_bytes: float  # of codes and features that a query reads, on average


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
    """Recall over all queries (n, d), and what one of them reads."""
    k = exact.shape[1]
    found = np.full(exact.shape, -np.inf, np.float32)
    for row, feature in enumerate(features):
        hits = index.search_one(feature, k, params)
        found[row, : len(hits.ids)] = hits.similarity
    recall = float(linear_recall_at_k(found, exact).mean())
    return Trial(params, recall, bytes_read(index, params))


def bytes_read(index: Index, params: SearchParams) -> float:
    """Bytes of codes and features that a query reads on average, where lists are of one size."""
    codec, n_lists = index.model.codec, len(index.model.lists)
    n_scanned = len(index) * min(params.n_probe, n_lists) / n_lists
    of_feature = codec.dim * np.dtype(STORED).itemsize
    return n_scanned * codec.n_bits / 8 + min(params.n_candidates, n_scanned) * of_feature


def choose_params(index: Index, features: np.ndarray, recall: float = 0.99, k: int = 60) -> Trial:
    """The cheapest parameters that reach a recall on held-out queries, features (n, d).

    For each number of candidates, doubled from `k` on, the fewest lists are found that suffice;
    of these pairs the one that reads least is taken. If none reaches it, the one that comes nearest
    is.
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
        # more candidates save lists only while each pair reads less than the last
        reads_more = len(reached) > 1 and reached[-1].n_bytes > reached[-2].n_bytes
        if n_candidates >= most or reads_more:
            break
        n_candidates = min(2 * n_candidates, most)
    if not reached:
        return max(tried, key=lambda t: t.recall)
    return min(reached, key=lambda t: t.n_bytes)


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
