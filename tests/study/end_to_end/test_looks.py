"""What notebook 06 records of the ways of looking at a photo."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from vsa.study.end_to_end.looks import LEARNED, LOOKS, WHOLE, LookOutcome, record_looks
from vsa.study.end_to_end.results import EndToEndResults
from vsa.study.ledger.ledger import Ledger
from vsa.study.run import make_run

N = 40


def outcome(n_found: int, n_named: int, ms: float) -> LookOutcome:
    """Of N photos so many show their product first, and so many are named right."""
    pages = np.full((N, 60), -2)
    pages[:n_found, 0] = np.arange(n_found)
    named = np.where(np.arange(N) < n_named, "shoes", "balls")
    return LookOutcome(pages, named, np.array([ms, ms, 100 * ms]))


def test_each_look_is_judged_by_recall_category_and_time():
    ledger = Ledger.open(make_run("synthetic", "laptop", 0), "06_end_to_end")
    products = np.arange(N)
    photos = SimpleNamespace(products=products, categories=np.full(N, "shoes"))
    task = SimpleNamespace(products=products, kept=np.ones(N, bool))
    results = EndToEndResults(ledger, photos, task, 200, 0)
    text = record_looks(results, {WHOLE: outcome(10, 40, 5.0), LEARNED: outcome(30, 40, 9.0)})
    table = ledger.table(LOOKS)
    assert table["Identical Recall@1"].to_dict() == {WHOLE: 0.25, LEARNED: 0.75}
    assert table["mAP"].to_dict() == pytest.approx({WHOLE: 0.25, LEARNED: 0.75})
    assert (table["Accuracy@1"] == 1).all()
    assert table["query latency"].to_dict() == {WHOLE: 5.0, LEARNED: 9.0}
    assert f"**{LEARNED}** ahead of **{WHOLE}** by" in text
