"""Speed of onnxruntime against TorchScript, one picture on one core: what answers in an engine.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/backends.py

Ratios within one process, alternating between the two sides, of the least of many passes: other
work on the machine makes a pass slower, never faster.
"""

from __future__ import annotations

import time

import vsa  # noqa: F401 (before torch, whose threads then wait as the product's do)

# isort: split
import torch
from torch import nn

from vsa.models.backbones import make_backbone
from vsa.runtime.device import pick_device
from vsa.runtime.inference import one_core, ready

NETWORKS = (
    ("googlenet_4a", 64),
    ("googlenet", 64),
    ("googlenet", 224),
    ("mobilenet_v2", 224),
    ("resnet18", 224),
    ("resnet50", 224),
)
N_ROUNDS, N_PASSES = 40, 3


class Net(nn.Module):
    """A backbone by the name that `ready` knows."""

    def __init__(self, architecture: str) -> None:
        super().__init__()
        self.backbone, _ = make_backbone(architecture, pretrained=False)


@torch.inference_mode()
def least_ms(net: nn.Module, picture: torch.Tensor) -> float:
    """The least time of a few passes, in milliseconds."""
    times = []
    for _ in range(N_PASSES):
        start = time.perf_counter()
        net(picture)
        times.append(1e3 * (time.perf_counter() - start))
    return min(times)


def main() -> None:
    print("network       px   TorchScript / onnxruntime")
    for architecture, image_px in NETWORKS:
        torch.manual_seed(0)
        net, picture = Net(architecture), torch.randn(1, 3, image_px, image_px)
        picture = picture.contiguous(memory_format=torch.channels_last)  # as an engine gives it
        sides = [ready(net, pick_device(backend)).backbone for backend in ("torch", "onnx")]
        with one_core():
            rounds = [[least_ms(side, picture) for side in sides] for _ in range(N_ROUNDS)]
        by_torch, by_onnx = map(min, zip(*rounds[2:], strict=True))  # the first warm up
        print(f"{architecture:<12} {image_px:>3}   {by_torch / by_onnx:.2f}")


if __name__ == "__main__":
    main()
