"""What is said along an axis follows from its intervals."""

from vsa.study.ledger.bootstrap import Interval
from vsa.study.ledger.regimes import curves, intervals_of, standing, told_along


def effect(value, reach=0.01):
    return Interval(value, value - reach, value + reach, 9)


def test_variants_become_curves_in_ascending_order():
    found = curves({"16 | raw": effect(2), "2 | raw": effect(1), "2 | kept": effect(3)})
    assert [list(curve) for curve in found.values()] == [[2, 16], [2]]
    assert found["kept"][2].value == 3


def test_each_comparison_is_told_where_it_is_sure():
    found = {"1 | a − b": effect(-0.02), "4 | a − b": effect(0.0), "16 | a − b": effect(0.03)}
    (line,) = told_along(found)
    assert line == (
        "a against b: surely ahead at 16; surely behind at 1; no sure difference at 4; "
        "the largest difference is +0.030 [+0.020, +0.040] in mAP, at 16."
    )
    (line,) = told_along({"1 | a − b": effect(-0.02)})
    assert "-0.020 [-0.030, -0.010]" in line
    assert "ahead" not in line


def test_records_without_an_interval_say_where_the_shop_stands():
    common = {"n": 9, "ci_low": None, "ci_high": None, "metric": "sessions"}
    here = {"variant": "this shop", "value": 4} | common
    low = {"variant": "this shop, quantile 0.05", "value": 0.2} | common
    point = {"variant": "1 | a", "value": 0.5, "metric": "mAP", "n": 9}
    point |= {"ci_low": 0.4, "ci_high": 0.6}
    assert standing([here, low, point]) == [0.2, 4]
    assert intervals_of([here, point], "mAP") == {"1 | a": Interval(0.5, 0.4, 0.6, 9)}
