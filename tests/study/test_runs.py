from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from coloured_squares import make_squares, make_squares_lab, small_settings
from published_run import make_published_run

import vsa
from vsa.runtime.errors import InputError
from vsa.runtime.paths import ROOT
from vsa.study.embedding.variants import PER_QUERY
from vsa.study.ledger.metrics_file import RECORD_FIELDS


@pytest.fixture
def made():
    return make_published_run(skill=2.0)


def test_numbers_and_claims_are_tables(made):
    run = vsa.open_run("synthetic-smoke")
    assert list(run.records.columns) == list(RECORD_FIELDS)
    assert len(run.records) == 3
    (claim,) = run.claims.to_dict("records")
    assert claim["id"] == "C2"
    assert claim["verdict"] == "reproduced"
    assert claim["sentence"].startswith("C2 not judged at smoke: Features learned from")
    assert run.table("features").loc["clicks", "Identical Recall@1"] == run.records.value[0]
    assert "[" in run.table("features", as_text=True).loc["clicks", "Identical Recall@1"]
    assert run.dataset == "synthetic"
    assert run.profile == "smoke"


def test_what_published_jobs_found_is_read_by_names(made):
    run = vsa.open_run("synthetic-smoke")
    assert run.jobs.variant.tolist() == ["clicks", "clicks"]
    assert run.jobs.seed.tolist() == [0, 1]
    assert not run.jobs.has_weights.any()
    assert run.queries.query_id.tolist() == made.queries.query_id.tolist()
    assert run.catalogue.image_id.tolist() == made.catalogue.image_id.tolist()
    found = run.rankings("clicks", 1)
    assert found.shape == (75, 20)
    assert found.index[0] == "q25", "the first test query"
    best = found.loc["q25", 1]
    assert best == f"i{made.judged['clicks', 1].ranks[0, 0]}"
    assert run.boxes("clicks", 1).y_max.iloc[0] == pytest.approx(0.7)
    assert run.boxes("clicks", split="val").shape == (25, 4)
    assert np.array_equal(run.judged("clicks").hits, made.judged["clicks", 0].hits)


def test_working_files_of_a_real_job_are_found(made, tmp_path):
    lab = make_squares_lab(make_squares(), small_settings(), made.run.artifacts / "embedding")
    lab.published = tmp_path / "published"
    job = lab.run(PER_QUERY)
    reports = made.run.reports / "jobs"
    shutil.rmtree(reports)
    shutil.copytree(lab.published, reports)
    run = vsa.open_run("synthetic-smoke")
    (row,) = run.jobs.to_dict("records")
    assert row["variant"] == PER_QUERY
    assert row["has_weights"]
    assert row["key"] not in job.folder.name, "folders are named for this machine"
    rankings = run.rankings(PER_QUERY)
    n_found = job.judged["test"].ranks.shape[1]
    assert n_found > 20, "more than what is published"
    assert rankings.shape == (len(run.test_queries()), n_found)
    job.folder.rename(job.folder.with_name("gone"))
    run = vsa.open_run("synthetic-smoke")
    assert not run.jobs.has_weights.any()
    assert run.rankings(PER_QUERY).shape[1] == 20


@pytest.mark.parametrize(
    ("profile", "verdict"), [("laptop", "reproduced"), ("smoke", "not judged at smoke")]
)
def test_a_run_shows_itself(profile, verdict):
    make_published_run(profile, skill=2.0)
    run = vsa.open_run(f"synthetic-{profile}")
    assert f"claims: 1 {verdict}\n" in repr(run)
    assert "published jobs: 2" in repr(run)
    page = run._repr_html_()
    assert f"<td>C2</td><td>{verdict}</td>" in page
    assert page.count("<table>") == page.count("</table>") == 2


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (lambda run: run.table("featurs"), "Did you mean features"),
        (lambda run: run.table("features", "04_binary_index"), "unknown section"),
        (lambda run: run.rankings("clikcs"), "Did you mean clicks"),
        (lambda run: run.rankings("clicks", 7), "Choose one of 0, 1"),
        (lambda run: run.rankings("clicks", 0, "train"), "unknown split 'train'"),
        (lambda run: run.boxes("clicks", 0, "tset"), "Did you mean test"),
        (lambda run: run.features("clicks"), "vsa reproduce --until 03_click_mined_training"),
        (lambda run: run.features("clicks", "shop"), "unknown split"),
    ],
)
def test_what_is_not_there_is_said_with_what_makes_it(made, asked, problem):
    with pytest.raises(InputError) as error:
        asked(vsa.open_run("synthetic-smoke"))
    assert problem in str(error.value)


def test_an_unknown_run_is_answered_with_near_matches(made):
    with pytest.raises(InputError, match=r"Did you mean synthetic-smoke\?"):
        vsa.open_run("synthetic-smok")
    with pytest.raises(InputError, match="unknown run"):
        vsa.open_run("../synthetic-smoke")


def test_with_no_run_at_all_the_way_to_one_is_said():
    with pytest.raises(InputError, match="There is none yet"):
        vsa.open_run("synthetic-smoke")


def test_published_jobs_can_be_read_without_results(made):
    (made.run.reports / "metrics.json").unlink()
    run = vsa.open_run("synthetic-smoke")
    assert run.rankings("clicks").shape == (75, 20)
    assert "records: none yet" in repr(run)
    assert "none yet" in run._repr_html_()
    with pytest.raises(InputError, match="vsa reproduce --dataset"):
        _ = run.records


def test_working_files_say_what_to_type_for_changed_settings(made):
    made.run.begin()
    note = made.run.artifacts / "run.json"
    told = json.loads(note.read_text()) | {"overrides": "embedding.margin=0.3"}
    note.write_text(json.dumps(told))
    run = vsa.open_run("synthetic-smoke")
    assert run.command("study").endswith("--set embedding.margin=0.3")
    assert "with embedding.margin=0.3" in repr(run)
    note.write_text("{")
    with pytest.raises(InputError, match="damaged"):
        vsa.open_run("synthetic-smoke").command("study")


def test_jobs_of_other_tables_are_not_mixed_in(made):
    other = made.catalogue.assign(product_id="p0")
    other.to_parquet(made.run.reports / "jobs" / "catalogue.parquet")
    assert vsa.open_run("synthetic-smoke").jobs.empty


def test_damaged_tables_are_named(made):
    (made.run.reports / "jobs" / "queries.parquet").write_bytes(b"x")
    with pytest.raises(InputError, match="damaged"):
        _ = vsa.open_run("synthetic-smoke").queries


@pytest.mark.parametrize("name", [f.parent.name for f in (ROOT / "reports").glob("*/metrics.json")])
def test_the_published_runs_of_this_repository_open(monkeypatch, name):
    monkeypatch.setenv("VSA_REPORTS_DIR", str(ROOT / "reports"))
    run = vsa.open_run(name)
    assert len(run.records) > 20
    assert set(run.claims.columns) >= {"id", "verdict", "sentence"}
    assert name in repr(run)
