"""What ``vsa study`` does: list, run, export or import the jobs of a run's study."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from vsa.runtime.deadline import Stopped, time_limit
from vsa.runtime.errors import InputError
from vsa.study import pipeline
from vsa.study.embedding.prepare import needs_networks, open_study
from vsa.study.embedding.published import environment_of, made_with
from vsa.study.embedding.regime_results import write_regimes
from vsa.study.embedding.regimes import POINTS
from vsa.study.embedding.slices import FINISHED, Slice, jobs_text, list_jobs, pick, run_jobs
from vsa.study.embedding.spread import spread_jobs
from vsa.study.embedding.transfer import (
    Packed,
    check_target,
    export_jobs,
    import_jobs,
    read_manifest,
)
from vsa.study.run import Run
from vsa.study.runs import command_of

_TABLES, _BEFORE, _SHOWS = "01_catalogue", "02_category_fusion", "03_click_mined_training"


@dataclass(frozen=True)
class Request:
    """What is asked of a study."""

    patterns: tuple[str, ...] = ()
    minutes: float | None = None
    show: bool = False
    export: Path | None = None
    max_mb: float = 60
    import_: Path | None = None
    ray: str | None = None  # address of a cluster whose nodes do the jobs

    @property
    def is_slice(self) -> bool:
        """Whether only a part is asked for, after which nothing else is made."""
        return bool(self.patterns) or self.minutes is not None


def study(run: Run, request: Request) -> bool:
    """Do what is asked; True once a whole study has ended, so that its report can be made.

    The notebooks before training are executed first, if need be, within the minutes that are given;
    not for a list, which writes nothing.

    Raises InputError for a pattern that no variant fits, a list before these notebooks, an archive
    that cannot be used, jobs that failed (once the others are done), and while another process is
    at work on the run; NotApplicable where the data do not allow click-mined training.
    """
    pick(request.patterns)
    if request.import_:
        read_manifest(request.import_, run.name)
    if request.export:
        check_target(request.export)
    before = _BEFORE if needs_networks(request.patterns) else _TABLES
    if request.show:  # also while jobs run
        if not (run.artifacts / "notebooks" / f"{before}.ipynb").is_file():
            raise InputError(
                f"the jobs of {run.name} are known once {before} has been executed",
                cure=f"Run a slice first: `{command_of(run, 'study')} --minutes 8`",
            )
        print(jobs_text(list_jobs(open_study(run, request.patterns))))
        return False
    with time_limit(request.minutes):
        where = run.dataset, run.profile, run.seed
        try:
            pipeline.reproduce(*where, until=before, set=run.overrides)
        except Stopped as stop:
            _tell(f"stopped in time, {stop}; the same command goes on from there")
            return False
        with pipeline.locked(run):
            try:
                return _study(run, request)
            except Stopped as stop:  # while the networks that variants start from were trained
                _tell(f"stopped in time, within {stop}; the same command goes on from there")
                return False


def _study(run: Run, request: Request) -> bool:
    if request.import_:
        jobs = open_study(run)
        where, here = (
            made_with(facts)
            for facts in (
                read_manifest(request.import_, run.name),
                environment_of(jobs[0].lab.device),
            )
        )
        if where != here:
            _tell(f"this archive was made with {where}; here it is {here}")
        taken = import_jobs(jobs, run.name, request.import_)
        _tell("\n".join(["taken:", *taken]) if taken else "all of it was here already")
        if taken:
            _show_anew(run)
        return False
    jobs = open_study(run, request.patterns)
    if request.export:
        _tell(_packed_text(export_jobs(jobs, run.name, request.export, request.max_mb)))
        return False
    done = spread_jobs(jobs, run, request.ray) if request.ray else run_jobs(jobs, run.name)
    labs = list({job.lab.seed: job.lab for job in jobs}.values())
    if any(job.name in POINTS and job.state in FINISHED for job in jobs):
        _tell(write_regimes(run, labs))
    if done.n_new or not request.is_slice:
        _show_anew(run)
    if request.is_slice or done.failed:
        _tell(_slice_text(done, run))
    if done.failed:
        raise InputError(
            f"{len(done.failed)} jobs failed: " + " | ".join(done.failed),
            cure="All others are done or go on; change the settings that are named with --set",
        )
    return not request.is_slice


def _show_anew(run: Run) -> None:
    """Let the notebook be executed again: it then reads all that the study has trained."""
    (run.artifacts / "notebooks" / f"{_SHOWS}.ipynb").unlink(missing_ok=True)


def _slice_text(done: Slice, run: Run) -> str:
    state = f"{done.n_finished} of {done.n_jobs} jobs are finished, {done.n_new} of them now"
    if done.stopped_at:
        return f"stopped in time, {done.stopped_at}: {state}; the same command goes on from there"
    return f"{state}; to show them, run `{command_of(run, 'reproduce')}`"


def _packed_text(packed: Packed) -> str:
    lines = [f"packed {len(packed.parts)} parts in {packed.n_bytes / 1e6:.1f} MB"]
    if packed.half:
        lines.append(
            "halved in precision, because they did not fit; jobs that start from them will differ "
            f"a little from those of a study that ran through: {', '.join(packed.half)}"
        )
    if packed.left_out:
        lines.append(f"did not fit, and will be made again: {', '.join(packed.left_out)}")
    return "\n".join(lines)


def _tell(text: str) -> None:
    for line in text.splitlines():
        print(f"vsa: {line}", file=sys.stderr, flush=True)
