import pytest

from vsa.study.ledger.bootstrap import Interval
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.registry import get_metric
from vsa.study.ledger.sentences import bullets, difference_sentence
from vsa.study.run import make_run

METRIC = get_metric("Accuracy@1 difference")


@pytest.mark.parametrize(
    ("interval", "sentence"),
    [
        (
            Interval(0.031, 0.012, 0.05, 50),
            "**fusion** ahead of **model** by 3.1 points of Accuracy@1 (95 % interval 1.2 to 5.0).",
        ),
        (
            Interval(-0.031, -0.05, -0.012, 50),
            "**model** ahead of **fusion** by 3.1 points of Accuracy@1 (95 % interval 1.2 to 5.0).",
        ),
        (
            Interval(0.031, -0.012, 0.05, 50),
            "No sure difference in Accuracy@1 between **fusion** and **model**: "
            "+3.1 points (95 % interval −1.2 to +5.0).",
        ),
    ],
)
def test_a_winner_is_named_only_where_the_interval_leaves_out_zero(interval, sentence):
    assert difference_sentence("fusion", "model", interval, METRIC) == sentence


@pytest.mark.parametrize("low", [0.0, -0.1])
def test_an_interval_that_touches_zero_is_not_sure(low):
    told = difference_sentence("a", "b", Interval(0.1, low, 0.2, 9), METRIC)
    assert told.startswith("No sure difference")


def test_small_rates_keep_their_digits():
    rate = get_metric("conversion rate difference")
    told = difference_sentence("a", "b", Interval(0.0012, 0.0004, 0.002, 9), rate)
    assert "by 0.12 points of conversion rate (95 % interval 0.04 to 0.20)" in told


def test_only_differences_are_told_so():
    with pytest.raises(ValueError, match="no difference"):
        difference_sentence("a", "b", Interval(0.1, 0.05, 0.2, 9), get_metric("Accuracy@1"))


def test_the_ledger_tells_what_it_holds_and_says_what_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_REPORTS_DIR", str(tmp_path))
    ledger = Ledger.open(make_run("synthetic", "smoke", 0), "02_category_fusion")
    ledger.record("difference", "a − b", METRIC.name, Interval(0.1, 0.05, 0.2, 9))
    assert ledger.compare("difference", "a − b", METRIC.name, "a", "b").startswith("**a** ahead of")
    absent = ledger.compare("difference", "a − c", METRIC.name, "a", "c")
    assert absent == "**a** and **c** were not compared in this run."


def test_sentences_make_a_list():
    assert bullets(["One.", "Two."]) == "- One.\n- Two."
