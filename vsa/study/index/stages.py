"""Where a query's time goes: the stages of the compiled search, run one by one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from vsa.index import kernel
from vsa.index.codec import Codec
from vsa.index.hits import N_SHORT
from vsa.index.index import Index
from vsa.index.request import SearchParams
from vsa.study.index.timing import K, one_core, one_thread

STAGES = ("encode", "probe", "scan", "select", "refine", "rest", "Python")
_N_REPEATS = 3


@njit(nogil=True)
def _scanned(arrays: Any, visited: Any, aim: Any, out: Any) -> None:
    """Distances of all items in some lists, of which nothing is kept."""
    for number, list_ in enumerate(visited):
        start, end = arrays.offsets[list_], arrays.offsets[list_ + 1]
        for first in range(start, end, len(out)):
            kernel.scanned(arrays.codes, number, first, min(len(out), end - first), aim, out)


@njit(nogil=True)
def _called(arrays: Any, query: Any) -> None:
    """Nothing: what calling any stage takes."""


def stage_times(index: Index, params: SearchParams, queries: np.ndarray) -> dict[str, float]:
    """Median milliseconds of each of `STAGES`, for queries float32 (n, d) one at a time.

    Every stage runs by itself over all queries. Selection is what a scan that selects takes longer
    than one that does not. The rest is what one call of all stages takes beyond their sum; less
    than nothing where it takes less, as on a machine that changes its speed. What a whole search
    takes longer than that call is Python. Stages are called from compiled code there, so what a
    call of each from Python takes is not theirs. The index's codec must be a `Codec`, and items
    must all be in its base.
    """
    view, lists = index.current(), index.model.lists
    arrays, table = view.arrays, view.table
    if not isinstance(index.model.codec, Codec):
        raise TypeError("stages are timed for codecs that project")
    is_weighted, ranges = params.distance == "asymmetric", lists.ranges()
    n_probe, n_short = (min(n, len(lists)) for n in (params.n_probe, N_SHORT * params.n_probe))
    out, rows = np.empty(1024, np.uint64), range(len(queries))
    wanted = params.n_candidates, kernel.ANY
    cost = is_weighted, ranges, n_probe, n_short, params.n_candidates, True
    nothing = np.empty((0, index.model.codec.n_bits))
    into = np.empty((1, K), np.int64), np.empty((1, K), np.float32), np.empty((1, K), np.int32)
    with one_thread(), one_core():
        calling, _ = _timed(lambda i: _called(arrays, queries[i]), rows)
        encoding, values = _timed(lambda i: kernel.projected(arrays, queries[i]), rows)
        coded = [kernel.query_code(value, is_weighted) for value in values]
        probing, visited = _timed(
            lambda i: kernel.probed(arrays, queries[i], *coded[i], ranges, n_probe, n_short), rows
        )
        aiming, aims = _timed(
            lambda i: kernel.aimed(arrays, queries[i], values[i], visited[i], is_weighted), rows
        )
        scanning, _ = _timed(lambda i: _scanned(arrays, visited[i], aims[i], out), rows)
        passing, passed = _timed(
            lambda i: kernel.passed(arrays, visited[i], aims[i], *wanted)[0], rows
        )
        comparing, found = _timed(
            lambda i: kernel.similarities(arrays, passed[i], queries[i]), rows
        )
        ranking, _ = _timed(lambda i: kernel.best(arrays, passed[i], found[i], K), rows)
        compiled, _ = _timed(
            lambda i: kernel.search(table, queries[i : i + 1], nothing, *cost, *into), rows
        )
        whole, _ = _timed(lambda i: index.search_one(queries[i], K, params), rows)
    stages = [
        encoding + aiming - 2 * calling,
        probing - calling,
        scanning - calling,
        passing - scanning,
        comparing + ranking - 2 * calling,
    ]
    rest = compiled - sum(stages), whole - compiled
    medians = [1e3 * float(np.median(each)) for each in (*stages, *rest)]
    return dict(zip(STAGES, medians, strict=True))


def _timed(step: Callable[[int], Any], rows: range) -> tuple[np.ndarray, list[Any]]:
    """Least seconds of a step for each row, and what it returned."""
    returned = [step(row) for row in rows]
    best = np.full(len(rows), np.inf)
    for _ in range(_N_REPEATS):
        for row in rows:
            start = time.perf_counter()
            step(row)
            best[row] = min(best[row], time.perf_counter() - start)
    return best, returned
