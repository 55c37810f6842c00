"""What is recorded, what is chosen on validation photos, and what is said of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from small_lineage import make_lineage_lab

from vsa.runtime.errors import InputError
from vsa.study.ledger.ledger import Ledger
from vsa.study.lineage import factors
from vsa.study.lineage.experiment import Row
from vsa.study.lineage.factors import (
    LABELS,
    PRETRAINED,
    SCRATCH,
    label_curves,
    reading_of_factors,
    record_factors,
    record_labels,
)
from vsa.study.lineage.maps import neighbourhood_hit, record_maps
from vsa.study.lineage.methods import EFFORTS, METHODS, check_ranks
from vsa.study.lineage.plots import boxes_figure, front, map_figure, page_rows, pareto_figure
from vsa.study.lineage.results import (
    BOXES,
    DIFFERENCES,
    NETWORKS,
    PLAIN,
    SEARCH,
    SIMPLEST,
    LineageResults,
    describe_methods,
    reading_of_left_out,
)
from vsa.study.lineage.rows import METHODS as ALL
from vsa.study.lineage.table import SortableTable
from vsa.study.run import make_run


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return make_lineage_lab(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def ledger():
    return Ledger.open(make_run("synthetic", "laptop", 0), "07_lineage")


def found(lab, split, right):
    """Pages whose first result is right for that share of a split's photos, from the first on."""
    wanted, offered = lab.task.products
    wanted = wanted[lab.task.rows(split)]
    is_other = offered[None] != wanted[:, None]
    n_right = round(right * len(wanted))
    is_other[n_right:] = ~is_other[n_right:]
    ranks = np.argsort(is_other, axis=1, kind="stable")
    return check_ranks("made", ranks, len(wanted), len(offered))


def row(lab, name, val, test, n_bytes=100.0, seeds=(0,), boxes=None, weights_mb=None):
    n = len(lab.photos["test"])
    return Row(
        *(name, "[0]", "", {}, [], n_bytes, weights_mb, 2.0, 3.0, seeds),
        found(lab, "val", val),
        np.stack([found(lab, "test", test)] * len(seeds)),
        boxes,
        np.arange(n),
    )


def results(ledger, lab, *rows):
    return LineageResults(ledger, lab, rows, 100)


def test_all_numbers_of_a_row_are_recorded(ledger, lab):
    true = lab.task.boxes[lab.task.rows("test")]
    one = row(lab, "palette", 0.5, 0.75, 24.0, boxes=true[None], weights_mb=8.5)
    results(ledger, lab, row(lab, PLAIN, 0.5, 0.5), one).record()
    table = ledger.table(SEARCH)
    assert table.loc["palette", "Identical Recall@1"] == 0.75
    assert table.loc["palette", "bytes per picture"] == 24
    assert table.loc["palette", "latency"] == 2
    assert table.loc["palette", "time over off the shelf"] == 3
    assert {f"Identical Recall@{k}" for k in (1, 5, 20, 60)} | {"mAP"} <= set(table.columns)
    assert ledger.table(BOXES).loc["palette", "mean IoU"] == 1
    assert list(ledger.table(BOXES).index) == ["palette"]
    assert ledger.table(NETWORKS).loc["palette", "megabytes of weights"] == 8.5
    difference = ledger.intervals(DIFFERENCES, "mAP difference")["palette"]
    recall = table.loc["palette", "mAP"] - table.loc[PLAIN, "mAP"]
    assert difference.value == pytest.approx(recall, abs=1e-4)
    assert list(ledger.intervals(DIFFERENCES, "mAP difference")) == ["palette"]


def test_intervals_are_over_products_and_seeds(ledger, lab):
    results(ledger, lab, row(lab, "InfoNCE", 0.5, 0.5, seeds=(0, 1, 2))).record()
    record = next(r for r in ledger._records.values() if r["metric"] == "mAP")
    assert (record["n"], record["seeds"]) == (8, 3)
    # four products of two photos: half right in whole products; a share of 1/8 cannot be resampled
    assert record["ci_low"] <= record["value"] <= record["ci_high"]


def test_the_simplest_within_reach_is_chosen_on_validation_photos_alone(ledger, lab):
    best = row(lab, "visual search at eBay", 1.0, 0.25)
    near = row(lab, "R-MAC", 1.0, 0.0)
    simple = row(lab, "GeM pooling", 0.5, 1.0)  # best on test photos, which nobody looks at
    choice = results(ledger, lab, simple, near, best).choose()
    assert choice.best.name == "R-MAC"  # the first of equal ones, in the table's order
    assert choice.simplest.name == "R-MAC"
    choice = results(ledger, lab, best, near).choose()
    assert (choice.best.name, choice.simplest.name) == ("visual search at eBay", "R-MAC")


def test_of_equal_effort_the_fewest_bytes_are_simplest(ledger, lab):
    rows = [row(lab, n, 1.0, 1.0, b) for n, b in (("R-MAC", 64), ("neural codes", 32))]
    assert results(ledger, lab, *rows).choose().simplest.name == "neural codes"


def test_the_choice_is_judged_on_test_photos_in_a_sentence(ledger, lab):
    best, near = row(lab, "visual search at eBay", 1.0, 1.0), row(lab, "R-MAC", 1.0, 0.0)
    told = results(ledger, lab, best, near).record_choice()
    assert "**visual search at eBay** is best (mAP 1.000)" in told
    assert "**R-MAC** (statistics of the shop's pictures)" in told
    assert "did not surely hold within 0.02" in told
    effect = ledger.intervals(SIMPLEST, "mAP difference")["R-MAC − visual search at eBay"]
    assert effect.high < 0
    near = row(lab, "R-MAC", 1.0, 1.0)
    assert "So the rule held within 0.02" in results(ledger, lab, best, near).record_choice()


def test_the_best_may_be_the_simplest_and_there_may_be_none(ledger, lab):
    told = results(ledger, lab, row(lab, "palette", 1.0, 1.0)).record_choice()
    assert "nothing simpler comes within 0.02 of it (nothing is fitted)" in told
    assert "none is chosen" in results(ledger, lab).record_choice()


def test_only_sure_differences_are_called_so(ledger, lab):
    best = row(lab, "R-MAC", 0.5, 1.0)
    second = np.concatenate(
        [np.roll(best.test[:, :, :54], 1, axis=2), best.test[:, :, 54:]], 2
    )  # something else comes first, for each photo
    rows = [
        dataclasses.replace(best, name=PLAIN, test=second),
        best,
        row(lab, "palette", 0.5, 0.0),
        dataclasses.replace(best, name="GeM pooling", test=second),
    ]
    writer = results(ledger, lab, *rows)
    writer.record()
    ahead, behind, unsure = writer.reading().splitlines()
    assert ahead.startswith("- 1 surely ahead")
    assert "R-MAC (+" in ahead
    assert "palette (−" in behind
    assert unsure == "- 1 without a sure difference: GeM pooling."


def test_rows_left_out_are_named_with_the_reason():
    told = reading_of_left_out({"CLIP": "no weights"})
    assert "- **CLIP** (since): no weights" in told
    assert "[6]" in told
    assert "[6]" in reading_of_left_out({})


def test_every_work_of_the_paper_has_a_row_or_a_table():
    told = describe_methods()
    here = {f"[{n}]" for n in range(1, 25)}
    elsewhere = {"[6]", "[18]", "[21]"}  # proceedings; factors of transfer; maps in numbers
    assert {number for number in here if number in told} == here - elsewhere
    assert "the paper" in {ALL[name].reference for name in ALL}


def test_docstrings_say_what_is_kept_and_what_is_left_out():
    for name in METHODS:
        words = METHODS[name].about
        assert "Kept" in words, name
        assert words.count(". ") >= 1, name


# ---------------------------------------------------------------- figures and the table


def test_the_front_is_what_nothing_beats_in_cost_and_value():
    assert front([3, 1, 2, 2, 5], [0.5, 0.1, 0.3, 0.4, 0.5]) == [1, 3, 0]
    assert front([1, 1], [0.2, 0.2]) == [0]


def test_figures_name_all_rows(ledger, lab):
    rows = [row(lab, n, 0.5, t) for n, t in ((PLAIN, 0.5), ("palette", 0.25), ("R-MAC", 1.0))]
    results(ledger, lab, *rows).record()
    ticks = [t.get_text() for t in map_figure(ledger).axes[0].get_yticklabels()]
    assert ticks == ["R-MAC", PLAIN, "palette"]
    figure = pareto_figure(ledger)
    assert "1  R-MAC" in figure.axes[0].texts[-1].get_text()
    assert boxes_figure(ledger) is None
    assert [r.name for r in page_rows(lab, rows)] == [PLAIN, "R-MAC"]


def test_the_table_is_sorted_by_what_a_reader_chooses(ledger, lab):
    rows = [
        row(lab, PLAIN, 0.5, 0.5, 300.0),
        row(lab, "palette", 0.5, 0.25, 24.0),
        dataclasses.replace(row(lab, "R-MAC", 0.5, 1.0), n_bytes=None),
    ]
    results(ledger, lab, *rows).record()
    table = SortableTable(ledger)
    assert list(table.by("mAP").parts[0].cells.index) == ["R-MAC", PLAIN, "palette"]
    cheap = table.by("bytes per picture").parts[0].cells
    assert list(cheap.index) == ["palette", PLAIN, "R-MAC"]  # what is not known comes last
    assert cheap.loc["palette", "takes"] == EFFORTS[0]


def test_the_menu_sorts_and_a_page_without_a_kernel_keeps_the_table(ledger, lab):
    results(
        ledger, lab, *(row(lab, n, 0.5, t) for n, t in ((PLAIN, 0.5), ("palette", 1.0)))
    ).record()
    table = SortableTable(ledger)
    box = table.widget()
    menu, shown = box.children
    assert shown.value.index("palette") < shown.value.index(PLAIN)
    menu.value = "bytes per picture"
    assert "by bytes per picture" in shown.value
    bundle = table._repr_mimebundle_()
    assert "by mAP" in bundle["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert repr(table).startswith("methods, by mAP")


# ---------------------------------------------------------------- factors, labels, maps


def test_levels_are_compared_over_what_all_of_them_have():
    scores = {
        ("middle", "mean", "32", "plain"): 0.1,
        ("last", "mean", "32", "plain"): 0.2,
        ("last", "mean", "512", "plain"): 0.9,  # the middle map has no 512
    }
    told = reading_of_factors(scores).splitlines()
    assert told[0] == (
        "- **dimension**: 512 is ahead of 32 by 70.0 points of mAP, in the mean over all else."
    )
    assert "**layer**: last is ahead of middle by 10.0" in told[1]
    assert len(told) == 2  # nothing varies but these


def test_factors_and_maps_are_recorded(ledger, lab, monkeypatch):
    monkeypatch.setattr(factors, "_DIMS", (2, 4))  # the colour network has six channels
    told = record_factors(ledger, lab)
    assert "whitening" in told
    assert len(ledger.table(factors.FACTORS)) == 24  # 2 layers, 3 poolings, 2 dimensions, 2 ways
    record_maps(ledger, lab)
    table = ledger.table("maps in numbers")
    assert ((table >= 0) & (table <= 1) | table.isna()).all(axis=None)


def test_labels_are_worth_what_was_measured(ledger, lab, monkeypatch):
    wanted = lab.categories("test")
    monkeypatch.setattr(factors, "_pretrained", lambda lab, share: wanted)
    monkeypatch.setattr(
        factors, "_scratch", lambda lab, share: np.where(share < 1, -1, wanted[::-1])
    )
    told = record_labels(ledger, lab, 50)
    curves = label_curves(ledger)
    assert [point.value for point in curves[PRETRAINED]] == [1, 1, 1]
    assert curves[SCRATCH][0].value == 0
    assert "With 10% of the labels" in told
    assert len(ledger.intervals(LABELS, "Accuracy@1")) == 6


def test_weights_that_are_not_there_leave_the_other_curve(ledger, lab, monkeypatch):
    def lacking(lab, share):
        raise InputError("no usable ImageNet weights", cure="Set VSA_WEIGHTS_DIR")

    monkeypatch.setattr(factors, "_pretrained", lacking)
    monkeypatch.setattr(factors, "_scratch", lambda lab, share: lab.categories("test"))
    told = record_labels(ledger, lab, 50)
    assert "VSA_WEIGHTS_DIR" in told
    assert set(label_curves(ledger)) == {SCRATCH}


def test_a_neighbourhood_is_hit_where_labels_keep_together():
    points = np.array([[0, 0], [0, 1], [0, 2], [9, 0], [9, 1], [9, 2]], float)
    assert neighbourhood_hit(points, np.array([0, 0, 0, 1, 1, 1]), 2) == 1
    assert neighbourhood_hit(points, np.array([0, 1, 0, 1, 0, 1]), 2) == pytest.approx(1 / 3)
