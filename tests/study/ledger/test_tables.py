import pandas as pd
import pytest

from vsa.study.ledger.bootstrap import Interval
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.tables import as_table, tables
from vsa.study.run import make_run


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_REPORTS_DIR", str(tmp_path))
    return Ledger.open(make_run("synthetic", "smoke", 0), "02_category_fusion")


def test_the_best_of_each_metric_is_marked_by_the_registrys_direction(ledger):
    for name, accuracy, loss in (("model", 0.7, 0.9), ("fusion", 0.8, 1.1)):
        ledger.record("accuracy", name, "Accuracy@1", Interval(accuracy, 0.6, 0.9, 50))
        ledger.record("accuracy", name, "negative log-likelihood", loss)
    shown = tables(ledger, "accuracy")
    html = shown._repr_html_()
    assert "<b>0.800 [0.600, 0.900]</b>" in html  # higher is better
    assert "<b>0.900</b>" in html  # lower is better
    assert html.count("<b>0.") == 2
    plain = repr(shown)
    assert "0.800 [0.600, 0.900] *" in plain
    assert "0.900 *" in plain
    assert "negative log-likelihood (nats)" in plain
    assert plain.endswith("* the best of its metric")


def test_rows_that_are_no_rivals_are_not_ranked(ledger):
    for stage, value in (("search", 1.0), ("re-rank", 2.0)):
        ledger.record("stages", stage, "query latency", value)
    assert "<b>" in tables(ledger, "stages")._repr_html_()
    assert "<b>" not in tables(ledger, "stages", mark=False)._repr_html_()


def test_values_that_print_alike_share_the_mark(ledger):
    for name, value in (("a", 0.70001), ("b", 0.70002), ("c", 0.1)):
        ledger.record("accuracy", name, "Accuracy@1", value)
    assert tables(ledger, "accuracy")._repr_html_().count("<b>0.700</b>") == 2


@pytest.mark.parametrize(
    ("metric", "values"),
    [
        ("Accuracy@1", [0.5]),  # nothing to choose from
        ("Accuracy@1", [0.5, 0.5]),  # nobody is ahead
        ("share of queries", [0.1, 0.9]),  # neither way is better
        ("Accuracy@1 difference", [0.1, 0.2]),  # each row compares two others
    ],
)
def test_nothing_is_marked_where_there_is_no_best(ledger, metric, values):
    for number, value in enumerate(values):
        ledger.record("case", f"row {number}", metric, value)
    shown = tables(ledger, "case")
    assert "<b>" not in shown._repr_html_()
    assert "*" not in repr(shown)


def test_rows_by_columns_as_in_the_report(ledger):
    for variant, value in (("bag | model", 0.2), ("bag | fusion", 0.4), ("shoe | model", 0.3)):
        ledger.record("by category", variant, "Accuracy@1", value)
    shown = tables(ledger, "by category")
    assert repr(shown).splitlines()[:2] == ["by category: Accuracy@1", "      model   fusion"]
    assert "<b>0.400</b>" in shown._repr_html_()


def test_what_was_not_measured_is_said(ledger):
    shown = tables(ledger, "accuracy", "training")
    assert repr(shown).count("(not measured in this run)") == 2
    assert shown._repr_html_().count("(not measured in this run)") == 2


def test_names_of_people_stay_text(ledger):
    ledger.record("accuracy", "<script>alert(1)</script>", "Accuracy@1", 0.5)
    html = tables(ledger, "accuracy")._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_wide_tables_scroll_and_do_not_wrap(ledger):
    ledger.record("accuracy", "model", "Accuracy@1", 0.5)
    html = tables(ledger, "accuracy")._repr_html_()
    assert "overflow-x: auto" in html
    assert "white-space: nowrap" in html


def test_a_frame_is_shown_as_it_is_and_the_same_each_time():
    frame = pd.DataFrame({"images": [3, 4]}, index=["train", "test"])
    assert "4" in repr(as_table(frame))
    assert as_table(frame)._repr_html_() == as_table(frame)._repr_html_()
