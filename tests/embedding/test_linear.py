"""Cheap maps of plain features, learned from other clicks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from vsa.embedding.mining import PageViews
from vsa.study.embedding.linear import STRAY_RATES, LinearStudy, leave_out
from vsa.study.embedding.linear_results import (
    CONTROL,
    CONTROL_DIFFERENCES,
    FILTERED,
    RAW,
    SEEN,
    SWEEP,
    SWEEP_DIFFERENCES,
    UNSEEN,
    reading_of_sweep,
    record_linear,
    sweep_curves,
    sweep_variant,
)
from vsa.study.ledger.bootstrap import Interval
from vsa.study.ledger.ledger import Ledger
from vsa.study.run import make_run


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_ARTIFACTS_DIR", str(tmp_path / "artifacts"))
    monkeypatch.setenv("VSA_REPORTS_DIR", str(tmp_path / "reports"))
    return Ledger.open(make_run("synthetic", "smoke", 0), "03_click_mined_training")


class Features:
    """In place of the plain network: features that know the product, a little."""

    def __init__(self, task):
        rng = np.random.default_rng(0)
        products, offered = task.products
        of_product = rng.standard_normal((offered.max() + 1, 24))
        self.sides = []
        for codes in (products, offered):
            noisy = of_product[codes] + rng.standard_normal((len(codes), 24))
            noisy /= np.linalg.norm(noisy, axis=1, keepdims=True)
            self.sides.append(noisy.astype(np.float32))
        self.catalogue = self.sides[1]

    def photos(self, who, how):
        return self.sides[0]


@pytest.fixture
def lab(task, settings, make_lab, tmp_path, monkeypatch):
    monkeypatch.setattr("vsa.study.embedding.linear.weights_key", lambda _: "none")
    lab = make_lab(tmp_path / "jobs")
    lab.settings = dataclasses.replace(settings, adapted_dim=8, n_adapt_steps=8)
    lab.__dict__["looking"] = Features(task)

    def relog(rate):
        rng = np.random.default_rng(0)
        pages, rows = task.pages, []
        wanted, offered = task.products
        for page, (query, images) in enumerate(zip(pages.query, pages.image, strict=True)):
            for rank, image in enumerate(images[images >= 0], start=1):
                clicked = wanted[query] == offered[image] or rng.random() < rate
                rows.append((f"s{page}", f"q{query}", rank, f"i{image}", clicked))
        columns = ["session_id", "query_id", "rank", "image_id", "clicked"]
        return pd.DataFrame(rows, columns=columns)

    lab.relog = relog
    return lab


def test_left_out_images_are_on_no_page_and_the_others_move_up():
    pages = PageViews(
        np.array([3, 4]),
        np.array([[5, 6, 7, -1], [6, 8, 9, 5]]),
        np.array([[True, True, False, False], [False, False, True, True]]),
    )
    found = leave_out(pages, np.array([6, 9]))
    assert found.query.tolist() == [3, 4]
    assert found.image.tolist() == [[5, 7, -1, -1], [8, 5, -1, -1]]
    assert found.clicked.tolist() == [[True, False, False, False], [False, True, False, False]]


def test_pictures_of_test_products_are_not_seen_while_learning(lab, task):
    study = LinearStudy(lab, [0, 1])
    wanted, offered = task.products
    tested = set(wanted[task.rows("test")])
    assert study.can_leave_out
    assert set(offered[study.test_images]) == tested
    ground = study.inductive_ground
    assert not set(offered[ground.offered]) & tested
    mined = study.mine(ground, leave_out(task.pages, study.test_images))
    for raw in (mined.train, mined.val):
        seen = np.concatenate([raw.triplets.positive, raw.triplets.negatives.ravel()])
        assert not set(offered[seen[seen >= 0]]) & tested
    # what these pictures look like changes nothing that is learned
    before = study.hits(ground, mined.filtered)
    other = LinearStudy(lab, [0, 1])
    lab.looking.catalogue = lab.looking.catalogue.copy()
    lab.looking.catalogue[study.test_images] = lab.looking.catalogue[0]
    changed = other.inductive_ground
    photos = [one.features[0] for one in (ground, changed)]
    np.testing.assert_array_equal(*photos)
    assert before.shape == (2, len(task.rows("test")), len(task.catalogue))


def test_both_questions_are_recorded_and_told(lab, ledger):
    told = record_linear(ledger, lab, 50, 0.02)
    table = ledger.table(SWEEP)
    precisions = table["click precision"]
    for rate in STRAY_RATES:
        raw, kept = (sweep_variant(rate, kind) for kind in (RAW, FILTERED))
        assert precisions[kept] >= precisions[raw] - 1e-9
        assert f"{rate:g}" in ledger.table(SWEEP_DIFFERENCES).index
    assert precisions[sweep_variant(0, RAW)] == 1
    raw = [precisions[sweep_variant(rate, RAW)] for rate in STRAY_RATES]
    assert raw == sorted(raw, reverse=True)
    curves, shares = sweep_curves(ledger, "mAP")
    assert list(curves[RAW]) == list(shares[FILTERED]) == list(STRAY_RATES)
    assert ledger.table(CONTROL).index.tolist() == [SEEN, UNSEEN]
    assert f"{UNSEEN} − {SEEN}" in ledger.table(CONTROL_DIFFERENCES).index
    assert "filter" in told
    assert "learned without test products' pictures" in told
    kept = list((lab.folder / "linear").iterdir())
    assert len(kept) > 0
    assert record_linear(ledger, lab, 50, 0.02) == told
    assert len(list((lab.folder / "linear").iterdir())) == len(kept)  # nothing is learned twice


def test_an_observed_log_and_shared_products_are_told(lab, ledger, task):
    lab.relog = None
    lab.task = dataclasses.replace(
        task, queries=task.queries.assign(product_id=[f"p{i % 6}" for i in range(24)])
    )
    told = record_linear(ledger, lab, 20, 0.02)
    assert "The log was observed" in told
    assert "no inductive control" in told


@pytest.mark.parametrize(
    ("effects", "words"),
    [
        ({0: -0.1, 0.02: 0.0, 0.06: 0.1, 0.2: 0.2}, ["pays from a rate of 0.06", "At 0,", "hurts"]),
        ({0: 0.0, 0.2: 0.0}, ["At no rate up to 0.2", "At none"]),
        ({0: 0.1, 0.2: 0.0}, ["surely pays at 0,"]),
    ],
)
def test_what_the_sweep_says_follows_from_its_intervals(ledger, effects, words):
    for rate, value in effects.items():
        interval = Interval(value, value - 0.05, value + 0.05, 9)
        ledger.record(SWEEP_DIFFERENCES, f"{rate:g}", "mAP difference", interval)
        for kind in (RAW, FILTERED):
            ledger.record(SWEEP, sweep_variant(rate, kind), "click precision", 0.5)
    told = reading_of_sweep(ledger)
    for word in words:
        assert word in told
