"""Exact nearest neighbours of queries, in the whole catalogue and within their category."""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np

VERSION = 1
N_RESULTS = 60


@dataclass(frozen=True)
class Ranking:
    """Catalogue rows, best first, int64 (n, 60); −1 past the end of a small category."""

    everywhere: np.ndarray
    within: np.ndarray  # of the query's true category


def rank(
    queries: np.ndarray,
    catalogue: np.ndarray,
    query_categories: np.ndarray,
    catalogue_categories: np.ndarray,
) -> Ranking:
    """Rank the catalogue for each query by inner product of unit features (n, d) and (m, d)."""
    everywhere = _search(queries, catalogue)
    within = np.full_like(everywhere, -1)
    for category in np.unique(query_categories):
        asking = np.flatnonzero(query_categories == category)
        offered = np.flatnonzero(catalogue_categories == category)
        if len(offered):
            found = _search(queries[asking], catalogue[offered])
            within[asking] = np.where(found >= 0, offered[found], -1)
    return Ranking(everywhere, within)


def _search(queries: np.ndarray, catalogue: np.ndarray) -> np.ndarray:
    index = faiss.IndexFlatIP(catalogue.shape[1])
    index.add(np.ascontiguousarray(catalogue, np.float32))
    _, rows = index.search(np.ascontiguousarray(queries, np.float32), N_RESULTS)
    return rows
