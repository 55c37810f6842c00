"""How long to train, as validation photos see it."""

from __future__ import annotations

import pytest

from vsa.study.embedding.finished import FinishedJobs, recall_at_k
from vsa.study.embedding.lengths import LEARNING_CURVE, reading_of_lengths, record_lengths
from vsa.study.embedding.variants import LENGTHS, PER_QUERY, in_notebook, variants
from vsa.study.ledger.ledger import Ledger
from vsa.study.run import make_run

SHORTEST = "a third of the steps"


@pytest.fixture
def ledger() -> Ledger:
    return Ledger.open(make_run("synthetic", "smoke", 0), "03_click_mined_training")


def test_lengths_differ_in_their_steps_alone(settings):
    steps = {name: variants()[name].adapt(settings).n_steps for name in LENGTHS}
    assert steps[PER_QUERY] == settings.n_steps
    assert steps[SHORTEST] == round(settings.n_steps / 3)
    assert steps["twice the steps"] == 2 * settings.n_steps
    assert {SHORTEST, "two thirds of the steps"} <= set(in_notebook())


def test_the_curve_is_of_validation_photos(make_lab, tmp_path, ledger):
    lab = make_lab(tmp_path)
    jobs = {name: {0: lab.run(name)} for name in (SHORTEST, PER_QUERY)}
    finished = FinishedJobs(lab.task, jobs, {})
    record_lengths(ledger, finished, 100, 0)
    curve = ledger.intervals(LEARNING_CURVE, "Identical Recall@1")
    wanted = [
        float(recall_at_k(jobs[name][0].judged["val"], 1).mean()) for name in (SHORTEST, PER_QUERY)
    ]
    assert [interval.value for interval in curve.values()] == pytest.approx(wanted)
    n_steps = jobs[PER_QUERY][0].training["steps"]
    text = reading_of_lengths(ledger, finished)
    assert f"{n_steps:,} steps" in text
    assert ("find most after" in text) == (wanted[0] > wanted[1])


def test_nothing_is_said_of_lengths_that_were_not_trained(make_lab, tmp_path, ledger):
    lab = make_lab(tmp_path)
    finished = FinishedJobs(lab.task, {PER_QUERY: {0: lab.run(PER_QUERY)}}, {})
    record_lengths(ledger, finished, 100, 0)
    assert not ledger.intervals(LEARNING_CURVE, "Identical Recall@1")
    assert "No other length" in reading_of_lengths(ledger, finished)
