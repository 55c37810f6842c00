"""From re-ordered pages to ledger records and claim C5."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from vsa.data.schema import QUALITY
from vsa.ranking.blend import TOLERANCE
from vsa.ranking.models import (
    APPEARANCE,
    GBDT_LR,
    LR,
    GbdtLr,
    LogisticRanker,
)
from vsa.ranking.serve import QualityRanker
from vsa.study.ledger.bootstrap import Interval, mean_interval, paired_difference, paired_ratio
from vsa.study.ledger.claims import judge_all
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.sentences import bullets
from vsa.study.ledger.timing import measure
from vsa.study.ranking.experiment import SHUFFLED, UNKNOWN, PageWorth, RankingLab
from vsa.study.simulate.shoppers import NAMES

N_BINS = 15
_WANTED_SEEDS = 3
_OWN, _KEPT, _GAIN = "own order", "appearance kept", "gain over appearance only"
_OVER_OTHERS = "GBDT + LR over others"
_IMPORTANCE = "importance for GBDT + LR"


@dataclass(frozen=True)
class RankingResults:
    """Writes the records of one run; intervals resample products and logs of sessions."""

    ledger: Ledger
    lab: RankingLab

    def title(self, name: str) -> str:
        """An experiment's name, which says so where the data set has no quality signals."""
        simulated = self.lab.task.signals_are_simulated
        return f"{name}, simulated quality signals" if simulated else name

    def own_order(self) -> None:
        """Pages ordered by each ranker's score alone."""
        for name, outcome in self.lab.own_order.items():
            self._outcome(_OWN, name, outcome)

    def blended(self) -> None:
        """Pages ordered by each score blended into appearance."""
        lab = self.lab
        outcomes = lab.blended | {f"{GBDT_LR}, {UNKNOWN}": lab.portrait_unknown()}
        for name, outcome in outcomes.items():
            self._outcome(_KEPT, name, outcome)
            if name in lab.choices:
                weight = float(np.mean(lab.weights(name)))
                title = self.title(_KEPT)
                self.ledger.record(title, name, "chosen blend weight", weight)

    def penalties(self) -> None:
        """How strongly the two regressions were shrunk, by the choice of validation sessions."""
        title, lab = self.title("penalty of the regressions"), self.lab
        for name in (LR, GBDT_LR):
            for number, fit in enumerate(lab.fits):
                ranker = fit.rankers[name]
                assert isinstance(ranker, LogisticRanker | GbdtLr)
                chosen, variant = ranker.inverse_penalty, f"{name}, log {number + 1}"
                self.ledger.record(title, variant, "chosen inverse penalty", chosen)

    def gains(self) -> None:
        """What each blended ranker, and each control, converts beyond appearance alone.

        Beside it what happens to the identical product at the top; and GBDT + LR against others.
        """
        lab, title = self.lab, self.title(_GAIN)
        before = lab.blended[APPEARANCE]
        outcomes = {name: o for name, o in lab.blended.items() if name != APPEARANCE}
        outcomes |= {f"{GBDT_LR}, {name}": o for name, o in lab.controls.items()}
        for name, outcome in outcomes.items():
            gain, ratio = self._difference(outcome, before), self._ratio(outcome, before)
            self._note(title, name, "conversion rate difference", gain)
            self._note(title, name, "conversion rate ratio", ratio)
            one, other = (o.over_shoppers(o.recall[1]) for o in (outcome, before))
            lost = self._paired(paired_difference, one, other)
            self._note(title, name, "Identical Recall@1 difference", lost)
        for name in (n for n in lab.fits[0].rankers if n not in (APPEARANCE, GBDT_LR)):
            gain = self._difference(lab.blended[GBDT_LR], lab.blended[name])
            title = self.title(_OVER_OTHERS)
            self._note(title, f"over {name}", "conversion rate difference", gain)

    def reading(self) -> str:
        """Whether the paper's ranker converts more than simpler ones, in sentences of Markdown."""
        title, metric = self.title(_OVER_OTHERS), "conversion rate difference"
        others = [variant.removeprefix("over ") for variant in self.ledger.intervals(title, metric)]
        return bullets(
            self.ledger.compare(title, f"over {name}", metric, GBDT_LR, name) for name in others
        )

    def segments(self) -> None:
        """The gain of GBDT + LR, for each user portrait."""
        title, before = self.title("gain by user portrait"), self.lab.blended[APPEARANCE]
        after = self.lab.blended[GBDT_LR]
        for number, name in enumerate(NAMES):
            one, other = after.conversion[..., number], before.conversion[..., number]
            gain = self._paired(paired_difference, one, other)
            self._note(title, name, "conversion rate difference", gain)
            self._note(title, name, "NDCG of appearance", self._mean(after.ndcg[..., number]))

    def importance(self) -> None:
        """What each of GBDT + LR's inputs is worth to its own order."""
        title = self.title(_IMPORTANCE)
        for name, lost in self.lab.importance().items():
            self._note(title, name, "conversion rate lost", self._mean(lost))

    def calibration(self, found: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
        """Predicted against true purchase probabilities."""
        title = self.title("calibration")
        for name, (predicted, truth) in found.items():
            error = calibration_error(predicted, truth)
            n = truth[0].size
            for metric, value in (
                ("purchase calibration error", error),
                ("predicted purchase probability", float(predicted.mean())),
                ("true purchase probability", float(truth.mean())),
            ):
                self.ledger.record(title, name, metric, value, n=n, seeds=len(predicted))

    def points(self, experiment: str) -> dict[str, tuple[Interval, Interval]]:
        """Name → NDCG of appearance and conversion rate, as recorded."""
        title = self.title(experiment)
        rates = self.ledger.intervals(title, "conversion rate")
        ndcg = self.ledger.intervals(title, "NDCG of appearance")
        return {name: (ndcg[name], rates[name]) for name in rates if UNKNOWN not in name}

    def gain_intervals(self) -> dict[str, Interval]:
        """Gains over appearance only, as recorded."""
        return self.ledger.intervals(self.title(_GAIN), "conversion rate difference")

    def importance_intervals(self) -> dict[str, Interval]:
        """What shuffling an input costs, as recorded."""
        return self.ledger.intervals(self.title(_IMPORTANCE), "conversion rate lost")

    def latency_title(self) -> str:
        """Name of the experiment that `latency` records."""
        return f"re-ranking a page of {self.lab.task.test.rows.shape[1]}"

    def latency(self, ranker: QualityRanker) -> None:
        """How long one page takes online, on one thread."""
        pages = self.lab.task.test
        similarity = pages.similarity[0]
        quality = self.lab.task.quality[QUALITY].iloc[pages.rows[0]].reset_index(drop=True)
        with threadpool_limits(1):
            for name, segment in (("portrait known", NAMES[0]), (UNKNOWN, None)):
                timing = measure(partial(ranker.order, similarity, quality, segment), 20, 100)
                title = self.latency_title()
                self.ledger.record(title, name, "re-ranking time", timing.median_ms)
                self.ledger.record(title, name, "re-ranking time, p95", timing.p95_ms)

    def claim(self) -> None:
        """C5: conversion rises, appearance is kept, and it is the signals that do it."""
        lab, kept, gains = self.lab, self.title(_KEPT), self.title(_GAIN)
        after, before = lab.blended[GBDT_LR], lab.blended[APPEARANCE]
        ndcg = self._mean(after.over_shoppers(after.ndcg))
        effects = {
            "conversion, GBDT + LR − appearance only": self._difference(after, before),
            "conversion, true − shuffled signals": self._difference(after, lab.controls[SHUFFLED]),
            f"NDCG of appearance − {1 - TOLERANCE:g}": ndcg.shifted(TOLERANCE - 1),
        }
        evidence = [
            f"{self.ledger.section}/{experiment}/{variant}/{metric}"
            for experiment, variant, metric in (
                (gains, GBDT_LR, "conversion rate difference"),
                (gains, f"{GBDT_LR}, {SHUFFLED}", "conversion rate difference"),
                (kept, GBDT_LR, "NDCG of appearance"),
            )
        ]
        few = lab.settings.n_seeds < _WANTED_SEEDS
        lacks = [f"{_WANTED_SEEDS} logs of sessions"] * few
        unit = "share of simulated sessions; NDCG"
        self.ledger.claim(judge_all("C5", effects, unit, evidence, lacks=lacks))

    def _outcome(self, experiment: str, name: str, outcome: PageWorth) -> None:
        title = self.title(experiment)
        measured = {"conversion rate": outcome.conversion, "NDCG of appearance": outcome.ndcg}
        measured |= {f"Identical Recall@{k}": hits for k, hits in outcome.recall.items()}
        for metric, values in measured.items():
            self._note(title, name, metric, self._mean(outcome.over_shoppers(values)))

    def _note(self, title: str, variant: str, metric: str, ci: Interval) -> None:
        self.ledger.record(title, variant, metric, ci, seeds=self.lab.settings.n_seeds)

    def _mean(self, values: np.ndarray) -> Interval:
        lab = self.lab
        return mean_interval(values, lab.n_resamples, lab.seed, groups=lab.task.test.products)

    def _difference(self, first: PageWorth, second: PageWorth) -> Interval:
        one, other = (o.over_shoppers(o.conversion) for o in (first, second))
        return self._paired(paired_difference, one, other)

    def _ratio(self, first: PageWorth, second: PageWorth) -> Interval:
        one, other = (o.over_shoppers(o.conversion) for o in (first, second))
        return self._paired(paired_ratio, one, other)

    def _paired(
        self, compare: Callable[..., Interval], one: np.ndarray, other: np.ndarray
    ) -> Interval:
        lab = self.lab
        return compare(one, other, lab.n_resamples, lab.seed, groups=lab.task.test.products)


def calibration_bins(predicted: np.ndarray, truth: np.ndarray) -> pd.DataFrame:
    """Means of both probabilities in `N_BINS` bins of equally many predictions, and ``count``."""
    order = np.argsort(predicted, axis=None, kind="stable")
    bins = [part for part in np.array_split(order, N_BINS) if len(part)]
    return pd.DataFrame(
        {
            "predicted": [predicted.ravel()[part].mean() for part in bins],
            "true": [truth.ravel()[part].mean() for part in bins],
            "count": [len(part) for part in bins],
        }
    )


def calibration_error(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Mean |predicted − true| over the bins of `calibration_bins`, weighted by count."""
    table = calibration_bins(predicted, truth)
    return float(np.average((table.predicted - table.true).abs(), weights=table["count"]))
