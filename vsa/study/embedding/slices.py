"""A study in slices: which jobs there are, how far they are, how long they take, some of them run.

A job is one variant trained with one seed. What is finished here, or published with the same key,
is not done again; what was begun goes on from its last checkpoint.
"""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vsa.runtime.deadline import DEADLINE, Stopped
from vsa.runtime.errors import InputError
from vsa.runtime.registry import unknown
from vsa.runtime.training import Diverged
from vsa.study.embedding.experiment import EmbeddingLab, start_of
from vsa.study.embedding.jobs import slug
from vsa.study.embedding.published import path_of, publish, published_key, read_published
from vsa.study.embedding.regimes import POINTS
from vsa.study.embedding.variants import (
    DETECTOR,
    SUPERVISED,
    in_study,
    is_sensitivity,
    make_stage,
    may_lack_weights,
    variants,
)

DONE, PUBLISHED, UNFINISHED, TO_DO = "done", "published", "unfinished", "to do"
LEFT_OUT = "left out"  # a feature baseline that lacks its weights
FINISHED = (DONE, PUBLISHED)


@dataclass(frozen=True)
class StudyJob:
    """One variant with one seed, done or not."""

    lab: EmbeddingLab
    name: str

    @property
    def state(self) -> str:
        """Done here, published with the same key, unfinished, to do, or left out."""
        lab, name = self.lab, self.name
        if self.lacks:
            return LEFT_OUT
        if lab.is_done(name):
            return DONE
        if self.is_published:
            return PUBLISHED
        return UNFINISHED if lab.draft(name).is_dir() else TO_DO

    @property
    def lacks(self) -> str:
        """Why a feature baseline cannot be had here, as without its weights; "" if it can."""
        try:
            self.lab.key(self.name)
        except InputError as error:
            if not may_lack_weights(self.name):
                raise
            return str(error)
        return ""

    @property
    def is_published(self) -> bool:
        """Whether what judging needs is published, resting on what the job would rest on now."""
        if self.lacks:
            return False
        folder = self.lab.published
        key = None if folder is None else published_key(folder, self.name, self.lab.seed)
        return key == self.lab.identity(self.name)

    def card(self) -> dict | None:
        """What a finished job says of its time; None for one that is not finished."""
        lab = self.lab
        if self.lacks:
            return None
        if lab.is_done(self.name):
            return lab.run(self.name).card
        if self.is_published and lab.published is not None:
            return read_published(path_of(lab.published, self.name, lab.seed)).job.card
        return None


def pick(patterns: Sequence[str] = ()) -> list[str]:
    """Variants of the study whose names, or names as files have them, fit one of the globs.

    All without a pattern. Raises InputError, with near matches, for a pattern that fits none.
    """
    chosen: set[str] = set()
    for pattern in patterns:
        low = pattern.lower()
        fitting = {
            name
            for name in in_study()
            if any(fnmatch.fnmatchcase(text, low) for text in (name.lower(), slug(name)))
        }
        if not fitting:
            raise unknown("variant", pattern.strip("*? ") or pattern, in_study())
        chosen |= fitting
    return [name for name in in_study() if name in chosen or not patterns]


def plan(labs: Sequence[EmbeddingLab], patterns: Sequence[str] = ()) -> list[StudyJob]:
    """The jobs that the data allow, in the order in which they are done.

    Comparisons come first and sensitivities after them, each with one seed after the other: a
    study that was cut short has whole comparisons of its first seeds.
    """
    names = pick(patterns)
    jobs = [StudyJob(lab, name) for lab in labs for name in names if lab.is_possible(name)]
    return sorted(jobs, key=lambda job: is_sensitivity(job.name))


@dataclass(frozen=True)
class Slice:
    """What a slice of a study came to."""

    n_jobs: int
    n_finished: int
    n_new: int
    stopped_at: str = ""  # the job that was begun, with its step, or that would have come next
    failed: tuple[str, ...] = ()  # jobs whose training diverged, each with its reason

    @property
    def is_whole(self) -> bool:
        """Whether nothing of what was asked for is left."""
        return not self.stopped_at and not self.failed


def run_jobs(jobs: Sequence[StudyJob], title: str) -> Slice:
    """Do what is not finished, one job after the other, until the time of `DEADLINE` is used up.

    Feature baselines that cannot be had, as those without their weights, are left out. A job whose
    training diverges has failed, as have those that would start from it; the others are done.
    """
    n_new = 0
    stopped_at = ""
    failed: dict[tuple[str, int], str] = {}
    for number, job in enumerate(jobs, start=1):
        if job.lacks:
            print(f"vsa: left out: {job.lacks}")
            continue
        if job.state in FINISHED:
            if job.state == DONE:
                publish(job.lab, job.name, job.lab.run(job.name))
            continue
        here = f"{job.name}, seed {job.lab.seed}"
        if before := _failed_before(job, failed):
            failed[job.name, job.lab.seed] = f"{here}: it starts from {before}, which failed"
            continue
        if DEADLINE.passed():
            stopped_at = f"before {here}"
            break
        print(f"vsa: {title}, {number} of {len(jobs)}: {here}", flush=True)
        try:
            job.lab.run(job.name)
            n_new += 1
        except Stopped as stop:
            stopped_at = f"within {stop}"
            break
        except Diverged as error:
            failed[job.name, job.lab.seed] = f"{here}: {error}"
            print(f"vsa: failed: {here}: {error}", flush=True)
        except InputError as error:
            if not may_lack_weights(job.name):
                raise
            print(f"vsa: left out: {error}")
    n_finished = sum(job.state in FINISHED for job in jobs)
    return Slice(len(jobs), n_finished, n_new, stopped_at, tuple(failed.values()))


def _failed_before(job: StudyJob, failed: Collection[tuple[str, int]]) -> str:
    """The failed job that this one starts from, however far back; "" if there is none."""
    start = start_of(job.name)
    while start:
        if (start, job.lab.seed) in failed:
            return start
        start = start_of(start)
    return ""


# Times -------------------------------------------------------------------------------------------


def list_jobs(jobs: Sequence[StudyJob]) -> pd.DataFrame:
    """One row per job: variant, seed, state and seconds (taken, or estimated; NaN: unknown).

    Estimates are the seconds of finished jobs, scaled by steps: of the same variant where one is
    finished, else of variants with stages of the same kinds.
    """
    cards = [job.card() for job in jobs]
    finished = [(job, card) for job, card in zip(jobs, cards, strict=True) if card is not None]
    rows = []
    for job, card in zip(jobs, cards, strict=True):
        seconds = _estimate(job, finished) if card is None else float(card["seconds"])
        rows.append((job.name, job.lab.seed, job.state, seconds))
    return pd.DataFrame(rows, columns=["variant", "seed", "state", "seconds"])


def jobs_text(table: pd.DataFrame) -> str:
    """The table of `list_jobs` to be read, and what is left."""
    shown = table.assign(seconds=[_seconds_text(s) for s in table.seconds])
    counts = Counter(table.state)
    left = table[~table.state.isin([*FINISHED, LEFT_OUT])]
    n_unknown = int(left.seconds.isna().sum())
    known = f"about {left.seconds.sum() / 60:.0f} minutes" if n_unknown < len(left) else ""
    open_ = f"{n_unknown} of unknown time" if n_unknown else ""
    rest = " and ".join(part for part in (known, open_) if part) or "nothing"
    states = ", ".join(f"{n} {state}" for state, n in counts.items())
    return f"{shown.to_string(index=False)}\n\n{states}; left: {rest}"


def _seconds_text(seconds: float) -> str:
    if np.isnan(seconds):
        return "unknown"
    return f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.1f}"


def _estimate(job: StudyJob, finished: Sequence[tuple[StudyJob, dict]]) -> float:
    kinds, n_steps = _steps(job)
    same = [card for other, card in finished if other.name == job.name]
    alike = [card for other, card in finished if kinds and _steps(other)[0] == kinds]
    cards = same or alike
    if not cards:
        return float("nan")
    if not n_steps:
        return float(np.mean([card["seconds"] for card in cards]))
    per_step = np.mean([card["seconds"] / max(card["steps"], 1) for card in cards])
    return float(per_step * (n_steps - _finished_steps(job)))


def _steps(job: StudyJob) -> tuple[tuple[str, ...], int]:
    """Kinds of the stages of a job, and the steps of all."""
    settings = job.lab.settings
    if job.name == SUPERVISED:
        return ("labelled boxes",), settings.n_box_steps[0]
    if job.name == DETECTOR:
        return ("detector",), settings.n_detector_steps
    if point := POINTS.get(job.name):
        return (point.axis,), 0  # such take about as long as each other
    variant = variants().get(job.name)
    if variant is None:
        return (), 0
    stages = [make_stage(s, variant.loss, variant.adapt(settings)) for s in variant.stages]
    return tuple(stage.trains for stage in stages), sum(stage.n_steps for stage in stages)


def _finished_steps(job: StudyJob) -> int:
    """Steps of the stages that a begun job has behind it."""
    logs = job.lab.draft(job.name).glob("stage-*.parquet")
    return sum(len(pd.read_parquet(log)) for log in logs)
