"""A study in slices: picked, listed, stopped, carried to another checkout."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import tarfile

import numpy as np
import pytest
import torch
from killed import Killed, die_at_save

from vsa.runtime import training
from vsa.runtime.deadline import DEADLINE, Stopped, time_limit
from vsa.runtime.errors import InputError
from vsa.study.embedding import experiment as experiment_module
from vsa.study.embedding import transfer
from vsa.study.embedding.baselines import HISTOGRAM, IMAGENET
from vsa.study.embedding.experiment import start_of
from vsa.study.embedding.jobs import HALF
from vsa.study.embedding.published import made_with, path_of, read_published
from vsa.study.embedding.slices import (
    DONE,
    LEFT_OUT,
    PUBLISHED,
    TO_DO,
    UNFINISHED,
    StudyJob,
    jobs_text,
    list_jobs,
    pick,
    plan,
    run_jobs,
)
from vsa.study.embedding.transfer import export_jobs, import_jobs, read_manifest
from vsa.study.embedding.variants import (
    CATEGORY,
    DETECTOR,
    JOINT,
    PER_QUERY,
    SAME_STEPS,
    WHOLE_IMAGE,
    in_study,
)

CHOSEN = (JOINT, SAME_STEPS, PER_QUERY, WHOLE_IMAGE, "δ = 0.2")


@pytest.fixture
def checkout(make_lab, tmp_path):
    """The labs of a checkout, opened anew."""

    def open_checkout(name, n_seeds=1):
        place = tmp_path / name
        return [
            dataclasses.replace(make_lab(place / "jobs", seed), published=place / "published")
            for seed in range(n_seeds)
        ]

    return open_checkout


def jobs_of(labs, *names):
    return [job for job in plan(labs) if job.name in (names or CHOSEN)]


# Which jobs --------------------------------------------------------------------------------------


def test_globs_pick_by_name_or_by_file_name():
    assert pick(["MASK*"]) == [JOINT]
    assert pick(["+ mask*", "whole *"]) == [JOINT, WHOLE_IMAGE]
    assert pick(["*loss"]) == [name for name in in_study() if name.endswith("loss")]
    assert pick() == list(in_study())


def test_a_glob_that_fits_nothing_is_answered_with_near_matches():
    with pytest.raises(InputError, match=r"Did you mean .*identity oracle"):
        pick(["mask*", "identity oracel*"])


def test_comparisons_come_before_sensitivities_and_seeds_one_after_the_other(checkout):
    jobs = [(job.name, job.lab.seed) for job in jobs_of(checkout("a", 2), JOINT, "δ = 0.2")]
    assert jobs == [(JOINT, 0), (JOINT, 1), ("δ = 0.2", 0), ("δ = 0.2", 1)]


def test_the_list_tells_states_and_scales_times_by_steps(checkout):
    labs = checkout("a", 2)
    jobs = jobs_of(labs, PER_QUERY, "4 × the steps | filtered", JOINT, HISTOGRAM, DETECTOR)
    assert list_jobs(jobs).seconds.isna().all()
    assert "10 to do; left: 10 of unknown time" in jobs_text(list_jobs(jobs))
    run_jobs([job for job in jobs if job.name in (PER_QUERY, HISTOGRAM) and not job.lab.seed], "t")
    table = list_jobs(jobs).set_index(["variant", "seed"])
    assert table.state.value_counts().to_dict() == {TO_DO: 8, DONE: 2}
    took = table.seconds[PER_QUERY, 0]
    assert took > 0
    assert table.seconds[PER_QUERY, 1] == pytest.approx(took)
    assert table.seconds["4 × the steps | filtered", 1] == pytest.approx(4 * took)
    assert table.seconds[HISTOGRAM, 1] == table.seconds[HISTOGRAM, 0]
    assert table.seconds[[JOINT, DETECTOR]].isna().all()
    text = jobs_text(table.reset_index())
    assert "unknown" in text
    assert "minutes and 4 of unknown time" in text


def test_a_baseline_without_its_weights_is_left_out_and_said(
    checkout, tmp_path, monkeypatch, capsys
):
    def no_weights(name):
        raise InputError("no weights here", cure="Get them")

    jobs = jobs_of(checkout("a"), IMAGENET, PER_QUERY)
    monkeypatch.setattr(experiment_module, "baseline_identity", no_weights)
    assert run_jobs(jobs, "test").n_new == 1
    assert "left out: no weights here" in capsys.readouterr().out
    assert list_jobs(jobs).state.tolist() == [LEFT_OUT, DONE]
    assert "left: nothing" in jobs_text(list_jobs(jobs))
    packed = export_jobs(jobs, "run", tmp_path / "a.tar", 60)
    assert packed.parts == [f"result of {PER_QUERY}, seed 0"]


# Stopping ----------------------------------------------------------------------------------------


def test_no_time_limit_outlives_its_block():
    assert not DEADLINE.passed()
    with time_limit(0):
        assert DEADLINE.passed()
        with time_limit(None):
            assert not DEADLINE.passed()
        assert DEADLINE.passed()
    assert not DEADLINE.passed()


def test_a_study_whose_time_is_up_begins_nothing(checkout):
    jobs = jobs_of(checkout("a"))
    with time_limit(0):
        done = run_jobs(jobs, "test")
    assert not done.is_whole
    assert done.stopped_at == f"before {jobs[0].name}, seed 0"
    assert {job.state for job in jobs} == {TO_DO}


class Clock:
    """A deadline that passes when it has been asked so many times."""

    def __init__(self, monkeypatch):
        self.left = None
        monkeypatch.setattr(type(DEADLINE), "passed", lambda _: self.passed())

    def passed(self):
        if self.left is None:
            return False
        self.left -= 1
        return self.left < 0


def test_a_running_stage_writes_its_checkpoint_and_stops(checkout, monkeypatch):
    clock = Clock(monkeypatch)
    (job,) = jobs_of(checkout("a"), PER_QUERY)
    clock.left = 4
    done = run_jobs([job], "test")
    assert done.stopped_at.startswith(f"within {PER_QUERY}, seed 0: features: 4 of ")
    assert job.state == UNFINISHED
    assert [file.name for file in job.lab.draft(PER_QUERY).iterdir()] == ["stage-0-checkpoint.pth"]
    clock.left = 1
    with pytest.raises(Stopped, match="6 of 6"):
        job.lab.run(PER_QUERY)
    clock.left = 0
    assert run_jobs([job], "test").stopped_at.startswith("before "), "nothing is begun any more"
    clock.left = None
    assert run_jobs([job], "test").is_whole


def test_a_diverging_job_ends_itself_and_what_starts_from_it_alone(checkout, monkeypatch, capsys):
    def hot(key, loss, settings):
        stage = make_stage(key, loss, settings)
        return dataclasses.replace(stage, box_learning_rate=1e30)

    make_stage = experiment_module.make_stage
    monkeypatch.setattr(experiment_module, "make_stage", hot)
    jobs = jobs_of(checkout("a"), JOINT, WHOLE_IMAGE, SAME_STEPS, PER_QUERY)
    done = run_jobs(jobs, "test")
    states = {job.name: job.state for job in jobs}
    assert states[PER_QUERY] == states[SAME_STEPS] == DONE
    assert DONE not in (states[JOINT], states[WHOLE_IMAGE])
    assert not done.is_whole
    assert done.n_finished == 2
    first, second = done.failed
    assert first.startswith(f"{JOINT}, seed 0: the loss is ")
    assert "box_learning_rate" in first
    assert second == f"{WHOLE_IMAGE}, seed 0: it starts from {JOINT}, which failed"
    assert f"failed: {JOINT}, seed 0" in capsys.readouterr().out


# One study, cut into slices on two checkouts -----------------------------------------------------


def results(labs, names=CHOSEN):
    """What judging needs of every job, as published."""
    found = {}
    for job in jobs_of(labs, *names):
        published = read_published(path_of(job.lab.published, job.name, job.lab.seed))
        assert published.key == job.lab.identity(job.name)
        judged = published.job.judged["test"]
        found[job.name, job.lab.seed] = (
            judged.hits.tolist(),
            judged.boxes.tolist(),
            judged.ranks.tolist(),
            published.job.curve[["loss", "active_share"]].to_numpy().tolist()
            if len(published.job.curve)
            else [],
        )
    return found


@pytest.mark.slow
def test_four_slices_by_kills_and_limits_on_two_checkouts_give_the_same_numbers(
    checkout, tmp_path, monkeypatch
):
    run_jobs(jobs_of(checkout("straight")), "test")
    expected = results(checkout("straight"))
    clock = Clock(monkeypatch)

    clock.left = 9  # within the first stage of the joint network, after what it starts from
    first = run_jobs(jobs_of(checkout("a")), "test")
    assert "boxes, soft" in first.stopped_at
    export_jobs(jobs_of(checkout("a")), "run", tmp_path / "1.tar", 60)
    taken = import_jobs(jobs_of(checkout("b")), "run", tmp_path / "1.tar")
    assert set(taken) == {
        f"result of {PER_QUERY}, seed 0",
        f"weights of {PER_QUERY}, seed 0",
        f"checkpoint of {JOINT}, seed 0",
    }

    clock.left = None  # killed while the second stage of the joint network is trained
    save = training._save
    die_at_save(monkeypatch, 6)
    with pytest.raises(Killed):
        run_jobs(jobs_of(checkout("b")), "test")
    monkeypatch.setattr(training, "_save", save)
    assert (checkout("b")[0].draft(JOINT) / "stage-0.pth").is_file()

    clock.left = 12
    third = run_jobs(jobs_of(checkout("b")), "test")
    assert third.stopped_at
    export_jobs(jobs_of(checkout("b")), "run", tmp_path / "2.tar", 60)
    import_jobs(jobs_of(checkout("a")), "run", tmp_path / "2.tar")
    assert import_jobs(jobs_of(checkout("a")), "run", tmp_path / "2.tar") == []

    clock.left = None
    with monkeypatch.context() as once:
        once.setattr(experiment_module, "find_trouble", lambda log: [])
        last = run_jobs(jobs_of(checkout("a")), "test")
    assert last.is_whole
    assert last.n_finished == len(CHOSEN)
    assert last.n_new < len(CHOSEN) - 1
    assert results(checkout("a")) == expected


def test_what_is_published_is_not_trained_again(checkout, tmp_path):
    run_jobs(jobs_of(checkout("a"), PER_QUERY), "test")
    (job,) = jobs_of(checkout("b"), PER_QUERY)
    export_jobs(jobs_of(checkout("a"), PER_QUERY), "run", tmp_path / "a.tar", 60)
    assert import_jobs([job], "run", tmp_path / "a.tar") == [f"result of {PER_QUERY}, seed 0"]
    assert job.state == PUBLISHED
    assert run_jobs([job], "test").n_new == 0
    assert not job.lab.path(PER_QUERY).exists()


# Archives ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def packed(make_lab, tmp_path_factory):
    """Jobs of a lab with one finished, one begun; and their archive."""
    place = tmp_path_factory.mktemp("packed")
    lab = dataclasses.replace(make_lab(place / "jobs"), published=place / "published")
    jobs = jobs_of([lab], PER_QUERY, JOINT)
    with pytest.MonkeyPatch.context() as patch:
        Clock(patch).left = 9
        run_jobs(jobs, "test")
    export_jobs(jobs, "run", place / "whole.tar", 60)
    return jobs, place / "whole.tar"


def test_what_does_not_fit_is_halved_or_left_out_and_said(packed, checkout, tmp_path):
    jobs, whole = packed
    n_bytes = whole.stat().st_size
    weights = (jobs[0].lab.path(PER_QUERY) / "net.pth").stat().st_size
    room = 1.35 * weights / 2 / 1e6
    assert room < n_bytes / 1e6
    found = export_jobs(jobs, "run", tmp_path / "half.tar", room)
    assert found.n_bytes <= room * 1e6
    assert found.half == [f"weights of {PER_QUERY}, seed 0"]
    assert found.left_out == [f"checkpoint of {JOINT}, seed 0"]
    there = jobs_of(checkout("b"), PER_QUERY, JOINT)
    import_jobs(there, "run", tmp_path / "half.tar")
    assert there[0].lab.run(PER_QUERY).card[HALF]
    job = there[0].lab.run(JOINT)
    assert "halved in precision" in job.trouble[0]
    (behind,) = jobs_of([there[0].lab], WHOLE_IMAGE)
    assert "halved in precision" in behind.lab.run(WHOLE_IMAGE).trouble[0], "two steps away"
    found = export_jobs(jobs, "run", tmp_path / "least.tar", 0.2)
    assert len(found.left_out) == 2
    with pytest.raises(InputError, match=r"larger than 0\.001 MB"):
        export_jobs(jobs, "run", tmp_path / "none.tar", 0.001)
    assert not (tmp_path / "none.tar").exists()


def test_what_whole_weights_made_replaces_what_halved_ones_did(packed, checkout, tmp_path):
    jobs, whole = packed
    weights = (jobs[0].lab.path(PER_QUERY) / "net.pth").stat().st_size
    export_jobs(jobs, "run", tmp_path / "half.tar", 1.35 * weights / 2 / 1e6)
    labs = checkout("b")
    there, names = jobs_of(labs, PER_QUERY, JOINT), (PER_QUERY, JOINT, WHOLE_IMAGE)
    import_jobs(there, "run", tmp_path / "half.tar")
    run_jobs(jobs_of(labs, *names), "test")
    assert half_published(labs[0], WHOLE_IMAGE) == half_published(labs[0], JOINT) is True
    assert import_jobs(there, "run", whole) == [f"weights of {PER_QUERY}, seed 0"]
    assert HALF not in labs[0].run(PER_QUERY).card

    straight = checkout("straight")
    run_jobs(jobs_of(straight, *names), "test")
    export_jobs(jobs_of(straight, *names), "run", tmp_path / "results.tar", 60)
    taken = import_jobs(jobs_of(labs, *names), "run", tmp_path / "results.tar")
    assert set(taken) == {f"result of {name}, seed 0" for name in (JOINT, WHOLE_IMAGE)}
    run_jobs(jobs_of(labs, *names), "test")
    assert not half_published(labs[0], JOINT), "nor is it published over again"
    assert results(labs, names) == results(straight, names)


def half_published(lab, name):
    card = read_published(path_of(lab.published, name, lab.seed)).job.card
    return bool(card.get(HALF))


def test_a_checkpoint_of_halved_weights_is_known_for_one_wherever_it_goes(
    packed, checkout, tmp_path, monkeypatch
):
    jobs, whole = packed
    weights = (jobs[0].lab.path(PER_QUERY) / "net.pth").stat().st_size
    export_jobs(jobs, "run", tmp_path / "half.tar", 1.35 * weights / 2 / 1e6)
    there = jobs_of(checkout("b"), PER_QUERY, JOINT)
    import_jobs(there, "run", tmp_path / "half.tar")
    with monkeypatch.context() as patch:
        Clock(patch).left = 3
        run_jobs(there, "test")
    export_jobs(there, "run", tmp_path / "begun.tar", 60)
    back = jobs_of(checkout("c"), PER_QUERY, JOINT)
    import_jobs(back, "run", tmp_path / "begun.tar")
    import_jobs(back, "run", whole)  # whole weights, and a checkpoint from these
    assert not (back[0].lab.draft(JOINT) / "halved").exists()
    assert import_jobs(back, "run", tmp_path / "begun.tar") == []
    other = jobs_of(checkout("d"), PER_QUERY, JOINT)
    other[0].lab.run(PER_QUERY)
    import_jobs(other, "run", tmp_path / "begun.tar")
    assert "halved in precision" in other[0].lab.run(JOINT).trouble[0]


def test_nothing_to_pack_is_said(checkout, tmp_path):
    with pytest.raises(InputError, match="no job is begun"):
        export_jobs(jobs_of(checkout("a")), "run", tmp_path / "a.tar", 60)


def rewritten(whole, target, change):
    """An archive whose entries (name → content, or an entry of tar) were changed."""
    with tarfile.open(whole) as archive:
        entries = {e.name: archive.extractfile(e).read() for e in archive}
    change(entries)
    with tarfile.open(target, "w") as archive:
        for name, content in entries.items():
            entry = tarfile.TarInfo(name)
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def link(entries):
    entry = tarfile.TarInfo("0/result.npz")
    entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
    entries["0/result.npz"] = entry


def manifest(entries, change):
    told = json.loads(entries["manifest.json"])
    change(told)
    entries["manifest.json"] = json.dumps(told).encode()


def replaced(entries, name, content):
    """Another content, of which the manifest knows."""
    number, _, file = name.partition("/")
    facts = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    entries[name] = content
    manifest(entries, lambda told: told["parts"][int(number)]["files"].update({file: facts}))


def of_torch(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda e: e.update({"../../evil": b"x"}), "unexpected entry '../../evil'"),
        (lambda e: e.update({"/tmp/evil": b"x"}), "unexpected entry '/tmp/evil'"),
        (link, "unexpected entry '0/result.npz'"),
        (lambda e: e.update({"0/result.npz": b"x"}), "0/result.npz is damaged"),
        (lambda e: e.pop("1/net.pth"), "1/net.pth is missing"),
        (lambda e: e.pop("manifest.json"), "does not begin with its manifest"),
        (lambda e: manifest(e, lambda m: m.update(format=99)), "of format 99"),
        (
            lambda e: manifest(e, lambda m: m["parts"][0]["files"].update({"../x": {}})),
            "unexpected file '../x'",
        ),
        (lambda e: manifest(e, lambda m: m["parts"][0].update(kind="code")), "not one of"),
        (lambda e: manifest(e, lambda m: m["parts"][0].update(data=[1])), "of another form"),
        (lambda e: manifest(e, lambda m: m.pop("run")), "not one of"),
        (lambda e: manifest(e, lambda m: m.pop("versions")), "not one of"),
        (lambda e: manifest(e, lambda m: m.update(versions=[])), "not one of"),
        (lambda e: manifest(e, lambda m: m.update(parts={})), "not one of"),
        (lambda e: manifest(e, lambda m: m.update(parts=["x"])), "not one of"),
        (lambda e: manifest(e, lambda m: m["parts"].append(m["parts"][0])), "a job twice"),
        (lambda e: manifest(e, lambda m: m["parts"][1]["files"].pop("net.pth")), "is missing"),
        (lambda e: manifest(e, lambda m: m["parts"][1]["files"].update({"net.pth": 1})), "not one"),
        (lambda e: replaced(e, "1/net.pth", b"no tensors"), "cannot be used"),
        (lambda e: replaced(e, "1/net.pth", of_torch({"weight": torch.zeros(2)})), "be used"),
        (lambda e: replaced(e, "1/card.json", b"{"), "cannot be used"),
        (lambda e: replaced(e, "2/stage-0-checkpoint.pth", b""), "cannot be used"),
        (lambda e: replaced(e, "2/stage-0-checkpoint.pth", of_torch([1])), "cannot be used"),
        (lambda e: manifest(e, lambda m: m.update(run="other-run")), "of the run other-run"),
        (
            lambda e: manifest(e, lambda m: m["parts"][0].update(variant="mine")),
            "not of this study: mine",
        ),
        (
            lambda e: manifest(e, lambda m: m["parts"][0].update(key="0", data={"images": 1})),
            "of other data (",
        ),
        (
            lambda e: manifest(
                e,
                lambda m: (m["parts"][0].update(key="0"), m["parts"][0]["settings"].pop("margin")),
            ),
            "of other settings (margin)",
        ),
        (lambda e: manifest(e, lambda m: m["parts"][0].update(key="0")), "of other code"),
        (lambda e: e.update({"0/result.npz": e["1/answers.npz"]}), "is damaged"),
    ],
)
def test_a_foreign_or_damaged_archive_is_refused_and_nothing_is_written(
    packed, checkout, tmp_path, change, problem
):
    rewritten(packed[1], tmp_path / "bad.tar", change)
    labs = checkout("b")
    with pytest.raises(InputError) as error:
        import_jobs(jobs_of(labs, PER_QUERY, JOINT), "run", tmp_path / "bad.tar")
    assert problem in str(error.value)
    assert {job.state for job in jobs_of(labs, PER_QUERY, JOINT)} == {TO_DO}
    written = [p for p in (tmp_path / "b").rglob("*") if p != labs[0].folder]
    assert written == []


def test_an_archive_of_another_torch_or_device_is_taken(packed, checkout, tmp_path):
    def other(told):
        told["versions"]["torch"], told["device"] = "0.1", "a large GPU"

    rewritten(packed[1], tmp_path / "other.tar", lambda entries: manifest(entries, other))
    told = read_manifest(tmp_path / "other.tar", "run")
    assert made_with(told) == "torch 0.1 on a large GPU"
    assert len(import_jobs(jobs_of(checkout("b")), "run", tmp_path / "other.tar")) == 3


def test_an_archive_needs_a_file_to_go_to(packed, tmp_path):
    with pytest.raises(InputError, match="this is a folder"):
        export_jobs(packed[0], "run", tmp_path, 60)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_a_truncated_archive_is_refused(packed, tmp_path, share):
    content = packed[1].read_bytes()
    (tmp_path / "cut.tar").write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"truncated|not one of"):
        read_manifest(tmp_path / "cut.tar", "run")
    with pytest.raises(InputError, match="no such archive"):
        read_manifest(tmp_path / "absent.tar", "run")


def test_what_is_further_here_stays(packed, checkout, monkeypatch):
    jobs, whole = packed
    there = jobs_of(checkout("b"), PER_QUERY, JOINT)
    import_jobs(there, "run", whole)
    clock = Clock(monkeypatch)
    clock.left = 2
    run_jobs(there, "test")
    steps = transfer._n_steps(there[0].lab.draft(JOINT))
    assert steps > transfer._n_steps(jobs[0].lab.draft(JOINT))
    assert import_jobs(there, "run", whole) == []
    assert transfer._n_steps(there[0].lab.draft(JOINT)) == steps


def test_starts():
    assert start_of(JOINT) == PER_QUERY
    assert start_of(WHOLE_IMAGE) == start_of(DETECTOR) == JOINT
    assert start_of(PER_QUERY) == start_of(CATEGORY) == start_of(HISTOGRAM) == ""


def test_jobs_are_compared_by_what_they_are(checkout):
    (lab,) = checkout("a")
    assert StudyJob(lab, JOINT).card() is None
    assert np.isnan(list_jobs([StudyJob(lab, JOINT)]).seconds[0])
