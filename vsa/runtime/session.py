"""What the first cell of every notebook calls."""

from __future__ import annotations

import torch

from vsa.evaluation.environment import commit
from vsa.runtime.run import Run, make_run


def start(dataset: str, profile: str, seed: int, notebook: str) -> Run:
    """Check the parameters, seed torch, make the run's folders; print run, seed and commit.

    Raises InputError for a parameter that is not known. NumPy needs no seed here: every draw
    takes a generator from `vsa.runtime.seeds.generator`.
    """
    run = make_run(dataset, profile, seed)
    torch.manual_seed(seed)
    for folder in (run.artifacts, run.reports, run.figures):
        folder.mkdir(parents=True, exist_ok=True)
    print(f"{notebook}: {run.name}, seed {seed}, commit {commit()[:12]}")
    return run
