"""The parameters that reach a wanted recall at the least cost, on held-out queries.

Cost is what a query reads, in bytes, not the time it takes: the same index gets the same parameters
however busy the machine is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vsa.index.codec import STORED, Codec, check_features
from vsa.index.hits import N_SHORT
from vsa.index.index import Index
from vsa.index.request import DISTANCES, SearchParams
from vsa.metrics import linear_recall_at_k
from vsa.runtime.errors import InputError

_CHUNK_ROWS = 2**17
_FIRST_CANDIDATES, _MOST_CANDIDATES = 2**12, 2**16  # looked at; more are never chosen


@dataclass(frozen=True)
class Trial:
    """What one setting of the parameters reached."""

    params: SearchParams
    recall: float  # Linear Recall@k against the exact ranking, ties counted as found
    n_bytes: float  # of codes, centroids and features that a query reads, on average


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
    found, _ = index.search(features, exact.shape[1], params)
    recall = float(linear_recall_at_k(found, exact).mean())
    return Trial(params, recall, bytes_read(index, params))


def bytes_read(index: Index, params: SearchParams) -> float:
    """Bytes that a query reads on average, where lists are of one size.

    Codes of the items in its lists, centroids of these and of others like them, and features of
    candidates. A byte of each was measured to take about the same time.
    """
    model, n_lists = index.model, len(index.model.lists)
    n_probe = min(params.n_probe, n_lists)
    n_scanned = len(index) * n_probe / n_lists
    of_centroids = min(N_SHORT * n_probe, n_lists) * index.model.lists.centroids.itemsize
    of_features = min(params.n_candidates, n_scanned) * np.dtype(STORED).itemsize
    return n_scanned * 8 * model.n_words + (of_centroids + of_features) * model.codec.dim


def choose_params(index: Index, features: np.ndarray, recall: float = 0.99, k: int = 60) -> Trial:
    """The cheapest parameters that reach a recall on held-out queries, features (n, d).

    For each distance and more and more lists, the fewest candidates are found that suffice; of
    all these the one that reads least is taken. If none reaches it, the one that comes nearest is.
    """
    if not 0 < recall <= 1:
        raise InputError(f"a recall of {recall} cannot be wanted", cure="Name one in (0, 1]")
    exact = exact_similarities(index, features, k)
    can_project = isinstance(index.model.codec, Codec)
    tried: list[Trial] = []
    for distance in DISTANCES if can_project else ("hamming",):
        tried += _with_more_lists(index, features, exact, distance, recall)
    reached = [trial for trial in tried if trial.recall >= recall]
    if not reached:
        return max(tried, key=lambda trial: trial.recall)
    return min(reached, key=lambda trial: trial.n_bytes)


def _with_more_lists(
    index: Index, features: np.ndarray, exact: np.ndarray, distance: str, recall: float
) -> list[Trial]:
    """Numbers of lists in steps of a half or a third, until more of them cannot pay."""
    n_lists, k, tried = len(index.model.lists), exact.shape[1], list[Trial]()
    n_seen = _FIRST_CANDIDATES
    steps = sorted({min(n << power, n_lists) for n in (2, 3) for power in range(40)} | {1})
    for n_probe in steps:
        least = min((t.n_bytes for t in tried if t.recall >= recall), default=np.inf)
        if bytes_read(index, SearchParams(n_probe, k)) >= least:
            break
        ranks, n_found = _code_ranks(index, features, exact, n_probe, n_seen, distance)
        while len(ranks) < recall * n_found and n_seen < min(_MOST_CANDIDATES, len(index)):
            n_seen *= 4
            ranks, n_found = _code_ranks(index, features, exact, n_probe, n_seen, distance)
        enough = int(np.ceil(recall * n_found - 1e-9))
        last = ranks[min(enough, len(ranks)) - 1] + 1 if len(ranks) else k
        params = SearchParams(n_probe, max(k, _rounded_up(last)), distance)
        tried.append(try_params(index, features, exact, params))
        gained = tried[-1].recall - tried[-2].recall if len(tried) > 1 else np.inf
        if n_probe >= 64 and gained < (recall - tried[-1].recall) / 8:
            break  # too few candidates: more lists will not help
    return tried


def _code_ranks(
    index: Index,
    features: np.ndarray,
    exact: np.ndarray,
    n_probe: int,
    n_seen: int,
    distance: str,
) -> tuple[np.ndarray, int]:
    """Where the results of a scan stand among candidates by code, ascending; how many it has.

    With one more candidate than a rank, a search finds that result. One pass over the queries so
    tells the recall for any number of candidates up to `n_seen`.
    """
    params, there = SearchParams(n_probe, n_seen, distance), np.isfinite(exact)
    worst = np.where(there, exact, np.inf).min(axis=1) - 1e-6  # as `linear_recall_at_k`
    ranks = []
    for feature, limit, n in zip(features, worst, there.sum(axis=1), strict=True):
        found = index.candidates(feature, params)
        order = np.lexsort((found.ids, found.distance))
        ranks.append(np.flatnonzero(found.similarity[order] >= limit)[:n])
    return np.sort(np.concatenate(ranks)), int(there.sum())


def _rounded_up(n: int) -> int:
    """To two digits: more would claim more than a few hundred queries can tell."""
    unit = 10 ** max(0, len(str(n)) - 2)
    return int(-(-n // unit) * unit)
