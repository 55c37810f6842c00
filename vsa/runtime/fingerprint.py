"""Fingerprints: a cached product is used again only if what made it is the same."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # torch is slow to import, and few need it here
    import torch

_ROWS = 1024


def fingerprint(*modules: ModuleType, **parameters: Any) -> str:
    """12 hex digits of a SHA-256 over the modules' source text and the parameters.

    Parameters must be JSON-serialisable or have a ``repr`` that is stable between processes
    (dataclasses of plain values do).
    """
    digest = hashlib.sha256()
    for module in modules:
        digest.update(inspect.getsource(module).encode())
    digest.update(json.dumps(parameters, sort_keys=True, default=repr).encode())
    return digest.hexdigest()[:12]


def checksum(array: np.ndarray) -> str:
    """12 hex digits of a SHA-256 over an array's shape, type and values, mapped or not."""
    digest = hashlib.sha256(f"{array.shape} {array.dtype}".encode())
    for start in range(0, len(array), _ROWS):
        digest.update(array[start : start + _ROWS].tobytes())
    return digest.hexdigest()[:12]


def state_digest(state: Mapping[str, torch.Tensor]) -> str:
    """12 hex digits of a SHA-256 over the names and values of a network's weights."""
    digest = hashlib.sha256()
    for name, value in state.items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]
