"""Networks made ready for answering: what a trained network computes, in less time.

By default TorchScript traces and freezes them: batch norms are folded into the convolutions before
them, and a pass needs no Python, so that two networks on two cores do not wait for its lock.
Weights lie channels-last. The order of floating-point operations changes and nothing else: features
and probabilities stay within 1e-4 of those of the training code, as the tests check. TorchScript is
deprecated; what is to replace it, compiling, gained nothing reliable on a two-core CPU and made
every start wait for it.

With the back end "onnx", onnxruntime runs the same parts, to the same tolerance. One picture on one
core takes TorchScript 1.2 to 1.9 times as long, by network and size; `benchmarks/backends.py`
measures it. An engine opens more slowly, because the parts are converted then.
"""

from __future__ import annotations

import copy
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import faiss
import torch
from torch import Tensor, nn

from vsa.runtime.device import Device
from vsa.runtime.onnx import OnnxNetwork, to_onnx

_FROZEN = ("backbone", "trunk")
_TRACED_PX = 64  # of an example; networks take images of any size


def ready(net: nn.Module, device: Device) -> nn.Module:
    """A copy of a network for inference only, frozen where a part bears a name of `_FROZEN`.

    What is not frozen shares the network's tensors, if they are on the device already: whoever
    trains on, trains both. The device says what runs the frozen parts. Raises InputError for a
    part that its back end cannot run, and where that is not installed.
    """
    tensors = (*net.parameters(), *net.buffers())
    net = copy.deepcopy(net, {id(one): _placed(one, device) for one in tensors}).eval()
    image = _placed(torch.zeros(1, 3, _TRACED_PX, _TRACED_PX), device)
    parts = [
        (parent, name)
        for parent in net.modules()
        for name in _FROZEN
        if isinstance(getattr(parent, name, None), nn.Module)
    ]
    for parent, name in parts:
        freeze = _by_onnxruntime if device.backend == "onnx" else _by_torchscript
        setattr(parent, name, freeze(getattr(parent, name), image))
    return net


def _placed(tensor: Tensor, device: Device) -> Tensor:
    """A tensor where and as a device has it; not copied if it is so already."""
    layout = device.memory_format if tensor.ndim == 4 else torch.preserve_format
    return tensor.detach().to(device.device, memory_format=layout)


def is_frozen(net: nn.Module) -> bool:
    """Whether `ready` has frozen parts of a network, so that it cannot be kept or trained."""
    return any(isinstance(part, torch.jit.ScriptModule | OnnxNetwork) for part in net.modules())


def _by_torchscript(part: nn.Module, image: Tensor) -> nn.Module:
    class Whole(nn.Module):
        """Hides the modules of the part, which torch would make a script of one by one.

        The graph is the same, since weights become constants, and takes a third of the time.
        """

        def forward(self, images: Tensor) -> Tensor:
            found: Tensor = part(images)
            return found

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # see above
        return torch.jit.freeze(torch.jit.trace(Whole().eval(), image, check_trace=False))


def _by_onnxruntime(part: nn.Module, image: Tensor) -> nn.Module:
    return OnnxNetwork(to_onnx(part, {"pictures": image}, ["features"], free_size=True))


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
