"""What five folds find, as records: each product judged once, all folds pooled."""

from __future__ import annotations

import numpy as np

from vsa.embedding.candidates import (
    ADAPTED,
    ADAPTED_BOTH,
    ADAPTED_OBJECT,
    PLAIN,
    PLAIN_BOTH,
    PLAIN_OBJECT,
)
from vsa.metrics import average_precision, identical_recall_at_k
from vsa.runtime.errors import InputError, NotApplicable
from vsa.study.embedding.experiment import EmbeddingLab
from vsa.study.embedding.folds import N_FOLDS, FoldStudy
from vsa.study.embedding.variants import TRUE_CROPS
from vsa.study.ledger.bootstrap import mean_interval, paired_difference, paired_ratio
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.sentences import bullets

FOLDS, DIFFERENCES = "five folds", "five folds: differences"
RECALL = "Identical Recall@1"
_PAIRS = (
    (PLAIN_OBJECT, PLAIN),
    (ADAPTED, PLAIN),
    (ADAPTED_OBJECT, PLAIN),
    (ADAPTED_OBJECT, ADAPTED),
    (PLAIN_BOTH, PLAIN),
    (ADAPTED_BOTH, PLAIN),
    (ADAPTED_BOTH, ADAPTED_OBJECT),
    (TRUE_CROPS[1], ADAPTED_OBJECT),
)
_POWER = 2.8 / 3.92  # of an interval's width: what is seen in four of five studies like this one


def record_folds(ledger: Ledger, lab: EmbeddingLab, n_resamples: int) -> str:
    """Record recall and differences over all folds; sentences of what was found, in Markdown."""
    study = FoldStudy(lab)
    if not study.is_possible or lab.files is None or not lab.settings.pretrained:
        return (
            "- Not asked: folds are for photographs whose products part training from test photos."
        )
    try:
        hits = study.hits()
    except (InputError, NotApplicable) as reason:  # weights that cannot be had, too few clicks
        return f"- Not measured: {reason}"
    products, offered = lab.task.products
    groups = products[study.rows]
    n_identical = (offered[None] == groups[:, None]).sum(axis=1)
    same = np.ones(len(groups), bool)
    values: dict[str, dict[str, np.ndarray]] = {
        name: {
            RECALL: identical_recall_at_k(found, same, 1),
            "mAP": average_precision(found, same, n_identical),
        }
        for name, found in hits.items()
    }
    seed = lab.seed
    for name, measured in values.items():
        for metric, of_photos in measured.items():
            interval = mean_interval(of_photos, n_resamples, seed, groups=groups)
            ledger.record(FOLDS, name, metric, interval, seeds=1)
    lines = []
    for first, second in (pair for pair in _PAIRS if set(pair) <= set(values)):
        text = f"{first} − {second}"
        for metric in (RECALL, "mAP"):
            a, b = values[first][metric], values[second][metric]
            effect = paired_difference(a, b, n_resamples, seed, groups=groups)
            ledger.record(DIFFERENCES, text, f"{metric} difference", effect, seeds=1)
            if second == PLAIN and b.any():
                ratio = paired_ratio(a, b, n_resamples, seed, groups=groups)
                ledger.record(DIFFERENCES, text, f"{metric} ratio", ratio, seeds=1)
        lines.append(ledger.compare(DIFFERENCES, text, "mAP difference", first, second))
    width = ledger.intervals(DIFFERENCES, "mAP difference")[f"{ADAPTED_OBJECT} − {PLAIN}"]
    least = _POWER * (width.high - width.low)
    lines.append(
        f"{len(groups):,} photos of {len(np.unique(groups)):,} products in {N_FOLDS} folds would "
        f"show a difference in mAP of {least:.3f} in four of five studies like this one."
    )
    return bullets(lines)
