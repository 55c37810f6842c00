"""What methods have found, as ledger records, and in sentences that the intervals bear out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vsa.metrics import identical_recall_at_k
from vsa.study.ledger.bootstrap import Interval, mean_interval, paired_difference
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.sentences import bullets
from vsa.study.lineage.experiment import Row
from vsa.study.lineage.lab import LineageLab
from vsa.study.lineage.methods import EFFORTS, METHODS

SEARCH, BOXES = "methods", "boxes of methods"
ON_VALIDATION, NETWORKS = "methods on validation photos", "the same recipe on other networks"
DIFFERENCES, SIMPLEST = "methods: difference to off the shelf", "the simplest within 0.02"
PLAIN = "off the shelf, cosine"
KS = (1, 5, 20, 60)
GRANTED = 0.02  # of mAP, that the simplest may lose to the best on validation photos


@dataclass(frozen=True)
class Choice:
    """What validation photos say: the best, and the simplest that is hardly worse."""

    best: Row
    simplest: Row


class LineageResults:
    """Writes rows to the ledger and reads sentences off it."""

    def __init__(self, ledger: Ledger, lab: LineageLab, rows: Sequence[Row], n_resamples: int):
        self.ledger, self.lab, self.rows, self.n_resamples = ledger, lab, rows, n_resamples
        task, tested = lab.task, lab.task.rows("test")
        self.tested = tested
        products = task.queries.product_id.to_numpy()[tested]
        alone = [f"photo {row}" for row in tested]
        self.groups = products if task.knows_products else np.array(alone)

    @property
    def ranked(self) -> list[Row]:
        """Rows that search, in the table's order."""
        return [row for row in self.rows if row.test is not None]

    @property
    def located(self) -> list[Row]:
        """Rows that locate, where true boxes are known."""
        return [row for row in self.rows if row.boxes is not None]

    def record(self) -> None:
        """All numbers of all rows."""
        for row in self.ranked:
            self._record_search(row)
        for row in self.located:
            self._record_boxes(row)
        plain = next((row for row in self.ranked if row.name == PLAIN), None)
        for row in self.ranked:
            if plain is not None and row is not plain:
                effect = self._difference(row, plain)
                self.ledger.record(
                    DIFFERENCES, row.name, "mAP difference", effect, seeds=len(row.seeds)
                )

    def _record_search(self, row: Row) -> None:
        record, n_seeds = self.ledger.record, len(row.seeds)
        for k in KS:
            interval = self._mean(self.recall(row, k))
            record(SEARCH, row.name, f"Identical Recall@{k}", interval, seeds=n_seeds)
        record(SEARCH, row.name, "mAP", self._mean(self.precision(row)), seeds=n_seeds)
        if row.n_bytes is not None:
            record(SEARCH, row.name, "bytes per picture", row.n_bytes)
        record(SEARCH, row.name, "latency", row.ms)
        record(SEARCH, row.name, "time over off the shelf", row.times_plain)
        record(ON_VALIDATION, row.name, "mAP", self.on_validation(row))
        if row.weights_mb is not None:
            interval = self._mean(self.precision(row))
            record(NETWORKS, row.name, "mAP", interval, seeds=n_seeds)
            record(NETWORKS, row.name, "latency", row.ms)
            record(NETWORKS, row.name, "megabytes of weights", row.weights_mb)

    def _record_boxes(self, row: Row) -> None:
        assert row.boxes is not None
        photos = self.tested[row.located]
        iou = np.stack([self.lab.task.iou(boxes, photos) for boxes in row.boxes])
        groups = self.groups[row.located]
        for metric, values in (("mean IoU", iou), ("IoU@0.5", (iou > 0.5).astype(float))):
            interval = self._mean(values, groups)
            self.ledger.record(BOXES, row.name, metric, interval, seeds=len(row.seeds))
        self.ledger.record(BOXES, row.name, "latency", row.ms)

    # Values --------------------------------------------------------------------------------

    def recall(self, row: Row, k: int) -> np.ndarray:
        """Identical Recall@k per seed and test photo, (seeds, n)."""
        assert row.test is not None
        same = np.ones(row.test.shape[1], bool)
        return np.stack(
            [identical_recall_at_k(self.lab.task.hits(one, "test"), same, k) for one in row.test]
        )

    def precision(self, row: Row) -> np.ndarray:
        """Average precision per seed and test photo, (seeds, n)."""
        assert row.test is not None
        return np.stack([self.lab.task.precision(one, "test") for one in row.test])

    def on_validation(self, row: Row) -> float:
        """MAP on validation photos, of the first seed."""
        assert row.val is not None
        return float(self.lab.task.precision(row.val, "val").mean())

    def _mean(self, values: np.ndarray, groups: np.ndarray | None = None) -> Interval:
        groups = self.groups if groups is None else groups
        return mean_interval(values, self.n_resamples, self.lab.seed, groups=groups)

    def _difference(self, first: Row, second: Row) -> Interval:
        """Of mAP on test photos; what learned nothing is the same with every seed."""
        a, b = self.precision(first), self.precision(second)
        n_seeds = max(len(a), len(b))
        a, b = (np.broadcast_to(one, (n_seeds, one.shape[1])) for one in (a, b))
        return paired_difference(a, b, self.n_resamples, self.lab.seed, groups=self.groups)

    # Choice and words ----------------------------------------------------------------------

    def choose(self) -> Choice | None:
        """The best on validation photos, and the simplest within 0.02 of it; None without rows.

        Simplest is what takes the least effort (`methods.EFFORTS`), then what keeps the fewest
        bytes of a picture, then what finds more. Test photos are not looked at.
        """
        if not self.ranked:
            return None
        scores = {row.name: self.on_validation(row) for row in self.ranked}
        best = max(self.ranked, key=lambda row: scores[row.name])
        near = [row for row in self.ranked if scores[row.name] >= scores[best.name] - GRANTED]
        return Choice(best, min(near, key=lambda row: (*_effort(row), -scores[row.name])))

    def record_choice(self) -> str:
        """Record the choice, judge it on test photos, and say so; Markdown."""
        choice = self.choose()
        if choice is None:
            return "No method could be judged by products here, so that none is chosen."
        best, simplest = choice.best, choice.simplest
        for row in dict.fromkeys((best.name, simplest.name)):
            one = next(r for r in self.ranked if r.name == row)
            score = self._mean(self.precision(one))
            self.ledger.record(SIMPLEST, row, "mAP", score, seeds=len(one.seeds))
        told = f"On validation photos **{best.name}** is best"
        told += f" (mAP {self.on_validation(best):.3f})"
        kind = EFFORTS[METHODS[simplest.name].effort]
        if best is simplest:
            return f"{told}, and nothing simpler comes within {GRANTED} of it ({kind})."
        told += f"; the simplest within {GRANTED} of it is **{simplest.name}** ({kind})."
        effect = self._difference(simplest, best)
        name = f"{simplest.name} − {best.name}"
        n_seeds = max(len(best.seeds), len(simplest.seeds))
        self.ledger.record(SIMPLEST, name, "mAP difference", effect, seeds=n_seeds)
        words = self.ledger.compare(SIMPLEST, name, "mAP difference", simplest.name, best.name)
        held = "held" if effect.low > -GRANTED else "did not surely hold"
        return f"{told} On test photos: {words} So the rule {held} within {GRANTED} of mAP."

    def reading(self) -> str:
        """Which methods are surely ahead of, and behind, the frozen network as it is; Markdown."""
        known = self.ledger.intervals(DIFFERENCES, "mAP difference")
        ahead = sorted((n for n, i in known.items() if i.low > 0), key=lambda n: -known[n].value)
        behind = sorted((n for n, i in known.items() if i.high < 0), key=lambda n: known[n].value)
        unsure = [name for name in known if name not in ahead and name not in behind]
        lines = []
        for names, words in (
            (ahead, f"surely ahead of *{PLAIN}*"),
            (behind, f"surely behind *{PLAIN}*"),
        ):
            told = [f"{name} ({_signed(100 * known[name].value)})" for name in names]
            text = "; ".join(told) or "none"
            lines.append(f"{len(names)} {words}, in points of mAP: {text}.")
        lines.append(f"{len(unsure)} without a sure difference: {'; '.join(unsure) or 'none'}.")
        return bullets(lines)


def _signed(points: float) -> str:
    return f"{points:+.1f}".replace("-", "−")


def _effort(row: Row) -> tuple[int, float]:
    n_bytes = row.n_bytes if row.n_bytes is not None else np.inf
    return METHODS[row.name].effort, n_bytes


def reading_of_left_out(left_out: dict[str, str]) -> str:
    """Which rows are missing, and what would bring them; Markdown."""
    if not left_out:
        return "No row is left out, but [6], which is a volume of proceedings and no method."
    lines = [f"**{name}** ({METHODS[name].reference}): {why}" for name, why in left_out.items()]
    return bullets([*lines, "**[6]** is a volume of proceedings and no method."])


def describe_methods() -> str:
    """Every row in words, by reference; Markdown."""
    lines = [f"**{name}** {METHODS[name].reference}. {METHODS[name].about}" for name in METHODS]
    return bullets(lines)
