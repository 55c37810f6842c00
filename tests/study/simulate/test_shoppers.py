"""Simulated shoppers: what is computed exactly is what they do."""

import itertools

import numpy as np
import pandas as pd
import pytest

from vsa.data.schema import QUALITY
from vsa.study.simulate.shoppers import (
    BASE,
    BOUND,
    CATEGORY,
    ELSE,
    IDENTICAL,
    LEAF,
    NAMES,
    SHARES,
    appeal,
    conversion_rate,
    examination,
    purchase_probability,
    simulate_sessions,
    unobserved,
)
from vsa.study.simulate.signals import simulate_signals


@pytest.fixture
def chances():
    return np.random.default_rng(0).beta(1, 8, (2, len(NAMES), 12))


def test_the_exact_conversion_is_that_of_simulated_sessions(chances):
    n_sessions = 60_000
    _, bought = simulate_sessions(chances, n_sessions, np.random.default_rng(1))
    exact = conversion_rate(chances) @ SHARES
    share = bought.sum(axis=(1, 2)) / n_sessions
    error = np.sqrt(exact * (1 - exact) / n_sessions)
    assert (np.abs(share - exact) < 4 * error).all()


def test_examination_is_how_often_results_are_looked_at(chances):
    n_sessions = 60_000
    seen, _ = simulate_sessions(chances, n_sessions, np.random.default_rng(2))
    expected = examination(chances)
    share = seen / seen[..., :1]
    error = np.sqrt(expected * (1 - expected) / seen[..., :1])
    assert (np.abs(share - expected) <= 4.5 * error).all()
    assert (seen[..., 0].sum(axis=1) == n_sessions).all()


def test_no_order_is_better_than_by_falling_probability():
    p = np.random.default_rng(3).random(5)
    rates = [conversion_rate(p[list(order)]) for order in itertools.permutations(range(5))]
    assert conversion_rate(-np.sort(-p)) == pytest.approx(max(rates), abs=1e-12)
    assert max(rates) - min(rates) > 0.01


def listings(**columns) -> pd.DataFrame:
    n = len(next(iter(columns.values())))
    typical = {"sales": 50.0, "conversion_rate": 0.04, "applause_rate": 0.9, "price": 100.0}
    return pd.DataFrame({name: columns.get(name, [typical[name]] * n) for name in QUALITY})


@pytest.mark.parametrize("applause", [0.6, 0.9, 0.99])
@pytest.mark.parametrize("price", [30.0, 100.0, 300.0])
@pytest.mark.parametrize(
    ("signal", "values"),
    [
        ("sales", [0.0, 10.0, 100.0, 10_000.0]),
        ("conversion_rate", [0.0, 0.03, 0.06, 0.4]),
        ("applause_rate", [0.2, 0.85, 0.95, 1.0]),
    ],
)
def test_better_quality_is_bought_more_often(signal, values, price, applause):
    table = listings(**{"price": [price] * 4, "applause_rate": [applause] * 4, signal: values})
    rows = pd.concat([table, listings(price=[100.0] * 9)], ignore_index=True)
    log_odds = appeal(rows, np.full(len(rows), "bags"))[:, :4]
    assert (np.diff(log_odds, axis=1) > 0).all()
    p = purchase_probability(np.full(4, LEAF), log_odds)
    assert (np.diff(p, axis=1) > 0).all()


def test_dearer_is_bought_less_often_and_most_so_by_bargain_hunters():
    rows = listings(price=[40.0, 70.0, 100.0, 150.0, 250.0])
    log_odds = appeal(rows, np.full(5, "bags"))
    assert (np.diff(log_odds, axis=1) < 0).all()
    assert (log_odds[:, 0] - log_odds[:, -1]).argmax() == NAMES.index("bargain hunter")


def test_a_low_price_counts_only_with_applause():
    rows = listings(price=[50.0, 100, 50, 100, 100], applause_rate=[0.6, 0.6, 0.97, 0.97, 0.9])
    hunter = appeal(rows, np.full(5, "bags"))[NAMES.index("bargain hunter")]
    assert hunter[2] - hunter[3] > 3 * (hunter[0] - hunter[1])


def test_relevance_comes_first():
    assert list(np.argsort(BASE)) == [ELSE, CATEGORY, LEAF, IDENTICAL]
    p = purchase_probability(np.array([LEAF, IDENTICAL]), np.zeros((len(NAMES), 2)))
    np.testing.assert_allclose(p, np.tile(BASE[[LEAF, IDENTICAL]], (len(NAMES), 1)))
    wild = listings(sales=[1e9, 0.0], conversion_rate=[1.0, 0.0], applause_rate=[1.0, 0.0])
    assert np.abs(appeal(wild, np.full(2, "bags"))).max() <= BOUND


def test_a_missing_signal_counts_as_a_typical_one():
    rows = listings(price=[100.0, np.nan], sales=[50.0, np.nan], applause_rate=[0.9, np.nan])
    rows.loc[1, "conversion_rate"] = np.nan
    log_odds = appeal(rows, np.full(2, "bags"))
    np.testing.assert_allclose(log_odds[:, 0], log_odds[:, 1])
    nothing = pd.DataFrame(np.nan, index=range(3), columns=QUALITY)
    assert np.isfinite(appeal(nothing, np.full(3, "bags"))).all()


def test_something_stays_unobserved():
    noise = unobserved(5000, 0)
    assert noise.std() == pytest.approx(0.5, abs=0.02)
    np.testing.assert_array_equal(noise, unobserved(5000, 0))


def test_simulated_signals_fit_the_schema_and_share_a_cause():
    catalogue = pd.DataFrame(
        {"product_id": np.repeat([f"p{i}" for i in range(200)], 3), "image_id": range(600)}
    )
    signals = simulate_signals(catalogue, 0)
    assert list(signals.columns) == QUALITY
    assert signals.conversion_rate.between(0, 1).all()
    assert (signals.sales >= 0).all()
    assert signals.applause_rate.corr(signals.conversion_rate) > 0.2
    within = signals.price.groupby(catalogue.product_id).agg(np.ptp)
    assert within.median() < 0.7 * np.ptp(signals.price.quantile([0.25, 0.75]))
    shuffled = catalogue.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(simulate_signals(shuffled, 0).sort_index(), signals)
