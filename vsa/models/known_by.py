"""What tells one network, or function around networks, from another."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from vsa.runtime.digest import Digest
from vsa.runtime.fingerprint import key

# Names and fields say all of networks of these; a new version of theirs computes the same.
_SETTLED = {"vsa", "torch", "torchvision"}


def known_by(part: Callable[..., Any]) -> str:
    """12 hex digits of all that a network or a function computes.

    That is: weights, buffers, structure and plain attributes of every network in it, the source and
    the constants of what is somebody's own, and the version of what is of another package. Raises
    InputError where there is no source, or an attribute whose content cannot be known.
    """
    digest = Digest()
    computed = digest(part).hex()
    return key({name: _version(name) for name in digest.packages - _SETTLED}, computed=computed)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
