"""Every method with a `VERSION`, and the numbers that it must give again.

The inputs are drawn by NumPy's plain uniform numbers or by arithmetic, and so are the weights of
networks: no number rests on torch's generator. Everything runs on the CPU in float32.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from vsa.runtime.device import Device

FOLDER = Path(__file__).parent
CPU = Device(torch.device("cpu"), None, "CPU")
EXACT, LOSS, NETWORK, TRAINING = 0.0, 1e-5, 1e-3, 1e-2  # tolerances, of an array's largest value

Numbers = Mapping[str, Any]  # name → array, number, or list of words


@dataclass(frozen=True)
class Method:
    """What is kept of a method at its present version."""

    name: str
    version: int
    module: str
    tolerance: float
    numbers: Callable[[], Numbers]

    @property
    def path(self) -> Path:
        """The file with its numbers."""
        slug = "".join(c if c.isalnum() else "-" for c in self.name.lower())
        return FOLDER / f"{slug}-v{self.version}.json"


METHODS: dict[str, Method] = {}


def method(
    name: str, module: ModuleType, tolerance: float, version: int | None = None
) -> Callable[[Callable[[], Numbers]], Callable[[], Numbers]]:
    """Let a function stand for a method; its version is the module's unless given."""

    def keep(numbers: Callable[[], Numbers]) -> Callable[[], Numbers]:
        number = module.VERSION if version is None else version
        METHODS[name] = Method(name, number, module.__name__, tolerance, numbers)
        return numbers

    return keep


def computed(which: Method) -> dict[str, list]:
    """The numbers of a method now, as flat lists of plain values."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = which.numbers()
    finally:
        torch.set_num_threads(threads)
    return {name: _flat(value) for name, value in found.items()}


def _flat(value: Any) -> list:
    if isinstance(value, torch.Tensor):
        value = value.detach().numpy()
    array = np.asarray(value).ravel()
    if array.dtype.kind == "f":
        return [float(f"{x:.9g}") for x in array.astype(np.float64)]
    return [x.item() if isinstance(x, np.generic) else x for x in array]


def write(which: Method) -> None:
    """Keep its numbers; raises FileExistsError rather than change what is kept."""
    with which.path.open("x", encoding="utf-8") as stream:
        json.dump(computed(which), stream, indent=0, ensure_ascii=False)
        stream.write("\n")


def differences(which: Method) -> list[str]:
    """What differs by more than the tolerance from what is kept."""
    kept = json.loads(which.path.read_text(encoding="utf-8"))
    now = computed(which)
    found = [f"{name} is kept or computed, not both" for name in set(kept) ^ set(now)]
    for name in sorted(set(kept) & set(now)):
        before, after = np.array(kept[name]), np.array(now[name])
        if before.shape != after.shape:
            found.append(f"{name}: {len(before)} values were kept, {len(after)} are computed")
        elif before.dtype.kind != "f" and after.dtype.kind != "f":
            n_other = int((before != after).sum())
            found += [f"{name}: {n_other} of {len(before)} values are others"] * (n_other > 0)
        else:
            scale = np.abs(before).max(initial=1e-12)
            error = float(np.abs(after - before).max(initial=0) / scale)
            if not error <= which.tolerance:
                found.append(f"{name}: differs by {error:.2g} of its largest value")
    return found


# Inputs ---------------------------------------------------------------------------------------


def uniform(*shape: int, seed: int = 0) -> np.ndarray:
    """Numbers in [−1, 1), float32."""
    return (2 * np.random.default_rng(seed).random(shape) - 1).astype(np.float32)


def unit(*shape: int, seed: int = 0) -> np.ndarray:
    """Vectors of unit length, float32."""
    vectors = uniform(*shape, seed=seed)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def pictures(n: int, px: int, seed: int = 0) -> np.ndarray:
    """Noise with a rectangle of one colour in each, uint8 (n, px, px, 3)."""
    rng = np.random.default_rng(seed)
    made = (90 + 70 * rng.random((n, px, px, 3))).astype(np.uint8)
    for picture in made:
        left, top = (rng.random(2) * px / 2).astype(int)
        picture[top : top + px // 2, left : left + px // 2] = (255 * rng.random(3)).astype(np.uint8)
    return made


def with_weights(net: nn.Module, seed: int = 0, first: str = "") -> nn.Module:
    """The network with weights of its own: uniform ones that keep the scale of what passes.

    Numbers are drawn for the parts whose names begin with `first` before those of others.
    """
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        drawn = sorted(net.named_parameters(), key=lambda part: not part[0].startswith(first))
        for name, parameter in drawn:
            if name.endswith("bias"):
                parameter.zero_()
            elif parameter.ndim > 1:
                spread = np.sqrt(6 / parameter[0].numel())
                values = spread * (2 * rng.random(tuple(parameter.shape)) - 1)
                parameter.copy_(torch.from_numpy(values))
    return net


def gradient_norms(net: nn.Module) -> dict[str, float]:
    """Norm of the gradient of each weight that has one, summed up by the first part of names."""
    found: dict[str, float] = {}
    for name, parameter in net.named_parameters():
        if parameter.grad is not None:
            part = f"gradient of {name.split('.')[0]}"
            found[part] = found.get(part, 0.0) + float(parameter.grad.double().square().sum())
    return {name: float(np.sqrt(square)) for name, square in found.items()}
