"""Small ledgers that nobody measured, as runs publish them."""

from __future__ import annotations

from pathlib import Path

from vsa.study.ledger.bootstrap import Interval
from vsa.study.ledger.claims import judge_all
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.sections import NO_PRODUCTS
from vsa.study.run import make_run

WHOLE = (
    "01_catalogue",
    "02_category_fusion",
    "03_click_mined_training",
    "04_binary_index",
    "05_quality_rerank",
    "06_end_to_end",
)
OF_CLAIM = {"C1": "02_category_fusion", "C4": "04_binary_index", "C5": "05_quality_rerank"}


def surely(value: float) -> Interval:
    """An effect whose interval ends at half and at one and a half of it."""
    return Interval(value, min(0.5 * value, 1.5 * value), max(0.5 * value, 1.5 * value), 100)


def make_ledger(
    dataset: str,
    claims=None,
    lacks=(),
    sections=WHOLE,
    products: bool = True,
    records=(),
    profile: str = "laptop",
) -> Path:
    """Publish a run; returns its folder.

    Parameters
    ----------
    claims : claim → effect → interval; what they lack is `lacks`.
    products : whether they are known, as the data set's card has it.
    records : section, experiment, variant, metric and value of more of them.
    """
    run = make_run(dataset, profile, 0)
    for section in sections:
        ledger = Ledger.open(run, section)
        if section == "01_catalogue":
            for table, count in (("catalogue", 2345), ("queries, test", 678)):
                ledger.record("data set", table, "images", count)
            left_out = [] if products else [NO_PRODUCTS]
            simulated = ["The click log: made up.", "Purchases: made up."]
            card = {"title": f"{dataset} shop", "left_out": left_out, "simulated": simulated}
            ledger.dataset_card(card)
        for where, *record in records:
            if where == section:
                ledger.record(*record)
        key = ledger.record("made", "up", "Accuracy@1", 0.8)
        for claim, effects in (claims or {}).items():
            if OF_CLAIM.get(claim, "03_click_mined_training") == section:
                ledger.claim(judge_all(claim, effects, "Accuracy@1", [key], lacks=lacks))
        ledger.save()
    return run.reports
