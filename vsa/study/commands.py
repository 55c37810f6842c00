"""What to type for a run, in words that survive a shell and make."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from vsa.data.names import FOLDER_PREFIX, folder_path
from vsa.runtime.markup import escape_make
from vsa.runtime.paths import ROOT


def vsa_command(verb: str, dataset: str, profile: str, seed: int, overrides: str) -> str:
    """``vsa reproduce --dataset … --profile … --seed …``, with ``--set`` where it is needed."""
    words = ["vsa", *verb.split(), "--dataset", dataset, "--profile", profile]
    words += ["--seed", str(seed), *(["--set", overrides] if overrides else [])]
    return shlex.join(words)


def make_command(target: str, **variables: str | int) -> str:
    """``make reproduce DATASET=… PROFILE=…``; variables that are "" are left out."""
    given = {name: escape_make(str(value)) for name, value in variables.items() if value != ""}
    return shlex.join(["make", target, *(f"{name}={value}" for name, value in given.items())])


def dataset_to_type(dataset: str) -> str:
    """A data set's name as it is typed in the checkout, with as little of a path as does.

    A folder in the checkout is named from there, and one in the user's home from ``~``.
    """
    if not dataset.startswith(FOLDER_PREFIX):
        return dataset
    path, home = folder_path(dataset), Path(os.path.expanduser("~")).resolve()
    if path.is_relative_to(ROOT):
        return f"{FOLDER_PREFIX}{path.relative_to(ROOT)}"
    if path.is_relative_to(home):
        return f"{FOLDER_PREFIX}~/{path.relative_to(home)}"
    return dataset
