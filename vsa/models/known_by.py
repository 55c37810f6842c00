"""What tells one network, or function around networks, from another."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from types import FunctionType, MethodType
from typing import Any

from torch import nn

from vsa.runtime.fingerprint import key, source_digest, state_digest

# Names and weights say all of networks of these; a new version of theirs computes the same.
_SETTLED = ("vsa", "torch", "torchvision")


def known_by(part: Callable[..., Any]) -> str:
    """12 hex digits of all that a network or a function computes.

    That is: weights and structure of every network in it, the source of what is somebody's own, and
    the version of what is of another package. Raises InputError where there is no source.
    """
    networks = _networks(part)
    packages = {type(network).__module__.split(".")[0] for network in networks}
    return key(
        {name: _version(name) for name in packages - {*_SETTLED}},
        source=[_source(found) for found in (part, *networks)],
        structure=[re.sub(r" at 0x[0-9a-f]+", "", repr(network)) for network in networks],
        weights=[state_digest(network.state_dict()) for network in networks],
    )


def _source(part: object) -> str:
    named: Any = type(part) if isinstance(part, nn.Module) else part
    if getattr(named, "__module__", "").split(".")[0] in _SETTLED:
        return getattr(named, "__qualname__", type(named).__qualname__)
    return source_digest(named)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _networks(part: object) -> list[nn.Module]:
    """The networks that a function holds: its own, those it is bound to, and those it names."""
    found: list[nn.Module] = []
    seen: set[int] = set()
    waiting = [part]
    while waiting:
        part = waiting.pop(0)
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, nn.Module):
            found.append(part)
        elif isinstance(part, partial):
            waiting += [part.func, *part.args, *part.keywords.values()]
        elif isinstance(part, MethodType):
            waiting += [part.__func__, part.__self__]
        elif isinstance(part, FunctionType):
            named = (part.__globals__.get(name) for name in sorted(part.__code__.co_names))
            waiting += [cell.cell_contents for cell in part.__closure__ or ()]
            waiting += [x for x in named if isinstance(x, nn.Module) or _is_near(x, part)]
        elif not isinstance(part, type):
            waiting += getattr(part, "__dict__", {}).values()
    return found


def _is_near(used: object, part: FunctionType) -> bool:
    return isinstance(used, FunctionType) and used.__module__ == part.__module__
