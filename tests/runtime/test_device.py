from __future__ import annotations

import pytest
import torch

from vsa.runtime.device import Device, pick_device


@pytest.fixture
def _no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def product(device: Device) -> torch.Tensor:
    ones = torch.ones(2, 2, device=device.device)
    with device.autocast():
        return ones @ ones


@pytest.mark.usefixtures("_no_gpu")
@pytest.mark.parametrize(
    ("has_amx", "dtype"), [(True, torch.bfloat16), (False, torch.float32), (None, torch.float32)]
)
def test_cpu_precision_follows_the_chip(monkeypatch, has_amx, dtype):
    if has_amx is None:  # a torch that cannot tell
        monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    else:
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_amx, raising=False)
    device = pick_device()
    assert device.device.type == "cpu"
    assert device.name.endswith(str(dtype).removeprefix("torch."))
    assert product(device).dtype == dtype


def test_images_take_the_layout():
    device = pick_device()
    image = torch.rand(2, 3, 4, 5).to(memory_format=device.memory_format)
    assert image.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_uses_bfloat16():
    assert product(pick_device()).dtype == torch.bfloat16
