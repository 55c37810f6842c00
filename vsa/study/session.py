"""What the cells of every notebook call; what else a room's notebook needs is in its `notebook`."""

from __future__ import annotations

import torch
from matplotlib_inline.backend_inline import set_matplotlib_formats

from vsa.runtime.system import refusals_explained
from vsa.study.ledger.environment import commit
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.tables import as_table, tables
from vsa.study.run import Run, make_run
from vsa.study.shown import show, source

__all__ = ["Ledger", "as_table", "show", "source", "start", "tables"]


def start(dataset: str, profile: str, seed: int, overrides: str, notebook: str) -> Run:
    """Check the parameters, seed torch, make the run's folders; print run, seed and commit.

    Figures shown in the notebook are JPEG, a third of the size of PNG; reports keep PNG.

    Raises InputError for a parameter that is not known, folders that cannot be made, and a run
    whose folder is another data set's. NumPy needs no seed here: every draw takes a generator
    from `vsa.runtime.seeds.generator`.
    """
    run = make_run(dataset, profile, seed, overrides)
    torch.manual_seed(seed)
    set_matplotlib_formats("jpeg", pil_kwargs={"quality": 80})
    with refusals_explained():
        run.begin()
    print(f"{notebook}: {run.name}, seed {seed}, commit {commit()[:12]}")
    return run
