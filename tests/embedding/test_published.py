"""Finished jobs as they are published, and what judges from them."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest

from vsa.data.schema import BOX
from vsa.runtime.errors import InputError
from vsa.study.embedding.experiment import EmbeddingLab
from vsa.study.embedding.finished import FinishedJobs, gather
from vsa.study.embedding.jobs import HALF, Job, Judged, slug, summarise, thin
from vsa.study.embedding.published import (
    MAX_BYTES,
    pack,
    path_of,
    published_key,
    read_published,
    read_tables,
    write_tables,
)
from vsa.study.embedding.results import _Results, record
from vsa.study.embedding.variants import (
    CATEGORY,
    CATEGORY_TRIPLETS,
    CONSTANT_BOX,
    DETECTOR,
    JOINT,
    ORACLE,
    PER_QUERY,
    RAW,
    SUPERVISED,
    TRUE_BOXES,
    in_notebook,
    in_study,
)
from vsa.study.ledger.ledger import Ledger
from vsa.study.run import make_run


@pytest.fixture(scope="module")
def published(make_lab, tmp_path_factory):
    """A lab whose joint network (and what it starts from) was trained and published."""
    place = tmp_path_factory.mktemp("published")
    lab = dataclasses.replace(make_lab(place / "jobs", seed=1), published=place / "published")
    lab.run(JOINT)
    return lab


def elsewhere(lab: EmbeddingLab, folder) -> EmbeddingLab:
    """The same lab on another machine: nothing is trained there."""
    return dataclasses.replace(lab, folder=folder, _minings={})


def test_names_of_files_are_unique():
    awkward = ["filter", "+ filter", "- filter", "circle loss", "Circle-loss", "circle-loss"]
    awkward += ["circle  loss", " circle loss", "δ", "Δ", "+", "-", "", "a" * 300, "a" * 301, "é"]
    awkward += [slug("+ filter"), slug("+ filter").replace("-", " "), "e\u0301", "filter "]
    names = {*in_study(), *awkward}
    slugs = {slug(name) for name in names}
    assert len(slugs) == len(names)
    assert slugs == {s.lower() for s in slugs}, "nor do they meet where case is not told apart"
    assert max(len(s.encode()) for s in slugs) < 220
    assert slug("category network") == "category-network"


def test_what_is_judged_is_published_bit_by_bit(published):
    job = published.run(JOINT)
    found = read_published(path_of(published.published, JOINT, 1))
    assert found.key == published.identity(JOINT)
    for split in ("val", "test"):
        here, there = job.judged[split], found.job.judged[split]
        assert np.array_equal(here.hits, there.hits)
        assert np.array_equal(here.hits_within, there.hits_within)
        assert np.array_equal(here.boxes, there.boxes)
        assert np.array_equal(here.ranks[:, :20], there.ranks)
        assert here.hits.any()
    assert found.job.training == job.training
    assert found.job.trouble == job.trouble
    assert list(found.job.curve.stage) == list(job.curve.stage)
    np.testing.assert_allclose(found.job.curve.loss, job.curve.loss, rtol=1e-6)
    assert found.about["versions"]["torch"]
    assert found.about["settings"]["image_px"] == 32
    assert set(found.about["data"]) == {
        *("queries", "catalogue", "clicks", "images", "local"),
        "tables",
    }


def test_the_same_records_come_from_published_jobs(published, tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_REPORTS_DIR", str(tmp_path / "reports"))
    monkeypatch.setattr("vsa.study.embedding.finished.in_notebook", lambda: ())
    tables = []
    for lab in (published, elsewhere(published, tmp_path / "empty")):
        finished = gather([lab])
        assert set(finished.jobs) == {JOINT, PER_QUERY}
        ledger = Ledger.open(make_run("synthetic", "smoke", 0), "03_click_mined_training")
        writer = _Results(ledger, finished, 20, 0)
        writer.features()
        writer.masks()
        writer.strata()
        writer.training()
        writer.boxes(finished.task.boxes)
        tables.append(ledger._records)
    assert tables[0] == tables[1]
    assert len(tables[0]) >= 40


def test_a_job_of_another_key_is_left_out_and_named(published, tmp_path, monkeypatch):
    monkeypatch.setattr("vsa.study.embedding.finished.in_notebook", lambda: ())
    settings = dataclasses.replace(published.settings, margin=0.9)
    other = dataclasses.replace(elsewhere(published, tmp_path), settings=settings)
    finished = gather([other])
    assert not finished.jobs
    assert set(finished.left_out) >= {f"{JOINT}, seed 1", f"{PER_QUERY}, seed 1"}
    assert "rests on other code, settings or data" in finished.left_out[f"{JOINT}, seed 1"]


def test_what_is_published_is_shown_without_training(published, tmp_path, monkeypatch, capsys):
    trained = []
    monkeypatch.setattr("vsa.study.embedding.finished.in_notebook", lambda: (PER_QUERY, ORACLE))
    monkeypatch.setattr(EmbeddingLab, "run", lambda lab, name: trained.append(name))
    assert {PER_QUERY, ORACLE} <= set(in_notebook())
    finished = gather([elsewhere(published, tmp_path)])
    assert trained == [ORACLE], "the other one is published"
    there = read_published(path_of(published.published, PER_QUERY, 1)).job
    shown = finished.jobs[PER_QUERY][1]
    assert np.array_equal(shown.judged["test"].hits, there.judged["test"].hits)
    assert "published jobs were made with" not in capsys.readouterr().out, "they were made here"


def test_what_another_torch_or_device_has_published_is_read_and_said(
    published, tmp_path, monkeypatch, capsys
):
    place = tmp_path / "published"
    shutil.copytree(published.published, place)
    found = read_published(path_of(place, PER_QUERY, 1))
    versions = found.about["versions"] | {"torch": "9.9.9"}
    facts = found.about | {"versions": versions, "device": "a large GPU"}
    path_of(place, PER_QUERY, 1).write_bytes(pack(found.job, facts))
    monkeypatch.setattr("vsa.study.embedding.finished.in_notebook", lambda: ())
    lab = dataclasses.replace(elsewhere(published, tmp_path / "jobs"), published=place)
    assert set(gather([lab]).jobs) == {JOINT, PER_QUERY}
    (told,) = capsys.readouterr().out.splitlines()
    assert told.startswith("1 published jobs were made with torch 9.9.9 on a large GPU; here it is")


def test_a_damaged_file_of_a_job_that_is_here_is_published_anew(published, monkeypatch):
    monkeypatch.setattr("vsa.study.embedding.finished.in_notebook", lambda: ())
    file = path_of(published.published, PER_QUERY, 1)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    assert PER_QUERY in gather([published])
    assert read_published(file).job.judged["test"].hits.shape == (6, 60)


def test_what_whole_weights_made_here_is_shown_rather_than_what_halved_ones_did(
    published, tmp_path, monkeypatch
):
    monkeypatch.setattr("vsa.study.embedding.finished.in_notebook", lambda: ())
    place = tmp_path / "published"
    shutil.copytree(published.published, place)
    found = read_published(path_of(place, JOINT, 1))
    halved = dataclasses.replace(found.job, card=found.job.card | {HALF: True})
    path_of(place, JOINT, 1).write_bytes(pack(halved, found.about))
    there = dataclasses.replace(elsewhere(published, tmp_path / "jobs"), published=place)
    assert HALF in gather([there]).jobs[JOINT][1].card, "nothing better is there"
    here = dataclasses.replace(published, published=place)
    assert HALF not in gather([here]).jobs[JOINT][1].card
    assert HALF not in read_published(path_of(place, JOINT, 1)).job.card


@pytest.mark.parametrize("damage", ["truncated", "not ours", "empty"])
def test_a_damaged_file_is_named(published, tmp_path, damage):
    content = path_of(published.published, JOINT, 1).read_bytes()
    file = tmp_path / "job.npz"
    if damage == "not ours":
        np.savez(file, a=np.zeros(3))
    else:
        file.write_bytes(content[: len(content) // 2] if damage == "truncated" else b"")
    with pytest.raises(InputError, match="damaged") as error:
        read_published(file)
    assert error.value.file == file


def test_a_job_that_cannot_be_published_is_finished_and_says_so(make_lab, tmp_path):
    (tmp_path / "file").touch()
    lab = dataclasses.replace(make_lab(tmp_path / "jobs"), published=tmp_path / "file" / "jobs")
    with pytest.raises(InputError, match="is finished and could not be published"):
        lab.run(PER_QUERY)
    assert lab.is_done(PER_QUERY)
    lab = dataclasses.replace(lab, published=tmp_path / "jobs-published")
    lab.run(PER_QUERY)
    assert published_key(lab.published, PER_QUERY, 0) == lab.identity(PER_QUERY)


def test_the_tables_say_what_rows_mean(published, task):
    queries, catalogue = read_tables(published.published)
    assert catalogue.image_id.tolist() == task.catalogue.image_id.tolist()
    assert queries.split.tolist() == ["val"] * 6 + ["test"] * 6
    test = read_published(path_of(published.published, PER_QUERY, 1)).job.judged["test"]
    wanted = queries.product_id[queries.split == "test"].to_numpy()
    offered = catalogue.product_id.to_numpy()
    assert np.array_equal(offered[test.ranks] == wanted[:, None], test.hits[:, :20])


def made_up(n_queries: int) -> Job:
    """A job with as many queries, of whose files hardly anything can be compressed."""
    rng = np.random.default_rng(0)
    one = Judged(
        rng.random((n_queries, 60)) < 0.1,
        rng.random((n_queries, 60)) < 0.1,
        rng.random((n_queries, 4), np.float32),
        rng.integers(0, 60_000, (n_queries, 60)),
    )
    log = pd.DataFrame(rng.random((9000, 5)), columns=["loss", "active_share", "a", "b", "c"])
    log["stage"] = np.repeat(["one", "two", "three"], 3000)
    return Job("made up", 0, {"val": one, "test": one}, thin(log), {}, {"trouble": []}, None)


@pytest.mark.parametrize(("n_queries", "n_ranks"), [(1000, 20), (2500, 10), (6000, 10)])
def test_a_file_is_small_whatever_the_shop(tmp_path, n_queries, n_ranks):
    job = made_up(n_queries)
    content = pack(job, {"format": 1, "variant": "made up", "seed": 0, "key": "k"})
    assert len(content) <= MAX_BYTES
    (tmp_path / "job.npz").write_bytes(content)
    test = read_published(tmp_path / "job.npz").job.judged["test"]
    assert np.array_equal(test.hits, job.judged["test"].hits)
    assert test.ranks.shape == (n_queries, n_ranks)


def test_a_curve_has_few_points_and_a_summary_is_of_all_steps():
    n = 450
    log = pd.DataFrame({"active_share": np.linspace(1, 0, n), "loss": np.arange(n, dtype=float)})
    log = log.assign(step_ms=2.0, wait_ms=1.0, stage=["a"] * 400 + ["b"] * 50)
    curve = thin(log)
    assert curve.groupby("stage").size().to_dict() == {"a": 200, "b": 50}
    assert curve["at"].is_monotonic_increasing
    assert curve.loss[0] == 0.5, "two steps each"
    found = summarise(log)
    assert found["steps"] == n
    assert found["seconds"] == pytest.approx(0.9)
    assert found["loss"] == np.arange(n)[-20:].mean()
    assert summarise(pd.DataFrame()) == {}
    assert thin(pd.DataFrame()).empty


def test_an_outcome_reads_both_kinds_of_job(published, tmp_path):
    job = read_published(path_of(published.published, JOINT, 1)).job
    finished = FinishedJobs(published.task, {JOINT: {1: job}}, {})
    assert finished.recall(JOINT, [1]).shape == (1, len(finished.rows))
    assert finished.iou(JOINT, [1]).shape == (1, len(finished.rows))
    assert finished.average_precision(JOINT, [1]).max() <= 1


def test_a_job_is_known_on_another_machine_where_its_origin_is(make_lab, tmp_path):
    here, there, other = (make_lab(tmp_path / name) for name in ("here", "there", "other"))
    for lab, seed in ((here, 0), (there, 0), (other, 1)):
        lab.origin = {"dataset": ["synthetic", {}, seed]}
    name, weight = next((n, w) for n, w in there.backbone_state.items() if w.is_floating_point())
    there.backbone_state = there.backbone_state | {name: weight + 1e-6}  # its last bits
    assert here.key(JOINT) != there.key(JOINT)
    assert here.identity(JOINT) == there.identity(JOINT)
    assert here.identity(JOINT) != other.identity(JOINT)
    for lab in (here, there):
        del lab._common_ground  # computed once
        lab.origin = None
    assert here.identity(JOINT) != there.identity(JOINT)


def another_box(queries):
    queries.loc[queries.index[0], BOX] = [0.1, 0.1, 0.3, 0.3]  # of a training query


def another_product(queries):
    queries.loc[queries.index[0], "product_id"] = "p5"


def another_category(queries):
    queries.loc[queries.index[0], "category"] = "c1"


@pytest.mark.parametrize("change", [another_box, another_product, another_category])
def test_what_training_queries_say_is_part_of_what_a_published_job_is(make_lab, tmp_path, change):
    here, there = make_lab(tmp_path), make_lab(tmp_path)
    for lab in (here, there):
        lab.origin = {}
    queries = there.task.queries.copy()
    change(queries)
    there.task = dataclasses.replace(there.task, queries=queries)
    for name in (TRUE_BOXES, CONSTANT_BOX, SUPERVISED, DETECTOR, ORACLE, CATEGORY_TRIPLETS):
        assert here.key(name) != there.key(name)
        assert here.identity(name) != there.identity(name)


def test_published_tables_of_other_boxes_are_replaced(published, task, tmp_path):
    write_tables(tmp_path, task)
    queries = task.queries.assign(x_min=0.05)
    write_tables(tmp_path, dataclasses.replace(task, queries=queries))
    assert (read_tables(tmp_path)[0].x_min == 0.05).all()


def test_variants_without_a_common_seed_are_not_compared_and_that_is_said(
    published, tmp_path, monkeypatch
):
    monkeypatch.setenv("VSA_REPORTS_DIR", str(tmp_path / "reports"))
    job = read_published(path_of(published.published, JOINT, 1)).job
    seeds = {PER_QUERY: 0, CATEGORY: 1, RAW: 0, JOINT: 0, CONSTANT_BOX: 1, DETECTOR: 1, ORACLE: 2}
    jobs = {name: {seed: job} for name, seed in seeds.items()}
    finished = FinishedJobs(published.task, jobs, {})
    assert finished.seeds(PER_QUERY, CATEGORY) == []
    ledger = Ledger.open(make_run("synthetic", "smoke", 0), "03_click_mined_training")
    record(ledger, [published], finished, 20)
    claims = {claim["id"]: claim for claim in ledger._claims.values()}
    assert set(claims) == {"C2a"}, "of the others not one comparison can be made"
    assert "filter, own negatives" in claims["C2a"]["lacks"]
    writer = _Results(ledger, finished, 20, 0)
    assert set(writer.differences()) == {"filter, shared negatives"}
    assert "clicks − category network" in writer.lacks(("clicks − category network",))
    assert writer.box_difference(JOINT, CONSTANT_BOX) is None
    assert ledger.table("features").shape[0] == 5, "each by itself is reported"
