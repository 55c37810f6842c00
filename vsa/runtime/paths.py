"""Every absolute path of the project, in one place.

Environment variables move the folders: ``VSA_DATA_DIR`` (downloaded data sets),
``VSA_WEIGHTS_DIR`` (pretrained weights), ``VSA_ARTIFACTS_DIR`` (working files) and
``VSA_REPORTS_DIR`` (published results). By default they lie in the checkout. Where vsa is installed
without one, they lie in the user's folder for data, ``~/.local/share/vsa``.
"""

from __future__ import annotations

import os
from pathlib import Path

from vsa.runtime.errors import InputError

ROOT = Path(__file__).resolve().parents[2]  # the checkout, or what vsa is installed in
NOTEBOOKS = ROOT / "notebooks"


def is_checkout() -> bool:
    """Whether the repository is here, with notebooks and reports, and not the package alone."""
    return (ROOT / "Snakefile").is_file()


def _home() -> Path:
    """What the folders lie in by default."""
    if is_checkout():
        return ROOT
    shared = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(os.path.expanduser(shared)) / "vsa"


def _from_environment(variable: str, default: str) -> Path:
    value = os.environ.get(variable)
    try:
        return Path(value).expanduser().resolve() if value else _home() / default
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, ~nobody
        raise InputError(
            f"{variable} is no path ({error})", cure="Set it to a folder, or unset it", file=value
        ) from None


def data_dir() -> Path:
    """Folder that holds the public data sets, each under its repository's name."""
    return _from_environment("VSA_DATA_DIR", "data")


def weights_dir() -> Path:
    """Folder searched for pretrained weights before torchvision downloads them into it."""
    return _from_environment("VSA_WEIGHTS_DIR", "artifacts/weights")


def artifacts_dir() -> Path:
    """Folder of working files: rendered shops, decoded images, models, executed notebooks."""
    return _from_environment("VSA_ARTIFACTS_DIR", "artifacts")


def reports_dir() -> Path:
    """Folder of published results, one sub-folder per run."""
    return _from_environment("VSA_REPORTS_DIR", "reports")


def cache_variables() -> dict[str, str]:
    """Environment that keeps the caches of Snakemake, matplotlib and Jupyter among working files.

    HOME may be a place that cannot be written. What the user has set, stays.
    """
    caches = artifacts_dir() / "caches"
    variables = {
        "XDG_CACHE_HOME": caches,
        "MPLCONFIGDIR": caches / "matplotlib",
        "IPYTHONDIR": caches / "ipython",
        "JUPYTER_RUNTIME_DIR": caches / "jupyter",
    }
    return {name: os.environ.get(name) or str(folder) for name, folder in variables.items()}


def relative_to_root(path: Path) -> str:
    """The path as a reader of a report should see it: relative to the checkout where possible."""
    path = path.resolve()
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
