"""How long to train: the paper's loss for shorter and for longer, by validation photos."""

from __future__ import annotations

import numpy as np

from vsa.study.embedding.finished import FinishedJobs, recall_at_k
from vsa.study.embedding.variants import LENGTHS, PER_QUERY
from vsa.study.ledger.bootstrap import mean_interval
from vsa.study.ledger.ledger import Ledger

LEARNING_CURVE = "learning curve on validation photos"
_RECALL = "Identical Recall@1"


def record_lengths(ledger: Ledger, finished: FinishedJobs, n_resamples: int, seed: int) -> None:
    """Record what validation photos find after training for so many steps, shortest first.

    All lengths rest on the seeds that the shortest of them and the chosen one have; longer ones,
    trained by ``make study``, are there once those seeds are.
    """
    rows = finished.task.rows("val")
    products = finished.task.queries.product_id.to_numpy()[rows]
    shortest = min(LENGTHS, key=LENGTHS.__getitem__)
    seeds = finished.seeds(shortest, PER_QUERY)
    for name in sorted(LENGTHS, key=LENGTHS.__getitem__):
        jobs = finished.jobs.get(name, {})
        if not seeds or not set(seeds) <= set(jobs):
            continue
        found = np.stack([recall_at_k(jobs[one].judged["val"], 1) for one in seeds])
        recall = mean_interval(found, n_resamples, seed, groups=products)
        text = f"{jobs[seeds[0]].training['steps']:,} steps"
        ledger.record(LEARNING_CURVE, text, _RECALL, recall, seeds=seeds)


def reading_of_lengths(ledger: Ledger, finished: FinishedJobs) -> str:
    """Which of the lengths validation photos like best, and which the profile has."""
    curve = ledger.intervals(LEARNING_CURVE, _RECALL)
    if not curve:
        return "No other length was trained in this run."
    chosen = f"{finished.jobs[PER_QUERY][min(finished.seeds(PER_QUERY))].training['steps']:,} steps"
    best = max(curve, key=lambda text: (curve[text].value, text == chosen))
    if best == chosen:
        return f"Validation photos find nothing more after fewer steps, or more, than {chosen}."
    behind = curve[best].value - curve[chosen].value
    return (
        f"The profile trains for {chosen}; of {len(curve)} lengths, validation photos find most "
        f"after {best}, {behind:.3f} more in {_RECALL}."
    )
