import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vsa.study.ledger.bootstrap import (
    equality_interval,
    mean_interval,
    paired_difference,
    paired_ratio,
)


def width(interval):
    return interval.high - interval.low


def test_interval_is_scipys():
    values = np.random.default_rng(0).exponential(size=80)
    ours = mean_interval(values, 20_000, seed=0)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert ours.value == pytest.approx(values.mean())
    assert ours.n == 80
    assert ours.low == pytest.approx(theirs.low, abs=0.02 * width(ours))
    assert ours.high == pytest.approx(theirs.high, abs=0.02 * width(ours))


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_coverage_over_queries(level):
    rng = np.random.default_rng(1)
    covered = 0
    for repeat in range(200):
        interval = mean_interval(rng.normal(3, 1, 60), 400, repeat, level)
        covered += interval.low <= 3 <= interval.high
    # the binomial standard error is at most 0.03; the percentile interval runs slightly short
    assert level - 0.08 <= covered / 200 <= level + 0.06


def test_coverage_over_seeds_and_queries():
    rng = np.random.default_rng(2)
    covered = covered_by_queries_alone = 0
    for repeat in range(200):
        values = rng.normal(0, 1, (10, 1)) + rng.normal(0, 1, 40) + rng.normal(0, 1, (10, 40))
        interval = mean_interval(values, 300, repeat)
        alone = mean_interval(values.mean(axis=0), 300, repeat)
        covered += interval.low <= 0 <= interval.high
        covered_by_queries_alone += alone.low <= 0 <= alone.high
    assert 0.84 <= covered / 200 <= 0.99
    assert covered_by_queries_alone / 200 < 0.75  # forgetting the seeds would be seen


def test_groups_are_resampled_whole():
    products = np.random.default_rng(3).normal(size=100)
    photos, groups = np.repeat(products, 4), np.repeat(np.arange(100), 4)
    by_product = mean_interval(products, 2000, 0)
    clustered = mean_interval(photos, 2000, 0, groups=groups)
    naive = mean_interval(photos, 2000, 0)
    assert clustered.n == 400
    assert width(clustered) == pytest.approx(width(by_product), rel=0.1)
    assert width(naive) == pytest.approx(width(by_product) / 2, rel=0.1)


def test_groups_of_unequal_size_give_the_mean_over_queries():
    interval = mean_interval([0, 0, 0, 1], 500, 0, groups=["a", "a", "a", "b"])
    assert interval.value == 0.25
    assert (interval.low, interval.high) == (0, 1)


def test_paired_is_tighter_than_unpaired():
    rng = np.random.default_rng(4)
    hardness = rng.normal(0, 1, 300)
    a, b = (hardness + rng.normal(shift, 0.2, (3, 300)) for shift in (0.1, 0))
    paired = paired_difference(a, b, 1000, 0)
    unpaired = np.hypot(width(mean_interval(a, 1000, 0)), width(mean_interval(b, 1000, 1)))
    assert width(paired) < unpaired / 3
    assert paired.low < 0.1 < paired.high
    assert paired.value == pytest.approx(a.mean() - b.mean())


def test_identical_arrays_differ_by_nothing():
    a = np.random.default_rng(5).random((3, 50))
    interval = paired_difference(a, a, 200, 0)
    assert (interval.value, interval.low, interval.high, interval.n) == (0, 0, 0, 50)


def test_same_seed_same_interval():
    values = np.random.default_rng(6).random(40)
    assert mean_interval(values, 200, 7) == mean_interval(values, 200, 7)
    assert mean_interval(values, 200, 7) != mean_interval(values, 200, 8)


@settings(max_examples=30)
@given(
    st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20), st.integers(0, 9), st.floats(-10, 10)
)
def test_bounds_lie_within_the_values_and_shift_with_them(values, seed, shift):
    interval = mean_interval(values, 50, seed)
    slack = 1e-9 * (1 + max(map(abs, values)))
    assert min(values) - slack <= interval.low <= interval.high <= max(values) + slack
    moved = mean_interval(np.add(values, shift), 50, seed)
    assert moved.low == pytest.approx(interval.low + shift, abs=1e-6)


def test_a_ratio_of_known_width():
    rng = np.random.default_rng(8)
    b = rng.random((2, 400)) + 1
    exact = paired_ratio(3 * b, b, 200, 0)
    assert (exact.low, exact.high) == (pytest.approx(3), pytest.approx(3))
    a = rng.random((2, 400))
    found = paired_ratio(a, b, 500, 0)
    assert found.value == pytest.approx(a.mean() / b.mean())
    assert found.low < found.value < found.high
    doubled = paired_ratio(2 * a, b, 500, 0)
    assert doubled.high == pytest.approx(2 * found.high)
    inverse = paired_ratio(b, a, 500, 0)
    assert inverse.low == pytest.approx(1 / found.high, rel=1e-3)


def test_a_ratio_over_nothing_is_not_finite():
    nothing = paired_ratio([1.0, 1.0], [0.0, 0.0], 50, 0)
    assert not np.isfinite([nothing.value, nothing.low, nothing.high]).any()


def test_memory_stays_bounded():
    values = np.random.default_rng(7).random(50_000)
    tracemalloc.start()
    mean_interval(values, 300, 0)  # 15 million draws: 120 MB as int64 alone
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6


@pytest.mark.parametrize(
    "call",
    [
        lambda: mean_interval([], 10, 0),
        lambda: mean_interval([1, np.nan], 10, 0),
        lambda: mean_interval(np.zeros((2, 2, 2)), 10, 0),
        lambda: mean_interval([1, 2], 10, 0, groups=["a"]),
        lambda: paired_difference([1, 2], [1], 10, 0),
        lambda: paired_ratio([1, 2], [1], 10, 0),
    ],
)
def test_what_cannot_be_resampled_raises(call):
    with pytest.raises(ValueError):
        call()


def test_equal_answers_bound_what_may_differ_by_how_many_were_asked():
    found = equality_interval(np.ones(200, bool), 100, 0)
    assert (found.value, found.high, found.n) == (1, 1, 200)
    # the exact bound: of so many differing answers, none would be seen in one of forty samples
    assert found.low**200 == pytest.approx(0.025)
    assert 1 - found.low == pytest.approx(3.7 / 200, rel=0.02)
    grouped = equality_interval(np.ones(200, bool), 100, 0, groups=np.arange(200) // 2)
    assert grouped.low**100 == pytest.approx(0.025)


def test_one_differing_answer_is_resampled_like_any_share():
    same = np.arange(100) > 0
    assert equality_interval(same, 200, 0) == mean_interval(same.astype(float), 200, 0)
