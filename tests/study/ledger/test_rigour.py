"""Holm by hand, the intersection–union test, power, and intervals of no width."""

import math

import pytest

from vsa.study.ledger.bootstrap import Interval
from vsa.study.ledger.claims import judge_all
from vsa.study.ledger.rigour import (
    holm,
    judge_run,
    p_above,
    p_below,
    smallest_seen,
    standard_error,
)

HALF = 1.959964  # standard errors in half of a 95 % interval
P_OF_Z = {1.0: 0.158655, 2.0: 0.022750, 3.0: 0.001350, 4.0: 0.0000317}  # one-sided, from tables


def at(z, error=0.01):
    """An effect of `z` standard errors above zero, with its interval."""
    value = z * error
    return Interval(value, value - HALF * error, value + HALF * error, 100)


def claim(name, *effects, lacks=()):
    return judge_all(name, {f"e{i}": e for i, e in enumerate(effects)}, "share", lacks=lacks)


def part(effect):
    return {"effect": effect.value, "ci_low": effect.low, "ci_high": effect.high}


def test_holm_by_hand():
    # 4 × 0.005, 3 × 0.01, 2 × 0.03, and 1 × 0.04, which may not be smaller than the one before
    p = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}
    assert holm(p) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert list(holm(p)) == list(p)
    assert holm({"a": 0.4, "b": 0.9}) == {"a": 0.8, "b": 0.9}
    assert holm({"a": 0.7, "b": 0.9}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


@pytest.mark.parametrize(("z", "p"), P_OF_Z.items())
def test_p_values_are_those_of_the_normal_distribution(z, p):
    assert p_above(part(at(z)), 0.0) == pytest.approx(p, rel=1e-3)
    assert p_below(part(at(-z)), 0.0) == pytest.approx(p, rel=1e-3)
    assert p_above(part(at(z)), z * 0.01) == pytest.approx(0.5)


def test_a_lopsided_interval_is_read_on_the_side_that_matters():
    # C6 at laptop: what is left of 100 ms reaches further down than up
    lopsided = {"effect": 0.28, "ci_low": 0.08, "ci_high": 0.32}
    assert p_above(lopsided, 0.08) == pytest.approx(0.025)
    assert p_below(lopsided, 0.32) == pytest.approx(0.025)
    assert standard_error(lopsided) == pytest.approx(0.24 / (2 * HALF))


def test_the_smallest_effect_seen_is_2_8_standard_errors():
    # (1.96 + 0.8416) × 0.01
    assert smallest_seen(part(at(1.0))) == pytest.approx(0.028016, abs=1e-6)
    assert smallest_seen({"effect": 0.1, "ci_low": 0.1, "ci_high": 0.1}) is None


def test_all_effects_must_hold_without_adjustment_among_them():
    # a claim alone in its run: its worst effect decides, however many there are
    judged = judge_run([claim("C1", at(2.0), at(3.0), at(4.0))])["C1"]
    assert judged.p_holds == pytest.approx(P_OF_Z[2.0], rel=1e-3)
    assert judged.verdict == "reproduced"
    assert judge_run([claim("C1", at(1.0), at(4.0))])["C1"].verdict == "inconclusive"


def test_one_refuted_effect_is_adjusted_for_their_number():
    # 0.02275 is refuted alone, and among three is 0.068
    alone = judge_run([claim("C1", at(-2.0))])["C1"]
    assert (alone.verdict, alone.alone) == ("not reproduced", "not reproduced")
    among = judge_run([claim("C1", at(-2.0), at(4.0), at(4.0))])["C1"]
    assert among.p_falls == pytest.approx(3 * P_OF_Z[2.0], rel=1e-3)
    assert (among.verdict, among.alone) == ("inconclusive", "not reproduced")
    assert judge_run([claim("C1", at(-3.0), at(4.0), at(4.0))])["C1"].verdict == "not reproduced"


def test_both_directions_are_adjusted_across_claims():
    run = judge_run([claim("C1", at(2.0)), claim("C5", at(4.0)), claim("C7", at(-2.0))])
    # holds: 3 × p(4), 2 × p(2), 1 × p(−2); falls: 3 × p(2), …
    assert run["C5"].verdict == "reproduced"
    assert run["C5"].p_holds == pytest.approx(3 * P_OF_Z[4.0], rel=1e-2)
    assert run["C1"].p_holds == pytest.approx(2 * P_OF_Z[2.0], rel=1e-3)
    assert run["C7"].p_falls == pytest.approx(3 * P_OF_Z[2.0], rel=1e-3)
    for name, alone in (("C1", "reproduced"), ("C7", "not reproduced")):
        assert (run[name].verdict, run[name].alone) == ("inconclusive", alone)


def test_a_claim_that_lacks_evidence_is_not_counted_among_those_that_may_hold():
    lacking = claim("C2", at(4.0), lacks=["3 training seeds"])
    run = judge_run([claim("C1", at(2.0)), lacking])
    assert run["C1"].verdict == "reproduced"
    assert (run["C1"].n_hold, run["C1"].n_fall) == (1, 2)
    assert run["C2"].p_holds is None
    assert run["C2"].verdict == "inconclusive"
    fallen = judge_run([claim("C1", at(2.0)), claim("C2", at(-3.0), lacks=["a"])])
    assert fallen["C2"].verdict == "not reproduced"


@pytest.mark.parametrize("value", [-0.01, 0.0, 0.001])
def test_an_interval_of_no_width_settles_nothing(value):
    flat = Interval(value, value, value, 500)
    judged = judge_run([claim("C4a", flat)])["C4a"]
    assert (judged.verdict, judged.p_falls) == ("inconclusive", 1.0)
    assert judged.p_holds == 1.0
    assert judged.smallest == {"e0": None}
    # nor does it keep another effect from falling
    assert judge_run([claim("C4a", flat, at(-4.0))])["C4a"].verdict == "not reproduced"


def test_the_adjustment_never_says_more_than_the_intervals():
    sizes = [-4.0, -2.5, -1.0, 0.0, 1.0, 1.97, 2.5, 4.0]
    for first in sizes:
        for second in sizes:
            judged = judge_run([claim("C1", at(first)), claim("C5", at(second), at(first))])
            for one in judged.values():
                assert one.verdict in ("inconclusive", one.alone)


def test_a_ledger_of_old_is_judged_anew():
    old = claim("C7", Interval(0.0, 0.0, 0.0, 50)) | {"verdict": "not reproduced"}
    judged = judge_run([old])["C7"]
    assert (judged.verdict, judged.alone) == ("inconclusive", "not reproduced")
    assert math.isclose(judged.p_falls, 1.0)
