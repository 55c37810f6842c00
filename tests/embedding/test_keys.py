"""A finished job stays where it is until what it rests on gives other results."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vsa.embedding.losses import LOSSES
from vsa.runtime.paths import ROOT
from vsa.study.embedding import experiment as experiment_module
from vsa.study.embedding.baselines import HISTOGRAM
from vsa.study.embedding.variants import (
    CLICKS,
    DETECTOR,
    JOINT,
    ORACLE,
    PER_QUERY,
    SAME_STEPS,
    SHARED,
    SUPERVISED,
    WHOLE_IMAGE,
    in_notebook,
    in_study,
)

SOME = (HISTOGRAM, CLICKS, SHARED, PER_QUERY, JOINT, SAME_STEPS, ORACLE, WHOLE_IMAGE, DETECTOR)


def keys(lab, names=SOME):
    return {name: lab.path(name).name for name in names}


def changed(before, after):
    return {name for name in before if before[name] != after[name]}


@pytest.fixture
def another_loss(monkeypatch):
    """Registers a loss of a user's, whose file reads as given; it is gone after the test."""
    monkeypatch.setattr(LOSSES, "_entries", dict(LOSSES))

    def register(folder: Path, body: str) -> None:
        file = folder / "mine.py"
        file.write_text(f"def mine(batch, margin):\n    return {body}\n", encoding="utf-8")
        namespace = {"__name__": "mine"}
        exec(compile(file.read_text(), str(file), "exec"), namespace)
        import linecache

        linecache.checkcache(str(file))
        LOSSES._entries.pop("mine", None)  # as in a new process
        LOSSES.register("mine", namespace["mine"])

    return register


DISTANCE = "(batch.query - batch.positive).square().sum()"


@pytest.mark.slow
def test_a_comment_in_every_file_leaves_every_job_where_it_is(make_lab, tmp_path):
    """In a copy of the package, one loss of which has a higher version: that one counts."""
    for name in ("vsa", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "*.json")
        shutil.copytree(ROOT / name, tmp_path / "copy" / name, ignore=ignored)
    for file in (tmp_path / "copy/vsa").rglob("*.py"):
        text = file.read_text(encoding="utf-8") + "\n# a comment\n"
        if file.name == "losses.py":
            text = text.replace('("shared negatives")', '("shared negatives", version=2)')
        file.write_text(text, encoding="utf-8")
    found = tmp_path / "keys.json"
    environment = os.environ | {"KEYS_FILE": str(found), "PYTHONPATH": str(tmp_path / "copy")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["-o", "addopts=", "-o", "pythonpath=tests", "--import-mode=importlib"]
    done = subprocess.run(
        [*command, "tests/embedding/keys_of_jobs.py"],
        cwd=tmp_path / "copy",
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    before = keys(make_lab(tmp_path), in_study())
    assert changed(before, json.loads(found.read_text(encoding="utf-8"))) == {SHARED}


def test_one_more_loss_leaves_every_job_where_it_is(make_lab, tmp_path, another_loss):
    before = keys(make_lab(tmp_path), in_study())
    another_loss(tmp_path, DISTANCE)
    after = keys(make_lab(tmp_path), in_study())
    assert set(after) - set(before) == {"mine loss"}
    assert "mine loss" in in_notebook()
    assert not changed(before, after)


def test_a_user_s_loss_that_was_edited_is_another_job(make_lab, tmp_path, another_loss):
    lab = make_lab(tmp_path)
    another_loss(tmp_path, DISTANCE)
    before = keys(lab, in_study())
    another_loss(tmp_path, f"2 * {DISTANCE}")
    assert changed(before, keys(lab, in_study())) == {"mine loss"}


@pytest.mark.parametrize(
    ("module", "wanted"),
    [
        ("joint", set(SOME)),
        ("category_train", set(SOME)),
        ("training", set(SOME)),
        ("train", set(SOME) - {HISTOGRAM}),
        ("mining", set(SOME) - {HISTOGRAM, ORACLE}),
        ("detector_module", {DETECTOR}),
    ],
)
def test_a_higher_version_makes_anew_all_that_rests_on_it(
    make_lab, tmp_path, monkeypatch, module, wanted
):
    before = keys(make_lab(tmp_path))
    versioned = getattr(experiment_module, module)
    monkeypatch.setattr(versioned, "VERSION", versioned.VERSION + 1)
    assert changed(before, keys(make_lab(tmp_path))) == wanted


def test_a_setting_counts_for_the_jobs_that_use_it(make_lab, tmp_path):
    import dataclasses

    lab = make_lab(tmp_path)
    before = keys(lab, (*SOME, SUPERVISED))
    lab.settings = dataclasses.replace(lab.settings, n_detector_steps=7)
    assert changed(before, keys(lab, before)) == {DETECTOR}


def test_a_registered_loss_is_trained_and_shown_beside_the_others(
    make_lab, tmp_path, another_loss, monkeypatch
):
    from vsa.study.embedding.finished import gather
    from vsa.study.embedding.plots import training_plot

    another_loss(tmp_path, DISTANCE)
    lab = make_lab(tmp_path)
    monkeypatch.setattr("vsa.study.embedding.finished.in_study", lambda: (PER_QUERY, "mine loss"))
    finished = gather([lab])
    assert set(finished.jobs) == {PER_QUERY, "mine loss"}
    job = finished.jobs["mine loss"][0]
    assert np.isfinite(job.curve.loss).all()
    assert job.curve.active_share.isna().all(), "a plain tensor does not tell it"
    assert training_plot(finished, (PER_QUERY,)).axes[0].lines
