"""A run: one data set at one profile, with its folders."""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from vsa.runtime.atomic import atomic_file
from vsa.runtime.errors import InputError
from vsa.runtime.paths import artifacts_dir, reports_dir
from vsa.runtime.profiles import Profile, get_profile

DATASETS = ("synthetic", "grocery", "clothing")
FOLDER_PREFIX = "folder:"
_MAX_READABLE = 40  # characters of up to four bytes each; a file's name has 255 bytes


@dataclass(frozen=True)
class Run:
    """Names a run and its folders: working files in ``artifacts``, results in ``reports``.

    ``dataset.json`` among the working files says of which data set they are. A folder that was
    made for another one is refused with InputError wherever it is asked for.
    """

    dataset: str
    profile: Profile
    seed: int

    @property
    def name(self) -> str:
        """``<dataset>-<profile>``; a folder goes by ``folder-<its name>-<hash>-<profile>``.

        The hash is of where the folder lies, links resolved: two folders of one name have a run
        each, and a folder that was moved has a new one.
        """
        dataset = self.dataset
        if dataset.startswith(FOLDER_PREFIX):
            path = folder_path(dataset)
            place = hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
            parts = ("folder", _readable(path.name), place)
            dataset = "-".join(part for part in parts if part)
        return f"{dataset}-{self.profile.name}"

    @property
    def artifacts(self) -> Path:
        folder = artifacts_dir() / self.name
        owner = _owner(folder)
        if owner not in (None, self.dataset):
            raise InputError(
                f"these are working files of {owner}, not of {self.dataset}",
                cure="Move them away, and what is in the folder of that name among the reports; "
                "then run again",
                file=folder,
            )
        return folder

    @property
    def reports(self) -> Path:
        return reports_dir() / self.name

    @property
    def figures(self) -> Path:
        return self.reports / "figures"

    def begin(self) -> None:
        """Make the run's folders, and note of which data set the working files are."""
        for folder in (self.artifacts, self.reports, self.figures):
            folder.mkdir(parents=True, exist_ok=True)
        if _owner(self.artifacts) is None:
            with atomic_file(_note(self.artifacts)) as draft:
                draft.write_text(json.dumps({"dataset": self.dataset}), encoding="utf-8")


def make_run(dataset: str, profile: str, seed: int) -> Run:
    """Check the three parameters every notebook takes; a relative folder becomes absolute.

    Raises InputError for unknown names, and if the run's folder is another data set's.
    """
    if dataset not in DATASETS and not dataset.startswith(FOLDER_PREFIX):
        raise InputError(
            f"unknown data set {dataset!r}",
            cure=f"Choose one of {', '.join(DATASETS)}, or folder:PATH for your own (DATASET=...)",
        )
    if not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed {seed!r} is not a whole number ≥ 0", cure="Pass SEED=0, say")
    if dataset.startswith(FOLDER_PREFIX):  # notebooks run in a folder of their own
        dataset = f"{FOLDER_PREFIX}{folder_path(dataset)}"
    run = Run(dataset, get_profile(profile), seed)
    _ = run.artifacts
    return run


def folder_path(dataset: str) -> Path:
    """Where the folder of ``folder:PATH`` lies, links resolved."""
    path = dataset.removeprefix(FOLDER_PREFIX)
    try:
        path.encode()  # notebooks and reports are UTF-8, and name it
        return Path(path).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, ~nobody, a null byte
        raise InputError(
            f"{path!r} is no path ({error})", cure="Name an existing folder as folder:PATH"
        ) from None


def _readable(name: str) -> str:
    """Letters, marks and digits of any script, in lower case; dashes for everything else."""
    kept = [c if c == "_" or unicodedata.category(c)[0] in "LMN" else " " for c in name.lower()]
    short = unicodedata.normalize("NFC", "".join(kept))[:_MAX_READABLE]
    return "-".join(short.split())


def _note(artifacts: Path) -> Path:
    return artifacts / "dataset.json"


def _owner(artifacts: Path) -> str | None:
    """The data set that a folder of working files was made for; None if there is none yet."""
    try:
        return str(json.loads(_note(artifacts).read_text(encoding="utf-8"))["dataset"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError, KeyError):
        return "a data set that cannot be told"
