from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import hypothesis
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

import vsa  # noqa: F401 (before a test imports torch: its threads then wait as the product's do)

PARAMETERS = 'dataset = "synthetic"\nprofile = "smoke"\nseed = 0\noverrides = ""'

WriteNotebook = Callable[..., Path]

# The same examples each time, so that a failure says that the code has changed. Others, to look
# for what nobody thought of: HYPOTHESIS_PROFILE=explore
hypothesis.settings.register_profile("same", derandomize=True)
hypothesis.settings.register_profile("explore", derandomize=False)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes into the checkout, nor shows progress, unless it asks to."""
    monkeypatch.setenv("VSA_ARTIFACTS_DIR", str(tmp_path / "artifacts"))
    monkeypatch.setenv("VSA_REPORTS_DIR", str(tmp_path / "reports"))
    monkeypatch.setenv("VSA_PROGRESS", "off")


@pytest.fixture(scope="session")
def write_notebook() -> WriteNotebook:
    """Write a notebook of a parameters cell and code cells."""

    def write(path: Path, *sources: str, parameters: str | None = PARAMETERS) -> Path:
        cells = [new_code_cell(source) for source in sources]
        if parameters is not None:
            cells.insert(0, new_code_cell(parameters, metadata={"tags": ["parameters"]}))
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(new_notebook(cells=cells), path)
        return path

    return write


@pytest.fixture
def in_memory(tmp_path):
    """A folder in memory if it can be, where much is flushed."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as made:
        yield Path(made)
