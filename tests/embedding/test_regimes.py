"""How far results carry: jobs along an axis, their records, curves and sentences."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from vsa.embedding.adapt import mapping
from vsa.embedding.candidates import PLAIN, PLAIN_OBJECT
from vsa.embedding.extract import FULL_BOX
from vsa.runtime.errors import InputError
from vsa.study.embedding.experiment import start_of
from vsa.study.embedding.features import features_of
from vsa.study.embedding.finished import FinishedJobs, gather_points
from vsa.study.embedding.plots import sessions_figure, share_figure
from vsa.study.embedding.prepare import needs_networks
from vsa.study.embedding.published import path_of, read_published
from vsa.study.embedding.regime_jobs import Redrawn
from vsa.study.embedding.regime_results import SECTION, record_regimes, write_regimes
from vsa.study.embedding.regimes import (
    ALONE,
    AXES,
    FILTERED,
    JOINT_MASK,
    NO_CLICKS,
    POINTS,
    RAW,
    SESSIONS,
    SHARE,
    TRUE_CROP,
    TRUE_MASK,
    Point,
)
from vsa.study.embedding.slices import TO_DO, list_jobs, pick, plan, run_jobs
from vsa.study.embedding.variants import JOINT, is_sensitivity, may_lack_weights
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.metrics_file import read_metrics
from vsa.study.ledger.regimes import HERE, differences_of, regime
from vsa.study.run import make_run


@pytest.fixture(scope="module")
def lab(make_lab_in_files, task, tmp_path_factory):
    """A lab whose log can be made longer, and whose photos can be drawn again."""
    lab = make_lab_in_files(tmp_path_factory.mktemp("files"))
    lab.published = lab.files[0] / "published"

    def log_of(n_sessions, seed):
        wanted, offered = task.products
        rng, rows = np.random.default_rng(seed), []
        learn_from = task.queries.query_id[task.queries.split != "test"]
        for session in range(n_sessions):
            for query, query_id in zip(learn_from.index, learn_from, strict=True):
                page = rng.permutation(len(offered))[:8]
                page[0] = np.flatnonzero(offered == wanted[query])[session % 3]
                for rank, image in enumerate(page, start=1):
                    clicked = bool(wanted[query] == offered[image])
                    rows.append((f"{query_id}/{session}", query_id, rank, f"i{image}", clicked))
        columns = ["session_id", "query_id", "rank", "image_id", "clicked"]
        return pd.DataFrame(rows, columns=columns)

    def redraw(share, seed):
        rows = task.rows("test")
        side = np.sqrt(share)
        box = np.array([(1 - side) / 2, (1 - side) / 2, (1 + side) / 2, (1 + side) / 2])
        return Redrawn(
            lab.files[0],
            lab.task.queries.path[rows].tolist(),
            np.tile(box, (len(rows), 1)).astype(np.float32),
        )

    lab.log_of, lab.redraw = log_of, redraw
    return lab


def name_of(axis, at, arm):
    return Point(axis, at, arm).name


SOME = (
    name_of(SESSIONS, 0, NO_CLICKS),
    *(name_of(SESSIONS, n, arm) for n in (1, 4) for arm in (RAW, FILTERED)),
    *(name_of(SHARE, 0.5, arm) for arm in (PLAIN, TRUE_MASK, TRUE_CROP, JOINT_MASK)),
    name_of(SHARE, 0.9, PLAIN),
    name_of(SHARE, 0.5, PLAIN_OBJECT),
)


@pytest.fixture(scope="module")
def finished(lab):
    return FinishedJobs(lab.task, {name: {0: lab.run(name)} for name in (*SOME, PLAIN)}, {})


def test_each_axis_is_a_list_of_jobs_of_its_own(lab):
    assert [n for n in pick(["sessions*"]) if n in POINTS] == [p.name for p in AXES[SESSIONS]]
    assert set(pick(["object's share*plain*"])) < {p.name for p in AXES[SHARE]}
    assert all(is_sensitivity(name) and may_lack_weights(name) for name in POINTS)
    assert start_of(name_of(SHARE, 0.5, JOINT_MASK)) == JOINT
    assert start_of(name_of(SHARE, 0.5, PLAIN_OBJECT)) == PLAIN_OBJECT
    assert start_of(name_of(SESSIONS, 4, RAW)) == ""


def test_without_a_program_that_draws_or_clicks_there_is_no_axis(make_lab, tmp_path):
    lab = make_lab(tmp_path)
    assert not any(lab.is_possible(name) for name in POINTS)
    lab.files, lab.log_of = (tmp_path, tmp_path), lambda n, seed: None
    possible = {POINTS[name].axis for name in POINTS if lab.is_possible(name)}
    assert possible == {SESSIONS}


def test_a_longer_log_gives_more_to_learn_from(finished):
    cards = [finished.jobs[name_of(SESSIONS, n, RAW)][0].card for n in (1, 4)]
    assert cards[0]["triplets"] < cards[1]["triplets"]
    assert cards[0]["click_precision"] == 1
    assert cards[0]["steps"] == 8


def test_without_clicks_a_map_is_where_all_of_them_start(lab, finished):
    study = lab.linear
    start = study.begin(study.ground)
    to, (photos, catalogue) = mapping(start), study.ground.features
    rows = lab.task.rows("test")
    expected = (to(photos[rows]) @ to(catalogue).T).argmax(axis=1)
    found = finished.jobs[name_of(SESSIONS, 0, NO_CLICKS)][0].judged["test"].ranks[:, 0]
    assert np.array_equal(found, expected)


def test_photos_are_asked_by_the_boxes_of_their_drawing(lab, finished):
    truth = lab.redraw(0.5, 0).boxes
    for arm in (TRUE_MASK, TRUE_CROP):
        assert np.array_equal(finished.boxes(name_of(SHARE, 0.5, arm), 0), truth)
    assert (finished.boxes(name_of(SHARE, 0.5, PLAIN), 0) == FULL_BOX).all()
    # drawn as they were, photos are answered as they are everywhere else
    same = finished.jobs[name_of(SHARE, 0.5, PLAIN)][0].judged["test"]
    assert np.array_equal(same.ranks, finished.jobs[PLAIN][0].judged["test"].ranks)
    crop = finished.jobs[name_of(SHARE, 0.5, TRUE_CROP)][0].judged["test"]
    assert not np.array_equal(same.ranks, crop.ranks)


def test_of_a_published_point_what_was_right_is_kept_and_read_back(lab, finished):
    name = name_of(SHARE, 0.5, TRUE_CROP)
    found = read_published(path_of(lab.published, name, 0)).job
    here = finished.jobs[name][0].judged["test"]
    assert list(found.judged) == ["test"]
    assert np.array_equal(found.judged["test"].hits, here.hits)
    assert np.array_equal(found.judged["test"].boxes, here.boxes)


def test_a_point_is_not_made_twice_and_its_time_tells_that_of_others(lab, finished, monkeypatch):
    jobs = [job for job in plan([lab], ["sessions*"]) if job.name in POINTS]
    table = list_jobs(jobs).set_index("variant")
    assert table.state[name_of(SESSIONS, 4, RAW)] == "done"
    assert table.state[name_of(SESSIONS, 64, RAW)] == TO_DO
    assert table.seconds.notna().all()
    monkeypatch.setattr("vsa.study.embedding.regime_jobs.Regimes.answer", None)
    done = [job for job in jobs if job.name in SOME]
    assert run_jobs(done, "t").n_new == 0


def test_features_of_a_point_are_not_to_be_had(lab):
    with pytest.raises(InputError, match="were made for it alone"):
        features_of(lab, name_of(SESSIONS, 4, RAW), "test", lambda verb: verb)


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_ARTIFACTS_DIR", str(tmp_path / "artifacts"))
    monkeypatch.setenv("VSA_REPORTS_DIR", str(tmp_path / "reports"))
    return Ledger.open(make_run("synthetic", "smoke", 0), SECTION)


def test_curves_differences_and_where_the_shop_stands_are_recorded(ledger, finished):
    told = record_regimes(ledger, ledger.run, finished)
    table = ledger.table(regime(SESSIONS))
    assert table.loc[HERE, SESSIONS] == ledger.run.settings.clicks.n_sessions_per_query
    assert {f"{n} | {arm}" for n in (1, 4) for arm in (RAW, FILTERED)} < set(table.index)
    differences = ledger.intervals(differences_of(SESSIONS), "mAP difference")
    assert f"4 | {FILTERED} − {PLAIN}" in differences
    assert f"1 | {RAW} − {NO_CLICKS}" in differences
    (curve,) = sessions_figure(ledger).axes
    assert NO_CLICKS in [text.get_text() for text in curve.get_legend().get_texts()]
    a, b = (finished.average_precision(name, [0]) for name in (name_of(SESSIONS, 4, RAW), PLAIN))
    recorded = differences[f"4 | {RAW} − {PLAIN}"].value
    assert recorded == pytest.approx((a - b).mean(), abs=1e-4)
    shares = ledger.table(regime(SHARE))
    assert shares.loc[f"0.5 | {TRUE_CROP}", SHARE] == pytest.approx(0.5, abs=1e-3)
    assert 0 <= shares.loc[f"0.5 | {PLAIN_OBJECT}", "mean IoU"] <= 1
    low, middle, high = ledger.standing(regime(SHARE))
    assert low <= middle <= high
    assert f"{SESSIONS}, {FILTERED} against {PLAIN}" in told
    assert f"{SHARE}, {TRUE_CROP} against {PLAIN}" in told
    for figure in (sessions_figure(ledger), share_figure(ledger)):
        assert "not known here" in figure.words.caption


def test_where_nothing_was_asked_nothing_is_drawn(ledger, finished):
    assert record_regimes(ledger, ledger.run, FinishedJobs(finished.task, {}, {})) == ""
    assert sessions_figure(ledger) is None
    assert share_figure(ledger) is None


def test_the_section_is_written_from_what_is_finished_or_published(ledger, lab, finished):
    told = write_regimes(ledger.run, [lab])
    metrics = read_metrics(ledger.path)
    assert set(metrics["run"]["sections"]) == {SECTION}
    assert "surely" in told or "no sure difference" in told
    for name in ("regime_sessions", "regime_share"):
        assert (ledger.run.figures / f"{name}.png").is_file()
    found = gather_points([dataclasses.replace(lab, folder=lab.folder / "elsewhere")])
    assert set(found.jobs) == {PLAIN, *SOME}


def test_what_rests_on_no_trained_network_is_the_same_job_without_one(lab):
    other = dataclasses.replace(lab, backbone_state={})
    assert {name_of(SESSIONS, 4, RAW), name_of(SHARE, 0.5, TRUE_CROP)} <= ALONE
    for name in (name_of(SESSIONS, 4, RAW), name_of(SHARE, 0.5, TRUE_CROP)):
        assert other.key(name) == lab.key(name)
        assert other.identity(name) == lab.identity(name)
    assert name_of(SHARE, 0.5, JOINT_MASK) not in ALONE
    assert other.key(name_of(SHARE, 0.5, JOINT_MASK)) != lab.key(name_of(SHARE, 0.5, JOINT_MASK))
    assert not needs_networks(["sessions*"])
    assert not needs_networks(["object's*plain*"])
    assert needs_networks(["object's*"])
    assert needs_networks([])
