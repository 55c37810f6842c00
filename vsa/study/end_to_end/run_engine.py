"""Where notebook 06 leaves the engine of a run, and how whoever needs it opens it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from vsa.category.predictor import CategoryPredictor
from vsa.embedding.describer import Describer
from vsa.embedding.joint import JointNet
from vsa.engine import VisualSearch
from vsa.runtime.atomic import settled
from vsa.runtime.errors import InputError
from vsa.store import CARD
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


class Parts(NamedTuple):
    """The networks of an engine that has all stages, as that of a run does."""

    category: CategoryPredictor
    network: JointNet
    describer: Describer


def parts_of(engine: VisualSearch) -> Parts:
    """The networks of an engine; raises InputError for one that lacks a stage."""
    category, network, describer = engine.category, engine.network, engine.describer
    if category is None or network is None or not isinstance(describer, Describer):
        raise InputError(
            "the engine has no category stage or finds no boxes",
            cure="Run notebook 06_end_to_end",
            file=engine.store.folder,
        )
    return Parts(category, network, describer)
