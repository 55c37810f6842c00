"""Networks made ready for answering: what a trained network computes, in less time.

Batch norms are folded into the convolutions before them and weights lie channels-last. Both change
the order of floating-point operations and nothing else: features and probabilities stay within
1e-4 of those of the training code, as the tests check. Compiling the networks gained nothing
reliable on a two-core CPU, and made every start wait for it.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import faiss
import torch
from torch import nn
from torch.fx.experimental.optimization import fuse

from vsa.runtime.device import Device


def ready(net: nn.Module, device: Device) -> nn.Module:
    """A copy of a network for inference only; parts named ``backbone`` or ``trunk`` are folded."""
    net = copy.deepcopy(net).eval().requires_grad_(False)
    for parent in list(net.modules()):
        for name in ("backbone", "trunk"):
            if isinstance(part := getattr(parent, name, None), nn.Module):
                setattr(parent, name, fuse(part, inplace=True))
    return net.to(device.device, memory_format=device.memory_format)


_lock = threading.Lock()
_inside = 0  # threads that are in `one_core` …
_before = (1, 1)  # … and what torch and faiss were set to when the first of them came


@contextmanager
def one_core() -> Iterator[None]:
    """Let the calling thread's networks and searches use one core, whatever others do.

    One photo is too little work to share: cores that wait for each other cost more than they
    bring, most of all while other threads answer other photos. Threads may overlap: a new one
    would take the setting of another for its own, so that of before the first is given back.
    """
    global _inside, _before
    with _lock:
        if not _inside:
            _before = torch.get_num_threads(), faiss.omp_get_max_threads()
        _inside += 1
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            torch.set_num_threads(_before[0])
            faiss.omp_set_num_threads(_before[1])
