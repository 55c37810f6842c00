"""What a search finds: candidates that pass the coarse filter, and the best of them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from vsa.index import plain
from vsa.index.codec import Codec, Encoder
from vsa.index.model import Model
from vsa.index.request import SearchParams
from vsa.index.view import View, empty_view
from vsa.runtime.progress import tell

_LOG = logging.getLogger(__name__)
N_SHORT = 8  # lists compared by feature, for each that a query visits
_PARTS = 4  # that the queries of a thread come in
_SLOW_S = 5.0  # loading that takes so long is explained


@dataclass(frozen=True)
class Candidates:
    """Items that passed the coarse filter."""

    ids: np.ndarray  # int64 (n,)
    distance: np.ndarray  # int32 (n,), of their codes to the query's, or estimated
    similarity: np.ndarray  # float32 (n,), inner products with the query


@dataclass(frozen=True)
class Hits:
    """What was found, best first."""

    ids: np.ndarray  # int64 (n,), n ≤ k
    similarity: np.ndarray  # float32 (n,)
    missing_shards: tuple[int, ...] = ()  # shards that did not answer: the result is partial

    @property
    def is_partial(self) -> bool:
        """Whether a part of the catalogue was not searched."""
        return bool(self.missing_shards)


@dataclass(frozen=True)
class Found:
    """What queries find, best first; ties go to the lower id."""

    ids: np.ndarray  # int64 (n, k); −1 past the end
    similarity: np.ndarray  # float32 (n, k); −inf past the end
    distance: np.ndarray  # int32 (n, k)

    def candidates(self, row: int) -> Candidates:
        """All that one query found."""
        ids, n = self.ids[row], self.ids.shape[1]
        if n and ids[-1] == -1:
            n = np.count_nonzero(ids != -1)
        return Candidates(ids[:n], self.distance[row, :n], self.similarity[row, :n])


def find(
    views: Sequence[View],
    features: np.ndarray,
    k: int,
    params: SearchParams,
    categories: np.ndarray | None = None,
    *,
    refined: bool = True,
    n_threads: int = 1,
) -> Found:
    """The `k` most similar of the candidates of each query, float16 (n, d).

    Candidates are the `n_candidates` nearest by code, ties going to the lower id, in the `n_probe`
    most similar lists of the categories, codes of names. Unless `refined`, similarity is the
    negative distance of codes, no feature is read, and lists are the nearest by code, too: these
    hold more of the items that are, unless codes are of differences from these lists.

    `views` are of one model, and searched as if they were one view: lists are chosen once, and no
    feature is read but of the candidates of all.
    """
    model, n = views[0].model, len(features)
    search, codec, ranges = kernel(model), model.codec, model.lists.ranges(categories)
    n_items, n_lists = sum(view.n_rows for view in views), len(model.lists)
    by_feature = refined or model.is_of_differences
    n_short = N_SHORT * params.n_probe if by_feature else params.n_probe
    shape = n, min(k, params.n_candidates, n_items)
    found = Found(np.empty(shape, np.int64), np.empty(shape, np.float32), np.empty(shape, np.int32))

    given: Any  # which holds while the views are there, as they are here
    if search is plain.search:
        given = [view.arrays for view in views]
    else:
        given = views[0].table if len(views) == 1 else np.concatenate([v.table for v in views])

    def ask(part: slice) -> None:
        search(
            given,
            features[part].astype(np.float32),
            _values(codec, features[part]),
            params.distance == "asymmetric" and isinstance(codec, Codec),
            ranges,
            min(params.n_probe, n_lists),
            min(n_short, n_lists),
            min(params.n_candidates, n_items),
            refined,
            found.ids[part],
            found.similarity[part],
            found.distance[part],
        )

    if n_threads == 1 or n < 2:
        ask(slice(0, n))
    else:
        size = -(-n // (_PARTS * n_threads))
        parts = iter([slice(start, start + size) for start in range(0, n, size)])

        def ask_some() -> None:
            for part in parts:  # whoever is first gets the next
                ask(part)

        with ThreadPoolExecutor(n_threads - 1, thread_name_prefix="search") as pool:
            others = [pool.submit(ask_some) for _ in range(n_threads - 1)]
            ask_some()
        for other in others:
            other.result()  # raises what it raised
    return found


def _values(codec: Encoder, features: np.ndarray) -> np.ndarray:
    """Values whose signs are bits of codes, float64 (n, n_bits); none where a map makes them."""
    if isinstance(codec, Codec):
        return np.empty((0, codec.n_bits))
    return 2.0 * np.unpackbits(codec.encode(features), axis=1) - 1


def best(parts: Sequence[Candidates], k: int, n_candidates: int) -> Hits:
    """The `k` most similar of the `n_candidates` nearest by code.

    Ties, of either, go to the lower id, so the result depends neither on how the catalogue is cut
    into `parts` nor on how much of it is in a base.
    """
    ids = np.concatenate([part.ids for part in parts])
    similarity = np.concatenate([part.similarity for part in parts])
    if len(ids) > n_candidates:
        distances = np.concatenate([part.distance for part in parts])
        last = np.partition(distances, n_candidates - 1)[n_candidates - 1]
        inside, ties = np.flatnonzero(distances < last), np.flatnonzero(distances == last)
        ties = ties[np.argsort(ids[ties])[: n_candidates - len(inside)]]
        chosen = np.concatenate([inside, ties])
        ids, similarity = ids[chosen], similarity[chosen]
    if len(ids) > k:
        chosen = np.flatnonzero(similarity >= np.partition(similarity, -k)[-k])
        ids, similarity = ids[chosen], similarity[chosen]
    order = np.lexsort((ids, -similarity))[:k]
    return Hits(ids[order], similarity[order])


def nearest(parts: Sequence[Candidates], k: int) -> Hits:
    """The `k` nearest by code, ties going to the lower id, with their similarities."""
    ids = np.concatenate([part.ids for part in parts])
    distances = np.concatenate([part.distance for part in parts])
    order = np.lexsort((ids, distances))[:k]
    return Hits(ids[order], np.concatenate([part.similarity for part in parts])[order])


# What computes it ------------------------------------------------------------------------------

_search: Callable[..., None] | None = None
_loading = threading.Lock()


def kernel(model: Model) -> Callable[..., None]:
    """The compiled search; where it cannot be compiled, the one in numpy, and a line that says so.

    The first call of a process loads it, in about a second, and the first on a machine compiles it.
    """
    global _search
    if _search is None:
        with _loading:
            if _search is None:
                _search = _load(model)
    return _search


def _load(model: Model) -> Callable[..., None]:
    slow = threading.Timer(_SLOW_S, tell, ["the search is compiled: once, and up to a minute"])
    slow.daemon = True
    slow.start()
    try:
        from vsa.index.kernel import search

        view, codec = empty_view(model), model.codec
        nobody = np.empty((0, codec.dim), np.float32), np.empty((0, codec.n_bits))
        into = np.empty((0, 1), np.int64), np.empty((0, 1), np.float32), np.empty((0, 1), np.int32)
        search(view.table, *nobody, True, model.lists.ranges(), 1, 1, 1, True, *into)
        return search
    except Exception as error:  # numba has many of its own, and a machine may lack any part of it
        _LOG.warning("numba cannot compile the search, which runs in numpy, slowly: %s", error)
        return plain.search
    finally:
        slow.cancel()
