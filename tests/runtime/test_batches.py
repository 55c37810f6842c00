import itertools
import threading

import numpy as np
import pytest
import torch

from vsa.runtime.batches import prefetch, to_tensor
from vsa.runtime.device import Device


def test_prefetch_keeps_order_and_works_ahead():
    made = []
    second = threading.Event()

    def items():
        for item in range(3):
            made.append(item)
            if item == 1:
                second.set()
            yield item

    stream = prefetch(items())
    assert next(stream) == 0
    assert second.wait(5), "the next item is made while the first is in use"
    assert list(itertools.chain([0], stream)) == [0, 1, 2]


def test_prefetch_passes_errors_on():
    def items():
        yield 1
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        list(prefetch(items()))


@pytest.mark.parametrize("name", ["cpu", "cuda"])
def test_images_become_channels_last_tensors_of_the_device(name):
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), dtype=np.uint8)
    tensor = to_tensor(images, Device(torch.device(name), None, name))
    assert tensor.device.type == name
    assert tensor.is_contiguous(memory_format=torch.channels_last)
    assert (tensor.permute(0, 2, 3, 1).cpu().numpy() == images).all()


def test_images_for_a_gpu_are_pinned(monkeypatch):
    """Told to be on a GPU, which this machine may lack: the copy itself goes nowhere."""
    pinned = []

    def pin(tensor):
        pinned.append(tuple(tensor.shape))
        return tensor

    class Gpu:
        type = "cuda"

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *_, non_blocking: non_blocking)
    assert to_tensor(np.zeros((2, 5, 4, 3), np.uint8), Device(Gpu(), None, "a GPU")) is True
    assert pinned == [(2, 5, 4, 3)]
