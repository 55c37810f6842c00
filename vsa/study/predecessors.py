"""What one notebook leaves for the next, and what to say where it is missing."""

from __future__ import annotations

from pathlib import Path

from vsa.runtime.atomic import settled
from vsa.runtime.errors import InputError
from vsa.study.run import Run


def made_by(notebook: str, run: Run, folder: Path) -> Path:
    """The folder, made by a notebook before this one.

    Raises InputError, with the command that makes it, if that notebook was not run.
    """
    found = settled(folder)
    if not found.is_dir():
        raise InputError(
            f"{notebook} was not run for {run.name}",
            cure=f"Run `{_command(run)}`, or execute that notebook first",
        )
    return found


def _command(run: Run) -> str:
    words = ["make reproduce"]
    if run.dataset != "synthetic":
        words.append(f"DATASET={_quoted(run.dataset)}")
    words.append(f"PROFILE={run.profile}")
    if run.seed:
        words.append(f"SEED={run.seed}")
    if run.overrides:
        words.append(f"SET='{run.overrides}'")
    return " ".join(words)


def _quoted(text: str) -> str:
    return f"'{text}'" if " " in text else text
