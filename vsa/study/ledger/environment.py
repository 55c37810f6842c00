"""What a result depends on besides the code: machine, versions, commit. No host name, no path."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from vsa.runtime.paths import ROOT

PACKAGES = [
    "vsa",
    "torch",
    "torchvision",
    "numpy",
    "faiss-cpu",
    "pandas",
    "scikit-learn",
    "scipy",
    "pillow",
    "matplotlib",
]


def commit() -> str:
    """The checkout's commit, with "+dirty" if tracked or new files differ.

    Those that results are printed in do not count: ``reports`` and the README.

    "unknown" when the package does not run from a git checkout of its own.
    """
    top = _git("rev-parse", "--show-toplevel")
    head = _git("rev-parse", "HEAD")
    if not top or not head or Path(top).resolve() != ROOT:
        return "unknown"
    changes = _git("status", "--porcelain", "--", ".", ":(exclude)reports", ":(exclude)README.md")
    return head if changes == "" else f"{head}+dirty"


def machine() -> dict[str, Any]:
    """Operating system, processor, cores, torch threads, memory in GiB, and GPU name or None."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": _memory_gib(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results rest on."""
    installed = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            installed[package] = "not installed"
    return installed


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        match = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
        if match:
            return match[1].strip()
    return platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):  # not a POSIX system
        return None
