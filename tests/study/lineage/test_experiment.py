"""One path for all methods: tuned on validation photos, judged on test photos once, kept."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from small_lineage import make_lineage_lab

from vsa.data.schema import BOX
from vsa.runtime.errors import InputError
from vsa.study.embedding.prepare import network_folder
from vsa.study.lineage.experiment import row_key, run_method, run_methods, why_not
from vsa.study.lineage.methods import METHODS, NEEDS, Method, Search
from vsa.study.lineage.rows import METHODS as ALL
from vsa.study.lineage.task import LineageTask
from vsa.study.run import make_run

# What needs files of earlier notebooks, or weights: tried in test_systems and by the notebook
ELSEWHERE = {
    "ImageNet weights, MobileNetV2",
    *("DINOv2", "CLIP", "SigLIP"),
    *("Faster R-CNN", "SSD"),
    *("visual search at eBay", "visual search at Pinterest"),
    *(name for name in ALL if "clicks" in ALL[name].needs),
}


@pytest.fixture
def lab(tmp_path):
    return make_lineage_lab(tmp_path / "shop")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return make_lineage_lab(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def register(monkeypatch):
    """Register methods for one test, as a plug-in would."""
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))
    monkeypatch.setattr(METHODS, "_versions", dict(METHODS._versions))
    monkeypatch.setattr(METHODS, "_by", dict(METHODS._by))
    return METHODS.register


def perfect(lab, seed=0):
    """Finds each product by its colour's category and name: knows the answer."""
    wanted, offered = lab.task.products
    of_split = {id(lab.photos[s]): wanted[lab.task.rows(s)] for s in ("val", "test")}

    def rank(photos):
        mine = of_split.get(id(photos), np.zeros(len(photos), int))
        return np.argsort(offered[None] != mine[:, None], axis=1, kind="stable")[:, :60]

    return Search(rank, 1)


@pytest.mark.parametrize("name", [name for name in ALL if name not in ELSEWHERE])
def test_every_method_runs_on_a_toy_and_gives_what_a_row_needs(shared, name):
    row = run_method(shared, name)
    n, n_seeds = len(shared.photos["test"]), 2 if METHODS[name].learns else 1
    assert row.seeds == tuple(range(n_seeds))
    assert len(row.about) > 100
    assert row.about.count(".") >= 2
    assert row.ms > 0
    if METHODS[name].is_slow:
        assert row.test is None
        assert row.boxes.shape == (1, 3, 4)
        return
    assert row.test.shape == (n_seeds, n, 60)
    assert row.n_bytes > 0
    assert len(row.curve) == len(METHODS[name].grid)
    if METHODS[name].effort in (1, 2) and name != "off the shelf, centre crop":
        # of eighteen products, a third share a hue: chance is below a quarter
        assert shared.task.precision(row.test[0], "test").mean() > 0.3


def test_validation_photos_choose_the_setting_and_test_photos_are_asked_once(lab, register):
    asked = []

    def fit(lab, seed, good):
        best = perfect(lab)

        def rank(photos):
            split = next((s for s in ("val", "test") if photos is lab.photos[s]), "one")
            asked.append((split, good))
            found = best.rank(photos)
            return found if good else found[:, ::-1]

        return Search(rank, 8)

    register("knows", Method(fit, "mine", ({"good": False}, {"good": True}, {"good": True})))
    row = run_method(lab, "knows")
    assert row.setting == {"good": True}
    assert [point["mAP"] for point in row.curve][1:] == [1.0, 1.0]
    assert row.curve[0]["mAP"] < 0.5
    judged = [entry for entry in asked if entry[0] != "one"]
    assert judged == [("val", False), ("val", True), ("val", True), ("test", True)]
    assert lab.task.precision(row.test[0], "test").mean() == 1.0


def test_a_row_is_read_back_until_something_changes(lab, register):
    def fit(lab, seed):  # counts in the lab: what a function closes over counts as its source
        lab.once("fitted", list).append(seed)
        return perfect(lab)

    register("mine", Method(fit, "mine", learns=True))
    first, again = (run_method(lab, "mine") for _ in range(2))
    assert lab.once("fitted", list) == [0, 1]  # each seed once
    assert np.array_equal(first.test, again.test)
    assert (again.name, again.seeds, again.boxes) == ("mine", (0, 1), None)
    before = row_key(lab, "mine")
    lab.settings = dataclasses.replace(lab.settings, n_steps=9)
    assert row_key(lab, "mine") != before
    other = make_lineage_lab(lab.folder.parent / "other")
    other.seed = 1
    assert row_key(other, "mine") != before


def test_a_new_version_of_a_method_is_another_row(lab, register):
    register("one", Method(perfect, "mine"))
    before = row_key(lab, "one")
    METHODS._versions["one"] = 2
    assert row_key(lab, "one") != before


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (lambda n: None, "neither ranks nor locates"),
        (lambda n: Search(), "neither ranks nor locates"),
        (lambda n: Search(lambda photos: np.zeros((len(photos), 3), int)), "a catalogue row twice"),
        (lambda n: Search(lambda photos: np.full((len(photos), 1), n)), "for 8 photos"),
        (lambda n: Search(lambda photos: np.zeros(len(photos), int)), "for 8 photos"),
        (lambda n: Search(lambda photos: 1 / 0), "division by zero"),
        (lambda n: Search(locate=lambda photos: np.full((len(photos), 4), 2.0)), "outside of 0–1"),
    ],
)
def test_what_does_not_do_its_part_is_named(lab, register, found, told):
    register("broken", Method(lambda lab, seed: found(len(lab.catalogue)), "mine"))
    with pytest.raises((InputError, ZeroDivisionError), match=told):
        run_method(lab, "broken")


def test_somebodys_method_that_fails_is_named(lab, register):
    def fails(lab, seed):
        raise KeyError("colour")

    register("fails", Method(fails, "mine"))
    with pytest.raises(InputError, match=r"method 'fails' fails \(KeyError: 'colour'\)"):
        run_method(lab, "fails")


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (perfect, "of type function"),
        (Method(perfect, "mine", needs=("luck",)), "needs 'luck'"),
        (Method(perfect, "mine", effort=9), "has the effort 9"),
    ],
)
def test_what_is_no_method_is_refused(register, entry, told):
    with pytest.raises(InputError, match=told):
        register("odd", entry)
    assert "odd" not in METHODS


# ---------------------------------------------------------------- data that lack something


def lacking(lab, **columns):
    queries = lab.task.queries.assign(**columns)
    lab.task = LineageTask(queries, lab.task.catalogue)
    return lab


def some_methods(monkeypatch, *names):
    kept = {name: METHODS._entries[name] for name in names}
    monkeypatch.setattr(METHODS, "_entries", kept)


def test_without_boxes_only_rows_that_need_them_are_left_out(lab, monkeypatch):
    some_methods(monkeypatch, "palette", "occlusion", "SSD", "localisation for free")
    lacking(lab, **dict.fromkeys(BOX, np.nan))
    rows, left_out = run_methods(lab)
    assert left_out == {"SSD": NEEDS["training boxes"], "occlusion": NEEDS["true boxes"]}
    assert [row.name for row in rows] == ["palette", "localisation for free"]
    assert all(row.boxes is None and row.test is not None for row in rows)


def test_without_categories_only_rows_that_learn_them_are_left_out(lab, monkeypatch):
    some_methods(monkeypatch, "palette", "off the shelf, linear SVM", "neural codes, retrained")
    catalogue = lab.task.catalogue.assign(category="all")
    lab.task = LineageTask(lab.task.queries.assign(category=None), catalogue)
    rows, left_out = run_methods(lab)
    assert [row.name for row in rows] == ["palette"]
    assert set(left_out.values()) == {NEEDS["categories"]}


def test_without_products_boxes_are_judged_still(lab, monkeypatch):
    some_methods(monkeypatch, "palette", "InfoNCE", "localisation for free", "occlusion")
    lacking(lab, product_id=pd.Series([None] * len(lab.task.queries), dtype=object))
    rows, left_out = run_methods(lab)
    assert {row.name for row in rows} == {"localisation for free", "occlusion"}
    assert all(row.test is None and row.boxes is not None for row in rows)
    assert "products of validation or test photos are not known" in left_out["palette"]
    assert left_out["InfoNCE"] == NEEDS["training products"]


def test_weights_that_cannot_be_had_are_told_with_the_cure(lab, monkeypatch, tmp_path):
    some_methods(monkeypatch, "DINOv2", "AlexNet")
    monkeypatch.setenv("VSA_WEIGHTS_DIR", str(tmp_path / "empty"))
    lab.is_pretrained = True
    rows, left_out = run_methods(lab)
    assert rows == []
    assert "vsa.embedders, 'dinov2'" in left_out["DINOv2"]
    assert "VSA_WEIGHTS_DIR" in left_out["AlexNet"]


def test_clicks_that_were_never_published_are_no_reason_to_fail(lab):
    assert not lab.has_clicks
    assert why_not(METHODS["objectness, from clicks"], {"clicks": True}) == NEEDS["clicks"]


def test_rows_of_published_networks_are_made_anew_with_these(lab):
    run = make_run("synthetic", "smoke", 0)
    lab.published = (run, None)
    reading, other = "visual search at eBay", "palette"
    assert METHODS[reading].reads
    assert not METHODS[other].reads

    def keys():
        lab.__dict__.pop("published_digest", None)
        return row_key(lab, reading), row_key(lab, other)

    before = keys()
    network_folder(run).mkdir(parents=True)
    (network_folder(run) / "network.pth").write_bytes(b"weights")
    after = keys()
    assert after[0] != before[0]
    assert after[1] == before[1]
