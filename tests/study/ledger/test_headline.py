import pytest

from vsa.embedding import candidates
from vsa.study.category.results import FUSION
from vsa.study.embedding import looks, variants
from vsa.study.end_to_end import experiment, results
from vsa.study.ledger.bootstrap import Interval
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.metrics_file import read_metrics
from vsa.study.ledger.reporting import headline as module
from vsa.study.ledger.reporting.headline import (
    BOXES,
    BY_OBJECTNESS,
    CATEGORY,
    CONSTANT_BOX,
    ENGINE,
    LEAD,
    NO_RERANK,
    NOT_MEASURED,
    OBJECT_BOXES,
    PLAIN,
    PLAIN_CROP,
    SERVED,
    WHOLE_PATH,
    headline,
)
from vsa.study.ledger.sections import SECTIONS
from vsa.study.run import make_run

R1, MAP = "Identical Recall@1", "mAP"
COMPARED = {(ENGINE, R1): 0.4, (ENGINE, MAP): 0.3, (PLAIN, R1): 0.2, (PLAIN, MAP): 0.1}
ELSEWHERE = {
    (WHOLE_PATH, R1): 0.35,
    (WHOLE_PATH, MAP): 0.25,
    (NO_RERANK, R1): 0.45,
    (CATEGORY, "Accuracy@1"): 0.8,
    (BOXES, "mean IoU"): 0.6,
    (CONSTANT_BOX, "mean IoU"): 0.5,
}
LATENCY = ("06_end_to_end", "latency by stage, 1,234 items", "all stages")


def made(values, leads=(), p95=None, profile="laptop"):
    """The headline of a ledger with these numbers; `leads` are intervals of the differences."""
    run = make_run("synthetic", profile, 0)
    ledgers = {section: Ledger.open(run, section) for section in SECTIONS}
    ledgers["01_catalogue"].record("data", "catalogue", "images", 3)
    for ((section, table, variant), metric), value in values.items():
        interval = Interval(value, value - 0.05, value + 0.05, 50)
        ledgers[section].record(table, variant, metric, interval)
    for metric, (low, high) in dict(leads).items():
        interval = Interval((low + high) / 2, low, high, 50)
        ledgers[LEAD[0]].record(*LEAD[1:], f"{metric} difference", interval)
    if p95 is not None:
        ledgers[LATENCY[0]].record(*LATENCY[1:], "query latency, p95", p95)
        ledgers[LATENCY[0]].record("clients", "all stages", "query latency, p95", 2 * p95)
    for ledger in ledgers.values():
        path = ledger.save()
    return headline(read_metrics(path)["records"], profile)


def test_boxes_are_those_that_the_engine_looks_at():
    both = {(BOXES, "mean IoU"): 0.5, (OBJECT_BOXES, "mean IoU"): 0.7}
    served = (OBJECT_BOXES[0], SERVED, candidates.ADAPTED_OBJECT)
    engine, _, _, boxes, _ = made(both | COMPARED | {(served, MAP): 0.2}).numbers
    assert engine.notes[-1] == f"photos are described by: {candidates.ADAPTED_OBJECT}"
    assert boxes.value == "0.700"
    assert boxes.notes == ("the joint network's 0.500 [0.450, 0.550]",)
    other = (OBJECT_BOXES[0], SERVED, candidates.ADAPTED_CROP)
    assert made(both | {(other, MAP): 0.2}).numbers[3].value == "0.500"
    assert candidates.ADAPTED_OBJECT.endswith(BY_OBJECTNESS)
    assert (SERVED, OBJECT_BOXES[1]) == (looks.SERVED, looks.BOXES)


def test_names_are_those_of_the_rooms_that_record_them():
    assert WHOLE_PATH[2] == experiment.WHOLE
    assert NO_RERANK[2] in experiment.LEFT_OUT
    assert module.ALL_STAGES == experiment.ALL
    assert CATEGORY[2] == FUSION
    assert (WHOLE_PATH[0], results.AGAINST_PLAIN, results.ENGINE) == ENGINE
    assert (PLAIN[2], PLAIN_CROP[2]) == (candidates.PLAIN, candidates.PLAIN_CROP)
    assert (BOXES[2], CONSTANT_BOX[2]) == (variants.JOINT, variants.CONSTANT_BOX)
    places = (ENGINE, PLAIN, WHOLE_PATH, CATEGORY, BOXES)
    assert {place[0] for place in places} <= set(SECTIONS)


def test_five_numbers_with_their_intervals_and_the_plain_network_beside_the_engine():
    found = made(COMPARED | ELSEWHERE | {(PLAIN_CROP, R1): 0.31}, p95=13.25)
    told = [(number.title, number.value, number.interval) for number in found.numbers]
    assert told == [
        ("Whole path", "0.400", "[0.350, 0.450]"),
        ("Plain network", "0.200", "[0.150, 0.250]"),
        ("Category", "0.800", "[0.750, 0.850]"),
        ("Learned boxes", "0.600", "[0.550, 0.650]"),
        ("Time to answer", "13.250 ms", ""),
    ]
    whole, plain, _, boxes, latency = found.numbers
    assert whole.notes == (
        "mAP 0.300 [0.250, 0.350]",
        "whole path with quality re-rank 0.350 [0.300, 0.400]",
    )
    assert plain.notes == (
        "mAP 0.100 [0.050, 0.150]",
        "given the learned crop 0.310 [0.260, 0.360]",
    )
    assert boxes.notes == ("best constant box 0.500 [0.450, 0.550]",)
    assert latency.notes == ("one photo at a time", "among 1,234 items")
    assert whole.section == "06_end_to_end"


def test_where_nobody_compared_the_whole_path_is_told_and_no_advice_given():
    found = made(ELSEWHERE, p95=1)
    whole, plain = found.numbers[:2]
    assert (whole.value, whole.notes) == (
        "0.350",
        ("mAP 0.250 [0.200, 0.300]", "without quality re-rank 0.450 [0.400, 0.500]"),
    )
    assert (plain.value, plain.section, plain.notes) == (NOT_MEASURED, "", ())
    assert found.advice.startswith("No advice: ")
    assert "not compared" in found.advice


def test_what_a_run_did_not_measure_is_named():
    assert [number.value for number in made({}).numbers] == [NOT_MEASURED] * 5
    some = made({(CATEGORY, "Accuracy@1"): 0.8, (CONSTANT_BOX, "mean IoU"): 0.5})
    assert [number.value for number in some.numbers].count(NOT_MEASURED) == 4
    assert all(not number.notes for number in some.numbers)


@pytest.mark.parametrize(
    ("recall", "precision", "advice"),
    [
        ((0.02, 0.08), (0.01, 0.05), "Serve the engine: "),
        ((0.02, 0.08), (-0.01, 0.05), "Serve the engine: "),
        ((-0.02, 0.08), (0.01, 0.05), "Serve the engine: "),
        ((0.02, 0.08), None, "Serve the engine: "),
        ((-0.08, -0.02), (-0.05, -0.01), "Serve the plain network: "),
        ((-0.08, 0.02), (-0.05, -0.01), "Serve the plain network: "),
        ((-0.08, 0.02), (-0.05, 0.01), "Serve the plain network, which is simpler: "),
        ((0.0, 0.0), None, "Serve the plain network, which is simpler: "),
        ((0.02, 0.08), (-0.05, -0.01), "Serve the plain network, which is simpler: "),
    ],
)
def test_the_advice_follows_from_the_intervals(recall, precision, advice):
    leads = {R1: recall} | ({MAP: precision} if precision else {})
    told = made(COMPARED, leads).advice
    assert told.startswith(advice)
    assert f"[{recall[0]:+.3f}, {recall[1]:+.3f}]" in told
    assert ("mAP" in told) == (precision is not None)
    assert told.endswith(").")


def test_a_smoke_run_gives_no_advice():
    found = made(COMPARED, {R1: (0.02, 0.08)}, profile="smoke")
    assert found.numbers[0].value == "0.400"
    assert found.advice == "No advice: the numbers of a smoke run mean nothing."
