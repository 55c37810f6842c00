"""What the ledger gets of the whole path, and the verdict that follows."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from vsa.engine import STAGES
from vsa.study.end_to_end.experiment import ALL, CEILING, FUNNEL, UNSELECTED, WHOLE, Clients
from vsa.study.end_to_end.plots import funnel_plot, waterfall_plot
from vsa.study.end_to_end.results import EndToEndResults
from vsa.study.ledger.claims import INCONCLUSIVE, NOT_REPRODUCED, REPRODUCED
from vsa.study.ledger.ledger import Ledger
from vsa.study.run import make_run

N = 200


@pytest.fixture
def results():
    ledger = Ledger.open(make_run("synthetic", "laptop", 0), "06_end_to_end")
    products = np.arange(N)
    task = SimpleNamespace(products=np.tile(products, 2), kept=np.arange(2 * N) < N)
    return EndToEndResults(ledger, SimpleNamespace(products=products), task, 300, 0)


def pages(n_found: int) -> np.ndarray:
    """Pages of which the first `n_found` show the product, at rank three."""
    rows = np.full((N, 60), -2)
    rows[:n_found, 2] = np.arange(n_found)
    return rows


def times(ms: float) -> pd.DataFrame:
    noise = np.random.default_rng(0).random((N, len(STAGES)))
    stages = pd.DataFrame(ms / len(STAGES) * (0.9 + 0.2 * noise), columns=list(STAGES))
    return stages.assign(**{ALL: stages.sum(axis=1)})


@pytest.mark.parametrize(
    ("ms", "n_found", "verdict"),
    [
        (40, 153, REPRODUCED),
        (40, 150, INCONCLUSIVE),  # all photos alike: an interval of no width settles nothing
        (150, 150, NOT_REPRODUCED),
        (40, 120, NOT_REPRODUCED),
        (40, 147, INCONCLUSIVE),
    ],
)
def test_real_time_without_loss_is_what_the_claim_asks_for(results, ms, n_found, verdict):
    found = {WHOLE: pages(n_found), UNSELECTED: pages(n_found), CEILING: pages(150)}
    results.ablation(found)
    results.latency(1000, times(ms), 0.5)
    results.claim(1000, times(ms), found)
    assert f"**C6 {verdict}**" in results.ledger.verdicts()
    recall = results.ledger.intervals("stages", "Identical Recall@5")[WHOLE]
    assert recall.value == pytest.approx(n_found / N)
    assert results.ledger.intervals("stages", "Identical Recall@1")[WHOLE].value == 0
    lost = results.ledger.intervals("what leaving it out changes", "Identical Recall@20 difference")
    assert lost[f"{CEILING} − {WHOLE}"].value == pytest.approx((150 - n_found) / N)
    assert results.reading().count("the whole path") == len(lost)
    is_sure = f"**{CEILING}** ahead of **the whole path** by" in results.reading()
    assert is_sure == (n_found == 120)
    results.ledger.save()


def test_a_copy_that_selection_removed_counts_where_nothing_was_selected(results):
    twice = pages(N)
    twice[:, 5] = np.arange(N)
    results.ablation({WHOLE: pages(N), UNSELECTED: twice})
    precision = results.ledger.intervals("stages", "mAP")
    assert precision[WHOLE].value == pytest.approx(1 / 3)
    assert precision[UNSELECTED].value == pytest.approx((1 / 3 + 2 / 6) / 2)


def test_time_is_compared_by_medians_and_clients_by_their_tails(results):
    rows = np.arange(40)
    seconds = pd.DataFrame({"engine": np.full(40, 0.02), "naive": np.full(40, 0.08)})
    results.against_naive(rows, seconds, {name: pages(N)[:40] for name in seconds})
    table = results.ledger.table("engine and naive pipeline")
    assert table.loc["engine over naive", "time ratio"] == pytest.approx(0.25)
    results.clients([Clients(2, 50.0, np.array([0.01] * 99 + [1.0]))])
    assert results.ledger.table("clients").loc["2 clients", "p95 over median"] == pytest.approx(1)


def test_figures_print_what_was_measured(results):
    kept = {stage: np.arange(10) < 10 - place for place, stage in enumerate(FUNNEL)}
    texts = [text.get_text() for text in funnel_plot(kept).axes[0].texts]
    assert texts[:2] == ["1.000", "0.900  (−0.100)"]
    shown = waterfall_plot(pd.DataFrame({s: [1.0, 2.0, 3.0] for s in (*STAGES, ALL)}), 7).axes[0]
    assert [text.get_text() for text in shown.texts] == ["2.0 ms"] * (len(STAGES) + 1)
    starts = [patch.get_x() for patch in shown.patches]
    assert starts == [0, 2, 2, 4, 6, 0]  # category and box begin together
