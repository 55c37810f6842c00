"""Networks as ONNX, and onnxruntime to run them: torch is needed to make them, not to use them.

The exporter is torch's older one, by tracing, as `vsa.runtime.inference` freezes networks by it.
The newer one took ten times as long here, and refuses GoogLeNet where pictures may be of any size.
"""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vsa.runtime.errors import InputError
from vsa.runtime.extras import missing_explained

OPSET = 17  # of ONNX: from 2022, old enough for whatever runs it


def to_onnx(
    network: nn.Module,
    examples: Mapping[str, Tensor],
    outputs: Sequence[str],
    *,
    free_size: bool = False,
) -> bytes:
    """A network as the bytes of an ONNX file; the number of pictures is free.

    Parameters
    ----------
    network : for inference; it is copied, not changed.
    examples : input's name → what it may be given, in the order of its arguments.
    outputs : names of what it gives, in their order.
    free_size : let height and width of pictures be free, too.

    Raises
    ------
    InputError for a network that holds what ONNX cannot say, and where onnx is not installed.
    """
    with missing_explained():
        import onnx
    network = copy.deepcopy(network).eval().requires_grad_(False)
    _spell_out_averages(network)
    free = {0: "n", 2: "height", 3: "width"} if free_size else {0: "n"}
    written = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the tracer, which takes sizes for constants
            torch.onnx.export(
                network,
                tuple(examples.values()),
                written,
                input_names=list(examples),
                output_names=list(outputs),
                dynamic_axes=dict.fromkeys(examples, free) | {name: {0: "n"} for name in outputs},
                opset_version=OPSET,
                dynamo=False,
            )
    except Exception as error:  # of many kinds, by what the network holds
        raise InputError(
            f"the network {type(network).__name__} cannot be written as ONNX "
            f"({type(error).__name__}: {str(error).splitlines()[0]})",
            cure="Use it with torch, which needs no export",
        ) from error
    onnx.checker.check_model(onnx.load_from_string(written.getvalue()))
    return written.getvalue()


class OnnxNetwork(nn.Module):
    """A network that onnxruntime runs on the CPU, one core per call; from any number of threads.

    It takes and gives one tensor, float32, as the network did that `to_onnx` was given.
    """

    def __init__(self, model: bytes) -> None:
        super().__init__()
        self._session = session(model)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) → what the network makes of them."""
        (name,) = (taken.name for taken in self._session.get_inputs())
        (found,) = self._session.run(None, {name: pictures.float().contiguous().numpy()})
        return torch.from_numpy(found)


def session(model: bytes) -> Any:
    """An onnxruntime session on one core of the CPU; its ``run(None, inputs)`` gives arrays."""
    with missing_explained():
        import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def greatest_difference(
    network: nn.Module, model: bytes, inputs: Mapping[str, Tensor], outputs: Sequence[str]
) -> dict[str, float]:
    """By how much onnxruntime's outputs differ from the network's own, at most; by their names."""
    arrays = {name: given.numpy() for name, given in inputs.items()}
    found = session(model).run(list(outputs), arrays)
    with torch.inference_mode():
        expected = network(*inputs.values())
    expected = (expected,) if isinstance(expected, Tensor) else expected
    return {
        name: float(np.abs(one.numpy() - other).max())
        for name, one, other in zip(outputs, expected, found, strict=True)
    }


class _Average(nn.Module):
    """`nn.AdaptiveAvgPool2d` as two products of matrices: ONNX has no pooling to any size."""

    def __init__(self, n_rows: int, n_columns: int) -> None:
        super().__init__()
        self.n_rows, self.n_columns = n_rows, n_columns

    def forward(self, maps: Tensor) -> Tensor:
        rows = _averaging(int(maps.shape[2]), self.n_rows)
        columns = _averaging(int(maps.shape[3]), self.n_columns)
        return rows @ maps @ columns.T


def _averaging(n: int, n_cells: int) -> Tensor:
    """The matrix (n_cells, n) that averages n values into cells, as torch divides them."""
    weights = torch.zeros(n_cells, n)
    for cell in range(n_cells):
        start, end = cell * n // n_cells, -(-(cell + 1) * n // n_cells)
        weights[cell, start:end] = 1 / (end - start)
    return weights


def _spell_out_averages(network: nn.Module) -> None:
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.AdaptiveAvgPool2d) and child.output_size not in (1, (1, 1)):
                size = child.output_size
                rows, columns = size if isinstance(size, tuple) else (size, size)
                setattr(module, name, _Average(rows, columns))
