"""Who looks at a photo again, and what notebook 03 makes of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from coloured_squares import PX

from vsa.data.crops import load_crops, with_margin
from vsa.data.images import load_images
from vsa.embedding.candidates import (
    ADAPTED,
    ADAPTED_BOTH,
    ADAPTED_CROP,
    ADAPTED_OBJECT,
    CANDIDATES,
    JOINT_CROP,
    MASKED,
    PLAIN,
    PLAIN_BOTH,
    PLAIN_OBJECT,
    Validation,
)
from vsa.embedding.describer import describe_photos
from vsa.embedding.extract import describe
from vsa.runtime.errors import InputError
from vsa.study.embedding import looking as looking_module
from vsa.study.embedding.finished import FinishedJobs, gather
from vsa.study.embedding.looks import (
    BOX_DIFFERENCES,
    BOXES,
    BY_CLICKS,
    CHOSEN,
    ON_VALIDATION,
    SERVED,
    WAY_DIFFERENCES,
    WAYS,
    choose_candidate,
    lead_of,
    reading_of_boxes,
    reading_of_looks,
    record_boxes,
    record_looks,
)
from vsa.study.embedding.variants import (
    ACTIVATION_CROP,
    CONSTANT_CROP,
    JOINT,
    LOOKS,
    SUPERVISED_CROP,
    TRUE_CROPS,
    WHOLE_IMAGE,
)
from vsa.study.ledger.ledger import Ledger
from vsa.study.run import make_run


@pytest.fixture(scope="module")
def lab(make_lab_in_files, tmp_path_factory):
    """A lab whose pictures lie in files, which it looks at again at 48 pixels."""
    return make_lab_in_files(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def finished(lab) -> FinishedJobs:
    names = (*LOOKS, JOINT, WHOLE_IMAGE)
    return FinishedJobs(lab.task, {name: {0: lab.run(name)} for name in names}, {})


def test_each_look_is_that_of_its_describer(lab, finished):
    root, looking, rows = lab.files[0], lab.looking, lab.task.rows("test")
    paths = lab.task.queries.path.iloc[rows].tolist()
    learned = finished.jobs[JOINT][0].judged["test"].boxes
    for name in CANDIDATES:
        describer = looking.describer(name)
        assert describer.name == name
        who, _, how = name.partition(", ")
        boxes = describer.boxes(
            lab.net(JOINT), PX, lambda px: load_images(root, paths, px), lab.device
        )
        assert (describer.localiser is None) == ("objectness" not in name)
        alone = describe_photos(describer, root, paths, boxes, lab.device)
        np.testing.assert_allclose(looking.photos(who, how)[rows], alone, atol=1e-4)
    goods = finished.jobs[PLAIN_OBJECT][0].judged["test"].boxes
    np.testing.assert_array_equal(finished.jobs[ADAPTED_OBJECT][0].judged["test"].boxes, goods)
    for name in (ADAPTED_CROP, JOINT_CROP):
        boxes = finished.jobs[name][0].judged["test"].boxes
        np.testing.assert_allclose(boxes, learned, atol=1e-5)
    whole = finished.jobs[PLAIN][0].judged["test"].boxes
    assert (whole == [0, 0, 1, 1]).all()


def test_the_lead_over_the_plain_network_is_that_of_test_photos(finished):
    lead = lead_of(finished, MASKED, 200, 0)
    ahead = finished.average_precision(JOINT, [0]) - finished.average_precision(PLAIN, [0])
    assert lead.value == pytest.approx(ahead.mean())
    assert lead.low <= lead.value <= lead.high
    assert lead.n == len(finished.rows)
    assert f"{lead.value:+.3f}" in str(lead)
    assert lead_of(finished, PLAIN, 200, 0) is None


def test_true_crops_are_those_of_the_true_boxes(lab, finished):
    rows, root = lab.task.rows("test"), lab.files[0]
    true = lab.task.boxes[rows]
    for name in TRUE_CROPS:
        np.testing.assert_array_equal(finished.jobs[name][0].judged["test"].boxes, true)
    paths = lab.task.queries.path.iloc[rows].tolist()
    crops = load_crops(root, paths, with_margin(true), PX)
    expected = describe(lab.net(JOINT), crops, lab.device).features
    np.testing.assert_allclose(lab.looking.photos("joint", "true crop")[rows], expected, atol=1e-4)


def test_training_photos_are_looked_at_only_where_something_learns_from_them(lab, finished):
    rows = lab.task.rows("train")
    assert np.isfinite(lab.looking.photos("plain", "learned crop")[rows]).all()
    assert np.isnan(lab.looking.photos("plain", "true crop")[rows]).all()


def test_the_adaptation_is_one_job_that_others_read(lab, finished, monkeypatch):
    card = finished.jobs[ADAPTED][0].card
    curve = pd.DataFrame(card["curve"])
    assert {0, card["kept_step"]} <= set(curve.step)
    assert finished.jobs[ADAPTED][0].training["steps"] == 8
    again = looking_module.Looking(lab, *lab.files)
    monkeypatch.setattr(looking_module, "adapt_by_best", None)  # nobody learns again
    name = "adapted, whole photo"
    np.testing.assert_array_equal(
        again.photos("adapted", "whole photo"), lab.looking.photos("adapted", "whole photo")
    )
    assert lab.key(ADAPTED_CROP) != lab.key(name)


@pytest.mark.parametrize("changed", ["describer_px", "objectness_px", "n_adapt_steps"])
def test_keys_hold_what_a_look_rests_on(lab, changed):
    before = {name: lab.identity(name) for name in (*LOOKS, JOINT)}
    changes = {changed: getattr(lab.settings, changed) + 8}
    other = dataclasses.replace(lab, settings=dataclasses.replace(lab.settings, **changes))
    after = {name: other.identity(name) for name in before}
    moved = {name for name in before if before[name] != after[name]}
    adapted = {name for name in LOOKS if name.startswith("adapted")}
    plain = {name for name in LOOKS if name.startswith("plain")}
    stages = {PLAIN_OBJECT, ACTIVATION_CROP, SUPERVISED_CROP, ADAPTED_OBJECT}
    stages |= {PLAIN_BOTH, ADAPTED_BOTH}
    expected = {
        "describer_px": adapted | plain,
        "objectness_px": stages,
        "n_adapt_steps": adapted,
    }
    assert moved == expected[changed]


def test_what_has_no_files_or_no_boxes_or_no_weights_is_left_out(
    lab, make_lab, tmp_path, monkeypatch
):
    arrays = make_lab(tmp_path)
    assert not any(arrays.is_possible(name) for name in LOOKS)
    boxless = dataclasses.replace(lab.task, queries=lab.task.queries.assign(x_min=np.nan))
    without = dataclasses.replace(lab, task=boxless, folder=tmp_path / "jobs")
    lacking = {name for name in LOOKS if not without.is_possible(name)}
    assert lacking == {*TRUE_CROPS, CONSTANT_CROP, ACTIVATION_CROP, SUPERVISED_CROP}


def test_records_say_who_finds_what_and_which_is_served(finished, tmp_path):
    run = make_run("synthetic", "smoke", 0)
    run.begin()
    ledger = Ledger.open(run, "03_click_mined_training")
    choice = record_looks(ledger, finished, 50, 0)
    assert choice.name == choose_candidate(finished, 0).name
    known = ledger.intervals(WAYS, "mAP")
    assert set(known) == {*LOOKS, MASKED, "joint, whole photo"}
    expected = finished.average_precision(PLAIN, [0]).mean()
    assert known[PLAIN].value == pytest.approx(expected)
    for text, interval in ledger.intervals(WAY_DIFFERENCES, "mAP difference").items():
        if text == "plain: learned crop − whole photo":
            expected = known["plain, learned crop"].value - known[PLAIN].value
            assert interval.value == pytest.approx(expected, abs=1e-5)  # as they are rounded
    assert set(ledger.table(ON_VALIDATION).index) == set(CANDIDATES)
    assert list(ledger.table(SERVED).index) == [choice.name]
    text = reading_of_looks(ledger, choice)
    assert f"The engine serves *{choice.name}*" in text
    assert "not compared" not in text
    # beside it stands what the clicks of the same photos would have served
    assert set(ledger.table(BY_CLICKS).index) == set(CANDIDATES)
    by_products, by_clicks = ledger.table(CHOSEN).index
    assert by_products == f"by products: {choice.name}"
    name = by_clicks.removeprefix("by held-out clicks alone: ")
    assert ledger.intervals(CHOSEN, "mAP")[by_clicks].value == pytest.approx(known[name].value)
    assert f"Held-out clicks alone choose *{name}*" in text


def test_where_no_product_is_known_clicks_serve(finished):
    products = finished.task.queries.product_id.where(finished.task.queries.split == "test")
    hidden = dataclasses.replace(
        finished.task, queries=finished.task.queries.assign(product_id=products)
    )
    clicks = Validation.of(hidden)
    assert clicks.by_clicks
    assert clicks.rows.tolist() == finished.task.rows("val").tolist()  # so their answers fit
    blind = FinishedJobs(hidden, finished.jobs, {})
    ledger = Ledger.open(make_run("synthetic", "smoke", 0), "03_click_mined_training")
    choice = record_looks(ledger, blind, 50, 0)
    for name in CANDIDATES:
        ranks = finished.jobs[name if name != MASKED else JOINT][0].judged["val"].ranks
        expected = clicks.of_ranking(ranks[:, :20]).mean()
        assert choice.table.loc[name, "mAP"] == pytest.approx(expected)
    assert list(ledger.table(CHOSEN).index) == [f"by held-out clicks alone: {choice.name}"]
    assert "products of validation photos are not known" in reading_of_looks(ledger, choice)


def test_boxes_are_judged_by_true_ones_and_by_what_their_crops_find(lab, finished):
    run = make_run("synthetic", "smoke", 0)
    run.begin()
    ledger = Ledger.open(run, "03_click_mined_training")
    record_boxes(ledger, finished, 50, 0)
    iou = ledger.intervals(BOXES, "mean IoU")
    assert iou["true box"].value == 1
    assert iou["whole photo"].value < 0.9
    expected = finished.iou(CONSTANT_CROP, [0]).mean()
    assert iou["best constant box"].value == pytest.approx(expected, abs=1e-5)
    assert set(ledger.intervals(BOXES, "mAP")) == set(iou)
    assert "objectness, from clicks − best constant box" in ledger.table(BOX_DIFFERENCES).index
    assert reading_of_boxes(ledger)
    rows, boxes = lab.task.rows("train"), lab.looking.boxes("activation crop")
    assert np.isnan(boxes[rows]).all()  # of training photos nobody asks


def test_without_true_boxes_none_is_judged(finished):
    run = make_run("synthetic", "smoke", 1)
    run.begin()
    ledger = Ledger.open(run, "03_click_mined_training")
    task = finished.task
    boxless = dataclasses.replace(task, queries=task.queries.assign(x_min=np.nan))
    record_boxes(ledger, dataclasses.replace(finished, task=boxless), 50, 0)
    assert not ledger.intervals(BOXES, "mean IoU")
    assert "no box was judged" in reading_of_boxes(ledger)


def test_candidates_that_lack_weights_are_no_candidates(finished):
    few = FinishedJobs(
        finished.task,
        {k: v for k, v in finished.jobs.items() if k.startswith("joint") or k == JOINT},
        {},
    )
    assert choose_candidate(few, 0).name in (MASKED, JOINT_CROP)


def test_a_study_without_the_plain_weights_says_so(lab, tmp_path, monkeypatch):
    def lacking(*_):
        raise InputError("no usable ImageNet weights", cure="Connect to the network")

    monkeypatch.setattr(looking_module, "plain", lacking)
    monkeypatch.setattr("vsa.study.embedding.finished.in_study", lambda: (PLAIN, JOINT_CROP))
    monkeypatch.setattr("vsa.study.embedding.finished.in_notebook", lambda: (PLAIN, JOINT_CROP))
    bare = dataclasses.replace(lab, folder=Path(tmp_path / "jobs"))
    found = gather([bare])
    assert "no usable ImageNet weights" in found.left_out[PLAIN]
    assert JOINT_CROP in found
