"""Packages that only a part of vsa needs: what to install where one of them is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vsa.runtime.errors import InputError

# The extras of pyproject.toml, and the modules that this package imports of what they install.
MODULES = {
    "study": {
        "IPython",
        "cycler",
        "jinja2",
        "jupyter_client",
        "markupsafe",
        "matplotlib",
        "matplotlib_inline",
        "nbformat",
        "papermill",
        "pygments",
        "pytorch_metric_learning",
        "requests",
        "scipy",
        "sklearn",
        "snakemake",
        "threadpoolctl",
        "traitlets",
        "usearch",
        "yaml",
    },
    "app": {"ipywidgets", "voila"},
    "export": {"onnx", "onnxruntime"},
    "cluster": {"ray"},
    "serve": {"fastapi", "multipart", "prometheus_client", "starlette", "uvicorn"},
}


@contextmanager
def missing_explained() -> Iterator[None]:
    """Raise InputError, with the command that mends it, where an extra's package is missing.

    Any other module that cannot be found is somebody's mistake, and keeps its traceback.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        for extra, modules in MODULES.items():
            if module in modules:
                raise InputError(
                    f"this needs the package {module}, which is not installed",
                    cure=f"pip install 'vsa[{extra}]'",
                ) from error
        raise
