"""Joining Ray: the package, an address, the namespace of a cluster; what is wrong with them."""

from __future__ import annotations

import hashlib
import logging
import os
import socket
from pathlib import Path
from typing import Any

from vsa.runtime.errors import InputError

_REACH_S = 5.0  # for an address to answer at all
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is told to anybody
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # its coming default, of which it warns
    "RAY_DEDUP_LOGS": "0",
}


def load_ray() -> Any:
    """The package, told to be quiet; raises ModuleNotFoundError, explained by `missing_explained`.

    To be called before anything else imports it.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    return ray


def join(address: str | None, namespace: str) -> Any:
    """Connect this process to Ray, unless it is; returns the package.

    Parameters
    ----------
    address : host:port of the head node, or "auto" for the one on this machine; None takes the one
        that this process is connected to, or starts one within this process.

    Raises
    ------
    InputError for an address where nothing answers, and for a Ray of another version.
    """
    ray = load_ray()
    if ray.is_initialized():
        return ray
    if address not in (None, "auto"):
        require_reachable(str(address))
    own = {"include_dashboard": False, "object_store_memory": SMALL_STORE} if not address else {}
    try:
        ray.init(
            address=address or "local",
            namespace=namespace,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **own,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise InputError(
            f"Ray cannot be joined ({_told(error)})",
            cure="Start it (`ray start --head`) with the same versions of Ray and Python on all "
            "machines, and name its address: --address HOST:6379",
        ) from error
    return ray


SMALL_STORE = 80 * 2**20  # bytes of Ray's object store: messages here hardly need it


def require_reachable(address: str) -> None:
    """Raise InputError unless something listens at host:port."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        with socket.create_connection((host, int(port)), _REACH_S):
            return
    except (OSError, ValueError, OverflowError) as error:
        raise InputError(
            f"no Ray answers at {address!r} ({error})",
            cure="Say --address HOST:6379, as `ray start --head` has told; see whether a firewall "
            "lies between",
        ) from None


def namespace_of(folder: Path) -> str:
    """Where the cluster of a folder of shards has its names."""
    return f"vsa-{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"


def _told(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines)[:300] or type(error).__name__
