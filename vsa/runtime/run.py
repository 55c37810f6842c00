"""A run: one data set at one profile, with its folders."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from vsa.runtime.errors import InputError
from vsa.runtime.paths import artifacts_dir, reports_dir
from vsa.runtime.profiles import Profile, get_profile

DATASETS = ("synthetic", "grocery", "clothing")
FOLDER_PREFIX = "folder:"


@dataclass(frozen=True)
class Run:
    """Names a run and its folders: working files in ``artifacts``, results in ``reports``."""

    dataset: str
    profile: Profile
    seed: int

    @property
    def name(self) -> str:
        """``<dataset>-<profile>``; a folder of one's own goes by ``folder-<its name>``."""
        dataset = self.dataset
        if dataset.startswith(FOLDER_PREFIX):
            folder = Path(dataset.removeprefix(FOLDER_PREFIX)).expanduser().resolve().name
            dataset = "folder-" + re.sub(r"[^A-Za-z0-9_]+", "-", folder).strip("-").lower()
        return f"{dataset}-{self.profile.name}"

    @property
    def artifacts(self) -> Path:
        return artifacts_dir() / self.name

    @property
    def reports(self) -> Path:
        return reports_dir() / self.name

    @property
    def figures(self) -> Path:
        return self.reports / "figures"


def make_run(dataset: str, profile: str, seed: int) -> Run:
    """Check the three parameters every notebook takes; raises InputError for unknown names."""
    if dataset not in DATASETS and not dataset.startswith(FOLDER_PREFIX):
        raise InputError(
            f"unknown data set {dataset!r}",
            cure=f"Choose one of {', '.join(DATASETS)}, or folder:PATH for your own (DATASET=...)",
        )
    if not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed {seed!r} is not a whole number ≥ 0", cure="Pass SEED=0, say")
    return Run(dataset, get_profile(profile), seed)
