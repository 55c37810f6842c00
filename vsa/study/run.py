"""A run: one data set at one profile, with its settings and its folders."""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vsa.data.datasets import find_source
from vsa.data.names import FOLDER_PREFIX, folder_path
from vsa.runtime.atomic import atomic_file
from vsa.runtime.errors import InputError
from vsa.runtime.paths import artifacts_dir, reports_dir
from vsa.study.settings import Change, Settings, parse_changes, read_settings, write_changes

_MAX_READABLE = 40  # characters of up to four bytes each; a file's name has 255 bytes


@dataclass(frozen=True)
class Run:
    """Names a run and its folders: working files in ``artifacts``, results in ``reports``.

    ``run.json`` among the working files says of which data set they are. A folder that was made
    for another one is refused with InputError wherever it is asked for.
    """

    dataset: str
    profile: str
    seed: int
    settings: Settings
    changes: Mapping[str, Change]  # by dotted names: settings that are not the profile's

    @property
    def name(self) -> str:
        """``<dataset>-<profile>``; a folder goes by ``folder-<its name>-<hash>-<profile>``.

        The hash is of where the folder lies, links resolved: two folders of one name have a run
        each, and a folder that was moved has a new one. Changed settings and a hash of them follow.
        """
        dataset = self.dataset
        if dataset.startswith(FOLDER_PREFIX):
            path = folder_path(dataset)
            parts = ("folder", _readable(path.name), _hash(os.fsencode(path), 8))
            dataset = "-".join(part for part in parts if part)
        name = f"{dataset}-{self.profile}"
        return f"{name}-{_named(self.changes)}" if self.changes else name

    @property
    def overrides(self) -> str:
        """What was changed, as ``SET`` and the notebooks' parameter have it; "" if nothing."""
        return write_changes(self.changes)

    @property
    def may_show_pictures(self) -> bool:
        """Whether its notebooks and report may hold pictures of the data set."""
        return find_source(self.dataset).may_show_pictures

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
        """Make the run's folders, and note of what the working files are."""
        for folder in (self.artifacts, self.reports, self.figures):
            folder.mkdir(parents=True, exist_ok=True)
        if _owner(self.artifacts) is None:
            note = {
                "dataset": self.dataset,
                "profile": self.profile,
                "seed": self.seed,
                "overrides": self.overrides,
            }
            with atomic_file(_note(self.artifacts)) as draft:
                draft.write_text(json.dumps(note), encoding="utf-8")


def make_run(dataset: str, profile: str, seed: int, overrides: str | Mapping[str, Any] = "") -> Run:
    """Check the parameters every notebook takes; a relative folder becomes absolute.

    Parameters
    ----------
    dataset : one of `vsa.datasets`, or folder:PATH.
    profile : smoke, laptop or full.
    seed : ≥ 0.
    overrides : settings of the profile that are changed, ``embedding.margin=0.3 …``, or a mapping
        from dotted names to values. Such a run has a name of its own.

    Raises
    ------
    InputError for unknown names, values that do not fit, and if the run's folder is another data
    set's.
    """
    source = find_source(dataset)
    if not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed {seed!r} is not a whole number ≥ 0", cure="Pass SEED=0, say")
    if dataset.startswith(FOLDER_PREFIX):  # notebooks run in a folder of their own
        dataset = f"{FOLDER_PREFIX}{folder_path(dataset)}"
    settings, changes = read_settings(
        profile,
        dataset,
        source.settings,
        is_rendered=source.is_rendered,
        changes=parse_changes(overrides) if isinstance(overrides, str) else overrides,
    )
    run = Run(dataset, profile, seed, settings, changes)
    _ = run.artifacts
    return run


def _named(changes: Mapping[str, Change]) -> str:
    """Changed settings in a file's name: ``margin-0.3-1f2e3d``."""
    words = [f"{name.rpartition('.')[2]} {change.value}" for name, change in changes.items()]
    text = " ".join(words)
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._") else " " for c in text)
    return "-".join([*kept[:_MAX_READABLE].split(), _hash(write_changes(changes).encode(), 6)])


def _hash(content: bytes, n_digits: int) -> str:
    return hashlib.sha256(content).hexdigest()[:n_digits]


def _readable(name: str) -> str:
    """Letters, marks and digits of any script, in lower case; dashes for everything else."""
    kept = [c if c == "_" or unicodedata.category(c)[0] in "LMN" else " " for c in name.lower()]
    short = unicodedata.normalize("NFC", "".join(kept))[:_MAX_READABLE]
    return "-".join(short.split())


def known_dataset(name: str) -> str | None:
    """The data set that a run of that name is of, with its folder; None without working files."""
    return _owner(artifacts_dir() / name)


def _note(artifacts: Path) -> Path:
    return artifacts / "run.json"


def _owner(artifacts: Path) -> str | None:
    """The data set that a folder of working files was made for; None if there is none yet."""
    try:
        return str(json.loads(_note(artifacts).read_text(encoding="utf-8"))["dataset"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError, KeyError):
        return "a data set that cannot be told"
