import time

import pytest

from vsa.study.ledger.timing import measure


def test_warm_up_does_not_count_and_an_outlier_shows_in_p95():
    calls = []

    def work():
        calls.append(None)
        # slow: the first call, as caches are filled, and one later one
        time.sleep(0.05 if len(calls) in (1, 12) else 0.001)

    timing = measure(work, n_warmup=2, n_repeats=11)
    assert len(calls) == 13
    assert timing.n == 11
    assert timing.threads >= 1
    assert 1 <= timing.median_ms < 20
    assert timing.median_ms + 5 < timing.p95_ms  # interpolates towards the outlier


def test_warm_up_hides_the_first_call():
    calls = []

    def work():
        calls.append(None)
        time.sleep(0.1 if len(calls) == 1 else 0.001)

    assert measure(work, n_warmup=1, n_repeats=3).p95_ms < 80


def test_no_repeats_no_timing():
    with pytest.raises(ValueError, match="n_repeats"):
        measure(lambda: None, 1, 0)
