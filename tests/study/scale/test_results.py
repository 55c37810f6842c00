"""From what was seen on a cluster to records, the verdict, and figures."""

from __future__ import annotations

import numpy as np
import pytest
from made_scale import HELD, made_costs, made_equality, made_losses, made_roll

from vsa.study.ledger.ledger import Ledger
from vsa.study.run import make_run
from vsa.study.scale import plots
from vsa.study.scale.cost import Machine
from vsa.study.scale.load import WRONG, Disturbed, Loss, Search
from vsa.study.scale.results import (
    AFTER,
    IN_PROCESS,
    LACKS,
    OVER_RAY,
    ScaleResults,
    fit_ratios,
)

SECTION = "08_scale_out"


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_REPORTS_DIR", str(tmp_path))
    return Ledger.open(make_run("synthetic", "laptop", 0), SECTION)


def recorded(ledger, equality, lost) -> ScaleResults:
    results = ScaleResults(ledger, 200, 0)
    results.equality(equality, 12.0)
    results.idle({OVER_RAY: np.full(9, 0.005), IN_PROCESS: np.full(9, 0.001)})
    results.losses(lost)
    results.roll(made_roll())
    results.claim(equality, lost)
    return results


def test_all_that_was_measured_is_recorded(ledger):
    results = recorded(ledger, made_equality(), made_losses())
    assert ledger.value(SECTION, "loss of a node", AFTER, "searches") == 502
    assert ledger.value(SECTION, "loss of a node", AFTER, "error rate") == pytest.approx(
        8 / 502, abs=1e-4
    )
    assert ledger.value(SECTION, "time to whole", "all losses", "time to whole") == 10
    name = f"{OVER_RAY} − {IN_PROCESS}"
    assert ledger.value(SECTION, "time of a query", name, "latency added") == pytest.approx(4.0)
    told = results.shown()
    assert "100.00% of 10,000 queries" in told
    assert "Nodes killed: 2" in told


def test_the_claim_lacks_hosts_and_is_judged_by_the_rest(ledger):
    recorded(ledger, made_equality(), made_losses())
    ledger.save()
    told = ledger.verdict("C4a")
    assert "inconclusive" in told
    assert LACKS in told


def test_results_that_differ_refute_the_claim(ledger):
    recorded(ledger, made_equality(n_wrong=200), made_losses())
    assert "not reproduced" in ledger.verdict("C4a")


def test_wrong_answers_while_a_node_is_lost_refute_it(ledger):
    lost = made_losses()
    wrong = [
        Search(s.at, s.ms, s.query, WRONG if i % 20 == 0 else s.kind, None)
        for i, s in enumerate(lost.searches)
    ]
    recorded(ledger, made_equality(), Disturbed(wrong, lost.losses, 1000, 0))
    assert "not reproduced" in ledger.verdict("C4a")


def test_a_cluster_that_is_never_whole_again_has_numbers_nevertheless(ledger):
    lost = made_losses()
    never = [Loss(loss.at, float("inf")) for loss in lost.losses]
    recorded(ledger, made_equality(), Disturbed(lost.searches, never, 0, 0))
    assert ledger.value(SECTION, "time to whole", "all losses", "time to whole") == 90
    # all losses came out alike: that refutes nothing
    assert "inconclusive" in ledger.verdict("C4a")


def test_the_model_is_recorded_for_both_places_of_features(ledger):
    results, costs = ScaleResults(ledger, 200, 0), made_costs()
    results.costs(costs)
    results.model(costs, Machine())
    table = ledger.table("model: features in memory")
    assert list(table.index) == [f"{n} items" for n in ("10⁶", "10⁷", "10⁸", "10⁹", "10¹⁰")]
    # 10¹⁰ items of 300 bytes, and 400,000 lists of 552, in 70 % of 256 GB: 17 shards
    assert table.shards.iloc[-1] == 17
    on_disk = ledger.table("model: features on a disk")
    assert on_disk.machines.iloc[-1] < table.machines.iloc[-1]
    assert ledger.value(SECTION, "what an item takes", "feature", "bytes in memory") == HELD.feature


def test_times_that_follow_the_model_fit_it():
    for ratios in fit_ratios(made_costs()).values():
        assert np.allclose(ratios, 1)


def test_figures_have_their_words_and_can_be_drawn():
    costs = made_costs()
    for figure in (
        plots.loss_figure(made_losses(), 3.0),
        plots.roll_figure(made_roll()),
        plots.cost_figure(costs),
        plots.model_figure(costs, Machine(), 400_000),
    ):
        assert figure.words.alt_text
        figure.canvas.draw()
