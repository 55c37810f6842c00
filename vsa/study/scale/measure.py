"""What the cost model rests on: timed searches of one shard, and timed messages of Ray."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from vsa.index.index import Index
from vsa.study.index.timing import N_WARMUP, one_thread
from vsa.study.scale.cost import CANDIDATE_BYTES, ItemBytes
from vsa.study.scale.echo import Echo
from vsa.study.scale.prepare import ScaleLab

_PROBES = (8, 32, 128)  # lists visited
_ANSWERS = (0, 1_000, 5_000)  # candidates in an answer; of more, Ray makes shared memory
_ASKED = (1, 3, 6)  # processes that are asked at once


def measure_shards(lab: ScaleLab) -> tuple[pd.DataFrame, ItemBytes]:
    """Median milliseconds of a search of indexes of several sizes, on one thread.

    A shard answers all of its candidates, and so does what is timed here. Returns columns
    ``items``, ``lists``, ``probes`` and ``ms``, and the bytes of the largest index.
    """
    queries = lab.queries(lab.settings.n_timed)
    rows = []
    folder = lab.folder / "timed"
    for n_items in lab.settings.sizes:
        features, categories = lab.growth.catalogue(n_items)
        lab.build(folder, features, categories)
        with Index.open(folder) as index, one_thread():
            n_lists = len(index.model.lists)
            for n_probe in (n for n in _PROBES if n <= n_lists):
                params = replace(index.params, n_probe=n_probe)
                ms = _median_ms(partial(index.candidates, params=params), list(queries))
                rows.append((n_items, n_lists, n_probe, ms))
            held = bytes_of(index)
    return pd.DataFrame(rows, columns=["items", "lists", "probes", "ms"]).astype(float), held


def bytes_of(index: Index) -> ItemBytes:
    """What the arrays of an index take, per item and per list."""
    base, lists = index.current().base, index.model.lists
    per_item = (base.codes.nbytes + base.ids.nbytes + base.by_id.nbytes) / len(base)
    per_list = (lists.centroids.nbytes + lists.words.nbytes + base.offsets.nbytes) / len(lists)
    return ItemBytes(per_item, base.features.nbytes / len(base), per_list)


def measure_messages(n_timed: int) -> pd.DataFrame:
    """Median milliseconds until so many processes have answered so many bytes, over Ray.

    They answer at once, without any work. Columns ``shards``, ``bytes`` and ``ms``.
    """
    import ray  # here: the rest of a notebook is read where it is not installed

    echo: Any = ray.remote(num_cpus=0)(Echo)
    actors = [echo.remote() for _ in range(max(_ASKED))]
    rows = []
    for n_asked in _ASKED:
        for n_candidates in _ANSWERS:
            size = CANDIDATE_BYTES * n_candidates

            def ask(_: int, some: int = n_asked, n_bytes: int = size) -> None:
                ray.get([actor.answer.remote(n_bytes) for actor in actors[:some]])

            rows.append((n_asked, size, _median_ms(ask, range(n_timed))))
    for actor in actors:
        ray.kill(actor)
    return pd.DataFrame(rows, columns=["shards", "bytes", "ms"]).astype(float)


def _median_ms(call: Callable[[Any], object], arguments: Sequence[Any]) -> float:
    """Of one call after the other, those that warm up apart."""
    times = []
    for argument in [*arguments[:N_WARMUP], *arguments]:
        start = time.perf_counter()
        call(argument)
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times[-len(arguments) :]))
