"""Where notebook 06 leaves the engine of a run, and how whoever needs it opens it."""

from __future__ import annotations

from pathlib import Path

from vsa.engine import CARD, VisualSearch
from vsa.runtime.atomic import settled
from vsa.runtime.errors import InputError
from vsa.study.run import Run


def engine_folder(run: Run) -> Path:
    """The folder of a run's engine."""
    return run.artifacts / "engine"


def require_engine(run: Run) -> Path:
    """The folder of a run's engine; raises InputError if notebook 06 has not built it."""
    folder = settled(engine_folder(run))
    if not (folder / CARD).is_file():
        raise InputError(
            "the engine was not published", cure="Run notebook 06_end_to_end", file=folder
        )
    return folder


def open_engine(run: Run) -> VisualSearch:
    """The engine of a run; raises InputError if it is not there, or damaged."""
    return VisualSearch.open(require_engine(run))
