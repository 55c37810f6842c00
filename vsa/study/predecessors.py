"""What one notebook leaves for the next, and what to say where it is missing."""

from __future__ import annotations

import json
from pathlib import Path

from vsa.runtime.atomic import atomic_file, settled
from vsa.runtime.errors import InputError
from vsa.study.commands import dataset_to_type, make_command
from vsa.study.run import Run


def leave(run: Run, folder: Path) -> Path:
    """Note of which seed a folder is that later notebooks read; returns it."""
    with atomic_file(_note(folder)) as draft:
        draft.write_text(json.dumps({"seed": run.seed}), encoding="utf-8")
    return folder


def made_by(notebook: str, run: Run, folder: Path) -> Path:
    """The folder, made by a notebook before this one.

    Raises InputError, with the command that makes it, if that notebook was not run, or not with the
    seed of this run.
    """
    found, cure = settled(folder), f"Run `{_command(run)}`, or execute that notebook first"
    if not found.is_dir():
        raise InputError(f"{notebook} was not run for {run.name}", cure=cure)
    try:
        seed = json.loads(_note(folder).read_text(encoding="utf-8"))["seed"]
    except (FileNotFoundError, ValueError, KeyError):
        seed = None
    if seed != run.seed:
        raise InputError(f"{notebook} was run with seed {seed}, not {run.seed}", cure=cure)
    return found


def _note(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.seed.json")


def _command(run: Run) -> str:
    return make_command(
        "reproduce",
        DATASET="" if run.dataset == "synthetic" else dataset_to_type(run.dataset),
        PROFILE=run.profile,
        SEED=run.seed or "",
        SET=run.overrides,
    )
