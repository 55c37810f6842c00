"""Latency of a call: warmed up, repeated, median and 95th percentile."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Timing:
    """Latency over ``n`` calls, with the number of CPU threads torch could use."""

    median_ms: float
    p95_ms: float
    n: int
    threads: int


def measure(fn: Callable[[], object], n_warmup: int, n_repeats: int) -> Timing:
    """Time ``fn()`` `n_repeats` times, after `n_warmup` calls that do not count.

    Work queued on a GPU is waited for. Raises ValueError unless n_repeats ≥ 1.
    """
    if n_repeats < 1:
        raise ValueError("n_repeats must be at least 1")
    for _ in range(n_warmup):
        fn()
    _wait_for_gpu()
    times_ms = np.empty(n_repeats)
    for i in range(n_repeats):
        start = time.perf_counter()
        fn()
        _wait_for_gpu()
        times_ms[i] = (time.perf_counter() - start) * 1e3
    median, p95 = np.quantile(times_ms, [0.5, 0.95])
    return Timing(float(median), float(p95), n_repeats, torch.get_num_threads())


def _wait_for_gpu() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
