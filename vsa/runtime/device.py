"""Device and precision, chosen by one rule that was measured rather than assumed.

CUDA where there is one, with bfloat16 autocast. On a CPU, bfloat16 autocast only where the chip
has AMX tiles: without them the conversion costs more than it saves, so float32 stays. The
channels-last memory layout is used on both: on a two-core CPU without AMX it trained GoogLeNet at
64 px 1.3 times and MobileNetV2 1.5–1.7 times as fast.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch

from vsa.runtime.registry import unknown

Backend = Literal["torch", "onnx"]


@dataclass(frozen=True)
class Device:
    """Where tensors live and in which precision and layout networks run."""

    device: torch.device
    autocast_dtype: torch.dtype | None  # None: float32 throughout
    name: str  # as a report prints it
    # what runs networks that are made ready; the name tells it, so caches that know repr stay
    backend: Backend = field(default="torch", repr=False)

    @property
    def memory_format(self) -> torch.memory_format:
        """For ``.to(memory_format=...)`` of images (B, C, H, W) and of convolutional networks."""
        return torch.channels_last

    def autocast(self) -> AbstractContextManager[object]:
        """Context in which a forward pass runs at this device's precision."""
        if self.autocast_dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.autocast_dtype)


def pick_device(backend: Backend = "torch") -> Device:
    """The device of this machine, by the rule at the top of this module.

    With the back end "onnx", onnxruntime runs what answers, in float32 on the CPU, whatever else
    there is. Raises InputError for a back end that is neither.
    """
    if backend not in get_args(Backend):
        raise unknown("back end", backend, get_args(Backend))
    if backend == "onnx":
        return Device(torch.device("cpu"), None, "CPU, onnxruntime, float32", "onnx")
    if torch.cuda.is_available():
        return Device(torch.device("cuda"), torch.bfloat16, torch.cuda.get_device_name())
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    precision = "bfloat16" if has_amx else "float32"
    return Device(
        torch.device("cpu"),
        torch.bfloat16 if has_amx else None,
        f"CPU, {torch.get_num_threads()} threads, {precision}",
    )
