"""Jobs of a study on the nodes of a cluster, which stand in this process."""

from __future__ import annotations

from itertools import pairwise

import pytest

from vsa.cluster import offline
from vsa.runtime.deadline import time_limit
from vsa.runtime.training import Diverged
from vsa.study.embedding import spread
from vsa.study.embedding.experiment import EmbeddingLab, start_of
from vsa.study.embedding.slices import DONE, TO_DO, plan
from vsa.study.embedding.spread import spread_jobs, waves
from vsa.study.embedding.variants import JOINT, PER_QUERY, SAME_STEPS, WHOLE_IMAGE
from vsa.study.run import make_run

CHOSEN = (JOINT, SAME_STEPS, PER_QUERY, WHOLE_IMAGE)


@pytest.fixture
def jobs(make_lab, tmp_path, monkeypatch):
    """Some jobs of two seeds, done at once; nodes have labs of their own over the same folders."""
    here, there = ({seed: make_lab(tmp_path / "jobs", seed) for seed in range(2)} for _ in range(2))
    done = []

    def in_tasks(work, chunks, address, *, n_gpus, variables):
        assert (address, n_gpus) == ("head:6379", 0)
        assert variables["VSA_ARTIFACTS_DIR"]
        for number in reversed(range(len(chunks))):  # whoever is ready first
            done.append(chunks[number])
            yield number, work(chunks[number])

    def do(lab, name):
        assert not start_of(name) or lab.is_done(start_of(name))
        lab.path(name).mkdir(parents=True)
        (lab.path(name) / "card.json").touch()

    monkeypatch.setattr(EmbeddingLab, "run", do)
    monkeypatch.setattr(offline, "in_tasks", in_tasks)
    monkeypatch.setattr(spread, "_labs", lambda where: there)
    found = [job for job in plan(list(here.values())) if job.name in CHOSEN]
    return found, done


@pytest.fixture
def run():
    return make_run("synthetic", "smoke", 0)


def test_all_jobs_are_done_those_that_others_start_from_before_them(jobs, run):
    asked, done = jobs
    found = spread_jobs(asked, run, "head:6379")
    assert found.is_whole
    assert {job.state for job in asked} == {DONE}
    assert found.n_finished == found.n_jobs == len(asked)
    assert found.n_new == len(done)
    place = {key: number for number, key in enumerate(done)}
    starts = [(key, (start_of(key[0]), key[1])) for key in done if start_of(key[0])]
    assert starts
    assert all(place[start] < place[key] for key, start in starts)
    assert not list(waves(asked))  # nothing is left


def test_waves_hold_each_job_once_and_what_they_start_from(jobs):
    asked, _ = jobs
    found = [[(job.name, job.lab.seed) for job in wave] for wave in waves(asked)]
    flat = [key for wave in found for key in wave]
    assert len(flat) == len(set(flat))
    assert {(job.name, job.lab.seed) for job in asked} <= set(flat)
    for before, after in pairwise(found):
        assert all((start_of(name), seed) in before for name, seed in after)


def test_a_job_that_diverges_ends_itself_and_what_starts_from_it_alone(jobs, run, monkeypatch):
    asked, _ = jobs
    bad = next(start_of(job.name) for job in asked if start_of(job.name))
    train = EmbeddingLab.run

    def diverging(lab, name):
        if (name, lab.seed) == (bad, 1):
            raise Diverged("the loss became infinite", cure="Lower the learning rate")
        return train(lab, name)

    monkeypatch.setattr(EmbeddingLab, "run", diverging)
    found = spread_jobs(asked, run, "head:6379")
    assert f"{bad}, seed 1: the loss became infinite" in found.failed[0]
    assert any("starts from one that failed" in text for text in found.failed[1:])
    assert {job.state for job in asked if not job.lab.seed} == {DONE}


def test_a_study_whose_time_is_up_begins_nothing(jobs, run):
    asked, _ = jobs
    with time_limit(0):
        found = spread_jobs(asked, run, "head:6379")
    assert not found.is_whole
    assert {job.state for job in asked} == {TO_DO}
