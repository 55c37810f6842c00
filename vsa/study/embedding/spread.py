"""Jobs of a study on the nodes of a Ray cluster, each on one of them.

Nodes see the run's working files, its reports, the data and the weights at the same paths, as on a
shared disk: a job is the same folder wherever it is made, and goes on from checkpoints of another
node. Jobs that start from others come after them.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from vsa.runtime.deadline import DEADLINE, Stopped, time_limit
from vsa.runtime.errors import InputError
from vsa.runtime.paths import artifacts_dir, data_dir, reports_dir, weights_dir
from vsa.runtime.training import Diverged
from vsa.study.embedding.experiment import EmbeddingLab, start_of
from vsa.study.embedding.slices import FINISHED, Slice, StudyJob
from vsa.study.embedding.variants import may_lack_weights
from vsa.study.run import Run, make_run

_DONE, _STOPPED, _FAILED, _LEFT_OUT = "done", "stopped", "failed", "left out"


class Where(NamedTuple):
    """What a node has to know of a run."""

    dataset: str
    profile: str
    seed: int
    overrides: str
    ends: float | None  # by time.time, which machines share more or less


class Outcome(NamedTuple):
    """What became of a job on a node."""

    kind: str
    text: str = ""


def spread_jobs(jobs: Sequence[StudyJob], run: Run, address: str) -> Slice:
    """As `slices.run_jobs`, on the nodes of a cluster; `address` as of `in_tasks`.

    Raises InputError as `in_tasks`, and for what else is wrong with a job.
    """
    from vsa.cluster.offline import in_tasks  # here: without an address, nothing of Ray is loaded

    gone: dict[tuple[str, int], str] = {}  # jobs that failed, each with its reason
    n_new, stopped_at = 0, ""
    left = None if DEADLINE.ends is None else DEADLINE.ends - time.monotonic()
    ends = None if left is None else time.time() + left
    where = Where(run.dataset, run.profile, run.seed, run.overrides, ends)
    for wave in waves(jobs):
        ready = [job for job in wave if (start_of(job.name), job.lab.seed) not in gone]
        for job in (job for job in wave if job not in ready):
            gone[job.name, job.lab.seed] = f"{_named(job)}: it starts from one that failed"
        if not ready or stopped_at:
            continue
        asked = [(job.name, job.lab.seed) for job in ready]
        work = functools.partial(_do, where)
        n_gpus = int(ready[0].lab.device.device.type == "cuda")
        for number, (kind, text) in in_tasks(
            work, asked, address, n_gpus=n_gpus, variables=_folders()
        ):
            job = ready[number]
            told = f"{_named(job)}: {text}" if text else _named(job)
            print(f"vsa: {kind}: {told}", flush=True)
            n_new += kind == _DONE
            if kind == _STOPPED:
                stopped_at = f"within {_named(job)}"
            elif kind == _FAILED:
                gone[asked[number]] = told
    n_finished = sum(job.state in FINISHED for job in jobs)
    return Slice(len(jobs), n_finished, n_new, stopped_at, tuple(gone.values()))


def waves(jobs: Sequence[StudyJob]) -> Iterator[list[StudyJob]]:
    """Jobs that are not finished, with those that they start from, by how many are before them."""
    wanted: dict[tuple[str, int], StudyJob] = {}
    for job in jobs:
        if job.lacks or job.state in FINISHED:
            continue
        one: StudyJob | None = job
        while one is not None and not one.lab.is_done(one.name):
            wanted[one.name, one.lab.seed] = one
            start = start_of(one.name)
            one = StudyJob(one.lab, start) if start else None
    depths = {key: _depth(key, wanted) for key in wanted}
    for depth in range(max(depths.values(), default=-1) + 1):
        yield [job for key, job in wanted.items() if depths[key] == depth]


def _depth(key: tuple[str, int], wanted: dict[tuple[str, int], StudyJob]) -> int:
    start = start_of(key[0]), key[1]
    return 1 + _depth(start, wanted) if start in wanted else 0


def _named(job: StudyJob) -> str:
    return f"{job.name}, seed {job.lab.seed}"


def _folders() -> dict[str, str]:
    """Where a node finds what this process has, by variables of the environment."""
    return {
        "VSA_ARTIFACTS_DIR": str(artifacts_dir()),
        "VSA_DATA_DIR": str(data_dir()),
        "VSA_REPORTS_DIR": str(reports_dir()),
        "VSA_WEIGHTS_DIR": str(weights_dir()),
        "VSA_PLUGINS": os.environ.get("VSA_PLUGINS", ""),
        "VSA_PROGRESS": "off",
    }


def _do(where: Where, asked: tuple[str, int]) -> Outcome:
    """On a node: do a job, by its name and seed."""
    name, seed = asked
    left = None if where.ends is None else (where.ends - time.time()) / 60
    if left is not None and left <= 0:
        return Outcome(_STOPPED)
    with time_limit(left):
        try:
            _labs(where)[seed].run(name)
        except Stopped as stop:
            return Outcome(_STOPPED, str(stop))
        except Diverged as error:
            return Outcome(_FAILED, str(error))
        except InputError as error:
            if not may_lack_weights(name):
                raise
            return Outcome(_LEFT_OUT, str(error))
    return Outcome(_DONE)


@functools.lru_cache(1)  # a node's process does one job after the other
def _labs(where: Where) -> dict[int, EmbeddingLab]:
    from vsa.study.embedding.prepare import open_study  # which knows this module's neighbours

    run = make_run(*where[:4])
    return {job.lab.seed: job.lab for job in open_study(run)}
