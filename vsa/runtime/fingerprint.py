"""Keys of cached products: they are used again only while what made them gives the same results.

A key holds no source text of this package. Each method declares ``VERSION = n`` in its module, and
raises it when its results change, by more than rounding; so a comment, a new name or one more loss
leaves what was made as it is. ``tests/golden`` fails where results change and the version does not.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import os
import sys
from collections.abc import Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import CodeType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from vsa.runtime.errors import InputError

if TYPE_CHECKING:  # slow to import, and few need them here
    import numpy as np
    import torch

_ROWS = 1024
Versions = dict[str, int | str]


def key(versions: Mapping[str, int | str], **parameters: Any) -> str:
    """12 hex digits of a SHA-256 over what a product rests on.

    Parameters
    ----------
    versions : method → its ``VERSION``, of the method itself and of all that it rests on, however
        far up; library → its version, see `libraries`.
    parameters : settings and checksums of the data: plain values, paths, arrays of NumPy, data
        classes of these. Raises TypeError for anything else, which may print differently tomorrow.
    """
    plain = {"versions": dict(versions), "parameters": parameters}
    text = json.dumps(plain, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def libraries(*names: str) -> Versions:
    """Installed packages and their versions; builds of one version (+cpu, +cu128) count as one."""
    found: Versions = {}
    for name in names:
        try:
            found[name] = version(name).split("+")[0]
        except PackageNotFoundError:
            found[name] = "none"
    return found


def _plain(value: object) -> object:

    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if hasattr(value, "tolist"):  # of NumPy, which need not be imported for this
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a key cannot hold a {type(value).__qualname__}: give its version or checksum")


def source_digest(thing: object) -> str:
    """12 hex digits of a SHA-256 over the source of somebody's function, class or object.

    What a function uses of its own module (functions, classes and constants) counts, as do values
    in its closure and the fields of a data class. Raises InputError where there is no source.
    """
    digest = hashlib.sha256()
    seen: set[int] = set()
    waiting: list[object] = [thing]
    while waiting:
        part = waiting.pop(0)
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, partial):
            waiting += [part.func, *part.args, *part.keywords.values()]
        elif isinstance(part, MethodType):
            waiting += [part.__func__, part.__self__]
        elif isinstance(part, FunctionType | type):
            digest.update(_source(part).encode())
            waiting += _used_by(part)
        elif dataclasses.is_dataclass(part):
            waiting += [type(part), *vars(part).values()]
        elif isinstance(part, _PLAIN):
            digest.update(repr(part).encode())
        else:
            digest.update(f"{type(part).__module__}.{type(part).__qualname__}".encode())
            if not _is_library(type(part)):
                waiting += [type(part), *getattr(part, "__dict__", {}).values()]
    return digest.hexdigest()[:12]


_PLAIN = (int, float, complex, str, bytes, bool, tuple, list, dict, set, frozenset, type(None))


def _used_by(part: FunctionType | type) -> list[object]:
    """What a function, or the functions of a class, use of their own module and of closures."""
    if isinstance(part, type):
        return [
            used
            for function in vars(part).values()
            if isinstance(function, FunctionType)
            if not _is_generated(function)
            for used in _used_by(function)
        ]
    found: list[object] = [cell.cell_contents for cell in part.__closure__ or ()]
    for name in sorted(_names(part.__code__)):
        used = part.__globals__.get(name)
        is_near = getattr(used, "__module__", None) == part.__module__
        if is_near or (isinstance(used, _PLAIN) and used is not None):
            found.append(used)
    return found


def _is_generated(function: FunctionType) -> bool:
    """Whether `dataclass` wrote it, from fields that the source of the class shows."""
    file = function.__code__.co_filename
    return file == "<string>" or _is_standard(file)


def _names(code: CodeType) -> set[str]:
    inner = (part for part in code.co_consts if isinstance(part, CodeType))
    return set(code.co_names).union(*(_names(part) for part in inner))


def _source(part: FunctionType | type) -> str:
    if _is_library(part):
        return f"{part.__module__}.{part.__qualname__}"
    try:
        return inspect.getsource(part)
    except (OSError, TypeError):
        if isinstance(part, type):  # of a plug-in or a notebook: its methods have what it has not
            return _class_source(part)
        raise InputError(
            f"{part.__qualname__} has no source to be known by",
            cure="Define it in a file or in a notebook's cell",
        ) from None


def _class_source(part: type) -> str:
    """Bases, plain values and methods of a class."""
    said = [part.__qualname__, *(base.__qualname__ for base in part.__bases__)]
    for name, value in vars(part).items():
        unwrapped = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
        if isinstance(unwrapped, FunctionType) and not _is_generated(unwrapped):
            said.append(_source(unwrapped))
        elif isinstance(value, _PLAIN) and not name.startswith("__"):
            said.append(f"{name} = {value!r}")
    return "\n".join(said)


def _is_library(part: FunctionType | type) -> bool:
    """Whether a part is of an installed package, whose version stands for it."""
    module = sys.modules.get(part.__module__)
    file = getattr(module, "__file__", None) or ""
    return part.__module__ == "builtins" or "site-packages" in file or _is_standard(file)


def _is_standard(file: str) -> bool:
    return bool(file) and file.startswith(os.path.dirname(os.__file__) + os.sep)


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
