import math
import re

import pytest

from vsa.runtime.errors import InputError
from vsa.study.ledger.bootstrap import Interval
from vsa.study.ledger.claims import judge, judge_all, load_claims, sentence
from vsa.study.ledger.registry import METRICS, get_metric


def effect(low, high):
    return Interval((low + high) / 2, low, high, 100)


def test_claims_are_complete():
    claims = load_claims()
    assert list(claims) == ["C1", "C2", "C2a", "C2b", "C3", "C3a", "C4", "C4a", "C5", "C6", "C7"]
    for claim in claims.values():
        assert claim.statement.endswith(".")
        assert claim.judged_by
        assert claim.plain.endswith(".")
        assert claim.needs
        assert re.fullmatch(r"3\.[123]|4", claim.paper_section)


def test_papers_values_are_null_until_read_in_the_paper():
    # whoever fills one in gives its place in the paper, and adjusts nothing here
    for claim in load_claims().values():
        assert claim.paper_value is None or re.search(r"\(.*page \d+.*\)", str(claim.paper_value))


@pytest.mark.parametrize(
    ("low", "high", "threshold", "verdict"),
    [
        (0.01, 0.03, 0.0, "reproduced"),
        (0.0, 0.03, 0.0, "inconclusive"),
        (-0.01, 0.03, 0.0, "inconclusive"),
        (-0.03, 0.0, 0.0, "not reproduced"),
        (-0.03, -0.01, 0.0, "not reproduced"),
        (0.0, 0.0, 0.0, "inconclusive"),  # no width
        (0.5, 0.5, 0.0, "inconclusive"),
        (-0.01, 0.03, -0.02, "reproduced"),
        (0.01, 0.03, 0.02, "inconclusive"),
        (0.01, 0.03, 0.03, "not reproduced"),
    ],
)
def test_verdict_follows_from_the_interval(low, high, threshold, verdict):
    claim = judge("C1", effect(low, high), "Accuracy@1", ["a/b/c/d"], threshold)
    assert claim["verdict"] == verdict
    assert (claim["ci_low"], claim["ci_high"]) == (low, high)
    assert claim["evidence"] == ["a/b/c/d"]
    assert claim["unit"] == "Accuracy@1"


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        (effect(0.1, 0.3), effect(0.01, 0.02), "reproduced"),
        (effect(0.1, 0.3), effect(-0.01, 0.02), "inconclusive"),
        (effect(0.1, 0.3), effect(-0.02, -0.01), "not reproduced"),
        (effect(-0.01, 0.02), effect(-0.02, -0.01), "not reproduced"),
    ],
)
def test_all_comparisons_must_hold(first, second, verdict):
    claim = judge_all("C1", {"over model": first, "over search": second}, "Accuracy@1")
    assert claim["verdict"] == verdict
    assert claim["effect"] == min(first.value, second.value)
    assert set(claim["effects"]) == {"over model", "over search"}


def test_a_wide_smaller_effect_does_not_hide_a_clear_failure():
    wide, clear = Interval(-0.5, -2.0, 1.0, 10), Interval(-0.1, -0.2, -0.05, 10)
    assert judge_all("C1", {"a": wide, "b": clear}, "")["verdict"] == "not reproduced"


def test_unknown_claim_and_metric_are_refused_with_a_cure():
    with pytest.raises(InputError, match="C2a"):
        judge("C99", effect(0, 1), "")
    with pytest.raises(InputError, match=r"Did you mean 'Accuracy@1'"):
        get_metric("Acuracy@1")
    with pytest.raises(ValueError, match="at least one"):
        judge_all("C1", {}, "")


def test_a_claim_that_lacks_evidence_can_only_fall():
    good, bad = Interval(0.2, 0.1, 0.3, 9), Interval(-0.2, -0.3, -0.1, 9)
    assert judge_all("C1", {"a": good}, "", lacks=["b"])["verdict"] == "inconclusive"
    assert judge_all("C1", {"a": bad}, "", lacks=["b"])["verdict"] == "not reproduced"


def test_metrics_are_described_and_print():
    for name, metric in METRICS.items():
        assert name == metric.name
        assert metric.definition
        assert not metric.definition.endswith(".")
        assert metric.direction in ("higher", "lower", "none")
        assert math.isclose(float(metric.text(3.0).replace(",", "")), 3.0)
    assert get_metric("images").text(1204) == "1,204"


def test_what_stands_beside_a_claim_ends_its_sentence():
    judged = judge("C2", Interval(0.2, 0.1, 0.3, 9), "Recall")
    clean = "Of all clicks 80.0% show the identical item."
    assert sentence(judged | {"beside": clean}, "laptop").endswith(f"Recall). {clean}")
    assert sentence(judged | {"beside": ""}, "laptop") == sentence(judged, "laptop")
