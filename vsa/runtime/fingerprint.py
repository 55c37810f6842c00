"""Fingerprints: a cached product is used again only if what made it is the same."""

from __future__ import annotations

import hashlib
import inspect
import json
import zlib
from types import ModuleType
from typing import Any

import numpy as np


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


def checksum(images: np.ndarray) -> int:
    """CRC-32 of every eighth row and column of images, uint8 (n, S, S, 3).

    Each image counts, so that one replaced under its old name is noticed.
    """
    return zlib.crc32(images[:, ::8, ::8].tobytes())
