"""How searches are timed: warmed up, one thread on one core, quantiles."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import faiss
import numpy as np
import torch
from threadpoolctl import threadpool_limits

K = 60
N_WARMUP = 20


def latency(times: np.ndarray) -> dict[str, float]:
    """Quantiles of seconds, in ms."""
    p50, p95, p99 = 1e3 * np.quantile(times, [0.5, 0.95, 0.99])
    return {"p50_ms": p50, "p95_ms": p95, "p99_ms": p99}


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this thread on one core, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class one_thread:
    """Let faiss, torch and numpy's linear algebra use one thread only."""

    def __enter__(self) -> None:
        self.blas = threadpool_limits(1, user_api="blas")
        self.before = faiss.omp_get_max_threads(), torch.get_num_threads()
        faiss.omp_set_num_threads(1)
        torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        self.blas.restore_original_limits()
        faiss.omp_set_num_threads(self.before[0])
        torch.set_num_threads(self.before[1])
