"""Every product judged once, by what the clicks for others have taught."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from vsa.embedding.candidates import ADAPTED, PLAIN, PLAIN_OBJECT
from vsa.study.embedding import folds
from vsa.study.embedding.fold_results import DIFFERENCES, FOLDS, record_folds
from vsa.study.embedding.folds import N_FOLDS, FoldStudy
from vsa.study.embedding.looking import WHOLE
from vsa.study.ledger.ledger import Ledger
from vsa.study.run import make_run


@pytest.fixture
def lab(make_lab, task, tmp_path, monkeypatch):
    """Pictures in files, and products in folds of their own; one fold after the other."""
    monkeypatch.setattr(folds, "_LEAST_PRODUCTS", 5)
    monkeypatch.setattr(
        folds, "product_folds", lambda ids: np.array([int(p[1:]) % N_FOLDS for p in ids])
    )
    paths = {"queries": [], "catalogue": []}
    for table, names in paths.items():
        for row, picture in enumerate(getattr(task.images, table)):
            names.append(f"{table}-{row}.png")
            Image.fromarray(picture).save(tmp_path / names[-1])
    lab = make_lab(tmp_path / "jobs")
    lab.task = dataclasses.replace(
        task,
        queries=task.queries.assign(path=paths["queries"]),
        catalogue=task.catalogue.assign(
            path=paths["catalogue"],  # the last product, of test photos, is not for sale
            product_id=task.catalogue.product_id.replace("p11", "p99"),
        ),
    )
    lab.files = (tmp_path, tmp_path / "cache")
    lab.settings = dataclasses.replace(
        lab.settings,
        pretrained=True,
        describer_px=48,
        objectness_px=96,
        n_adapt_triplets=4,
        n_adapt_steps=8,
    )
    return lab


def test_folds_part_products_and_judge_each_once(lab):
    study = FoldStudy(lab)
    assert study.is_possible
    judged = np.concatenate([study.part(fold).rows("test") for fold in range(N_FOLDS)])
    for_sale = lab.task.queries.product_id.isin(lab.task.catalogue.product_id)
    assert sorted(judged) == study.rows.tolist() == np.flatnonzero(for_sale).tolist()
    for fold in range(N_FOLDS):
        products = study.part(fold).queries.groupby("split").product_id.unique()
        assert not set(products["test"]) & (set(products["train"]) | set(products["val"]))


def test_records_are_of_all_photos_and_are_read_back(lab, tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_REPORTS_DIR", str(tmp_path / "reports"))
    ledger = Ledger.open(make_run("synthetic", "smoke", 0), "03_click_mined_training")
    told = record_folds(ledger, lab, 50)
    table = ledger.table(FOLDS)
    wanted, offered = lab.task.products
    judged = FoldStudy(lab).rows
    similarity = lab.looking.photos("plain", WHOLE)[judged] @ lab.looking.catalogue.T
    first = offered[np.argmax(similarity, axis=1)] == wanted[judged]
    assert table.loc[PLAIN, "Identical Recall@1"] == pytest.approx(first.mean(), abs=1e-5)
    assert f"{ADAPTED} − {PLAIN}" in ledger.table(DIFFERENCES).index
    assert f"{len(judged):,} photos" in told
    monkeypatch.setattr(FoldStudy, "_ask", None)
    assert record_folds(ledger, lab, 50) == told


def test_a_fold_s_own_clicks_do_not_move_its_boxes(lab):
    study = FoldStudy(lab)
    before = study._boxes()
    pages = lab.task.pages
    own = study.folds[pages.query] == 0
    shuffled = np.where(own[:, None], pages.clicked[:, ::-1], pages.clicked)
    lab.task = dataclasses.replace(
        lab.task, pages=dataclasses.replace(pages, clicked=shuffled & (pages.image >= 0))
    )
    after = FoldStudy(lab)._boxes()
    asked = study.folds == 0
    np.testing.assert_array_equal(before[asked], after[asked])


def test_products_on_both_sides_leave_no_folds(lab, tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_REPORTS_DIR", str(tmp_path / "reports"))
    ledger = Ledger.open(make_run("synthetic", "smoke", 0), "03_click_mined_training")
    shared = [f"p{i % 6}" for i in range(len(lab.task.queries))]
    lab.task = dataclasses.replace(lab.task, queries=lab.task.queries.assign(product_id=shared))
    assert "Not asked" in record_folds(ledger, lab, 50)
    assert PLAIN_OBJECT not in ledger.intervals(FOLDS, "mAP")
