import json

import pytest

from vsa.study import pace
from vsa.study.pace import Plan, begin_plan, note_taken, notebooks_in_order, place
from vsa.study.run import make_run

FIRST, SECOND, THIRD = "01_catalogue", "02_category_fusion", "03_click_mined_training"
TOUR = "00_tour"


def publish(run, seconds, **others):
    """Results of a run, of which only the times are told."""
    run.reports.mkdir(parents=True)
    sections = {name: {"run_time_s": taken} | others for name, taken in seconds.items()}
    told = {"dataset": run.dataset, "profile": run.profile, "sections": sections}
    told["changes"] = {name: change._asdict() for name, change in run.changes.items()}
    (run.reports / "metrics.json").write_text(json.dumps({"run": told}))


def begun(monkeypatch, run, until=None):
    run.begin()
    monkeypatch.setenv(pace.VARIABLE, str(begin_plan(run, until)))


def test_the_tour_comes_last():
    names = notebooks_in_order()
    assert names[0] == FIRST
    assert names[-1] == TOUR
    assert names[:-1] == sorted(names[:-1])


def test_the_estimate_is_scaled_by_what_is_done():
    expected = {FIRST: 60.0, SECOND: 600.0, TOUR: 20.0}  # the third was left out
    plan = Plan([FIRST, SECOND, THIRD, TOUR], "grocery-laptop", expected, {})
    going_by = "going by grocery-laptop"
    assert plan.place(FIRST) == f"1 of 4, about 11 min left of 11 min, {going_by}"
    later = Plan(plan.names, plan.like, expected, {FIRST: 120.0})  # half as fast
    assert later.place(SECOND) == f"2 of 4, about 21 min left of 23 min, {going_by}"
    last = Plan(plan.names, plan.like, expected, {SECOND: 300.0, THIRD: 1.0})  # the first was there
    assert last.place(TOUR) == f"4 of 4, about 10 s left of 5 min, {going_by}"


def test_notebooks_of_a_pipeline_note_what_they_took(monkeypatch):
    run = make_run("synthetic", "laptop", 0)
    publish(run, {FIRST: 30.0, SECOND: 30.0, THIRD: 30.0})
    begun(monkeypatch, run, THIRD)
    assert place(FIRST) == "1 of 3, about 2 min left of 2 min, going by synthetic-laptop"
    note_taken(FIRST, 15.0)
    assert place(SECOND) == "2 of 3, about 30 s left of 45 s, going by synthetic-laptop"


def test_a_notebook_on_its_own_has_no_place(monkeypatch):
    monkeypatch.delenv(pace.VARIABLE, raising=False)
    note_taken(FIRST, 1.0)
    assert place(FIRST) == ""


def test_where_no_run_was_timed_that_is_said(monkeypatch):
    run = make_run("synthetic", "laptop", 0)
    publish(make_run("synthetic", "smoke", 0), {FIRST: 1.0, TOUR: 1.0})
    publish(make_run("grocery", "laptop", 0), {FIRST: 1.0})  # it ended early
    broken = make_run("clothing", "laptop", 0).reports
    broken.mkdir()
    (broken / "metrics.json").write_text("{}")
    begun(monkeypatch, run)
    assert place(FIRST).endswith(", time left not known: no earlier run to go by")


def test_the_longest_time_counts_where_it_is_known(monkeypatch):
    run = make_run("synthetic", "laptop", 0)
    publish(run, {FIRST: 3.0}, longest_s=50.0)
    begun(monkeypatch, run, FIRST)
    assert "about 50 s left of 50 s" in place(FIRST)


@pytest.mark.parametrize(
    ("there", "like"),
    [
        (["own", "same data", "photographs", "rendered"], "own"),
        (["same data", "photographs", "rendered"], "same data"),
        (["photographs", "rendered"], "photographs"),
        (["left out", "photographs", "rendered"], "photographs"),
        (["left out", "rendered"], "left out"),
        (["rendered"], "rendered"),
    ],
)
def test_the_likest_run_is_gone_by(monkeypatch, there, like):
    run = make_run("grocery", "laptop", 0, "embedding.margin=0.3")
    runs = {
        "own": run,
        "same data": make_run("grocery", "laptop", 0),
        "photographs": make_run("clothing", "laptop", 0),
        "left out": make_run("clothing", "laptop", 0, "embedding.margin=0.4"),
        "rendered": make_run("synthetic", "laptop", 0),
    }
    every = dict.fromkeys(notebooks_in_order(), 1.0)
    for kind in there:
        seconds = {FIRST: 1.0, TOUR: 1.0} if kind == "left out" else every
        publish(runs[kind], seconds)
    begun(monkeypatch, run)
    assert place(FIRST).endswith(f" going by {runs[like].name}")
