"""The experiments of notebook 05: sessions, rankers fitted to them, what pages convert."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from vsa.metrics import identical_recall_at_k
from vsa.ranking.blend import (
    WEIGHTS,
    Choice,
    appearance_ndcg,
    best_first,
    blend,
    choose_weight,
)
from vsa.ranking.features import USER_PORTRAIT, Filling, groups, page_features, quality_array
from vsa.ranking.models import GBDT, GBDT_LR, LR, RANKERS, GbdtLr, Ranker, make_ranker
from vsa.ranking.serve import QualityRanker
from vsa.runtime.errors import InputError
from vsa.runtime.seeds import generator
from vsa.study.catalogue.prepare import Shop
from vsa.study.index.prepare import index_task
from vsa.study.ledger.bootstrap import mean_interval
from vsa.study.ranking.prepare import RankTask, rank_task
from vsa.study.run import Run
from vsa.study.settings import RankingSettings
from vsa.study.simulate.shoppers import (
    IDENTICAL,
    PORTRAITS,
    SHARES,
    appeal,
    conversion_rate,
    purchase_probability,
    simulate_sessions,
    unobserved,
)

ORACLE, RANDOM = "oracle: true probabilities", "random order"
SHUFFLED, SHUFFLED_SAME = "shuffled signals", "shuffled signals, weight of the true ones"
UNKNOWN = "portrait unknown"
_OWN_NAMES = {ORACLE, RANDOM, SHUFFLED}  # of no registered ranker
_CHUNK_PAGES = 8  # what stays in a processor's cache


@dataclass(frozen=True)
class PageWorth:
    """What pages in a new order are worth, float64 (n_seeds, n, S) each, by user portrait."""

    conversion: np.ndarray
    ndcg: np.ndarray  # of appearance
    recall: dict[int, np.ndarray]  # Identical Recall@k

    def over_shoppers(self, values: np.ndarray) -> np.ndarray:
        """Mean over user portraits by their shares, (n_seeds, n)."""
        return values @ SHARES


@dataclass(frozen=True)
class Fitted:
    """Rankers fitted to one log of sessions."""

    rankers: dict[str, Ranker]
    filling: Filling
    log: int
    is_shuffled: bool  # the signals of a page's results were shuffled among them


@dataclass(frozen=True)
class RankingLab:
    """Where rankers are fitted, blended and compared on one task."""

    task: RankTask
    settings: RankingSettings
    seed: int
    n_resamples: int

    # Shoppers ------------------------------------------------------------------------------

    @cached_property
    def log_odds(self) -> np.ndarray:
        """What each listing adds to the log-odds of a purchase, float64 (S, n)."""
        task = self.task
        seen = appeal(task.quality, task.categories)
        return seen + unobserved(len(task.quality), self.seed)

    def probabilities(self, side: str) -> np.ndarray:
        """True purchase probabilities of all results of a side's pages, float64 (n, S, k)."""
        pages = self.task.pages(side)
        log_odds = self.log_odds[:, pages.rows].transpose(1, 0, 2)
        return purchase_probability(pages.relevance, log_odds)

    def sessions(self, side: str, log: int) -> tuple[np.ndarray, np.ndarray]:
        """One log of sessions on pages ordered by appearance: seen and bought, (n, S, k) each."""
        rng = generator(self.seed, "sessions", side, log)
        return simulate_sessions(self.probabilities(side), self.settings.n_sessions, rng)

    # Rankers -------------------------------------------------------------------------------

    @cached_property
    def fits(self) -> list[Fitted]:
        """All registered rankers, once per log."""
        if taken := _OWN_NAMES & set(RANKERS):
            raise InputError(
                f"a ranker is called {taken.pop()!r}, which this study calls something else",
                cure="Register it by another name",
            )
        return [self._fit(log, list(RANKERS)) for log in range(self.settings.n_seeds)]

    @cached_property
    def shuffled_fits(self) -> list[Fitted]:
        """GBDT + LR, shown signals that are shuffled among the results of each page.

        Shoppers see the true ones. The shuffling is another one on every page: a listing that kept
        another's signals for good could be known by them.
        """
        logs = range(self.settings.n_seeds)
        return [self._fit(log, [GBDT_LR], is_shuffled=True) for log in logs]

    @cached_property
    def choices(self) -> dict[str, list[Choice]]:
        """Name → per log, the weight of the ranker's score; `SHUFFLED` is that of GBDT + LR."""
        names = [*self.fits[0].rankers, ORACLE]
        found = {name: [self._choose(fit, name) for fit in self.fits] for name in names}
        return found | {SHUFFLED: [self._choose(fit, GBDT_LR) for fit in self.shuffled_fits]}

    def scores(self, fit: Fitted, name: str, side: str) -> np.ndarray:
        """Scores of all results of a side's pages, (n, S, k)."""
        if name == ORACLE:
            return self.probabilities(side)
        if name == RANDOM:
            return generator(self.seed, "random order").random(self.probabilities(side).shape)
        return predict(_checked(name, fit.rankers[name]), self.features(fit, side))

    def features(self, fit: Fitted, side: str) -> np.ndarray:
        """What rankers see, float32 (n, S, k, F)."""
        pages, rows = self.task.pages(side), self.task.pages(side).rows
        if fit.is_shuffled:
            rows = generator(self.seed, "shuffled", side, fit.log).permuted(rows, axis=1)
        return page_features(pages.similarity, self.signals[rows], fit.filling, PORTRAITS)

    @cached_property
    def signals(self) -> np.ndarray:
        """Quality signals of all listings, float64 (n, 4)."""
        return quality_array(self.task.quality)

    def published(self) -> QualityRanker:
        """The GBDT + LR of the first log, for the online engine."""
        fit = self.fits[0]
        whole = fit.rankers[GBDT_LR]
        assert isinstance(whole, GbdtLr)
        weight = self.choices[GBDT_LR][0].weight
        return QualityRanker(whole.leaves, fit.filling, weight, PORTRAITS)

    # Results -------------------------------------------------------------------------------

    @cached_property
    def test_scores(self) -> dict[str, list[np.ndarray]]:
        """Name → scores of all test results (n, S, k), per log; `SHUFFLED` is a GBDT + LR."""
        names = [*self.fits[0].rankers, ORACLE, RANDOM]
        found = {name: [self.scores(fit, name, "test") for fit in self.fits] for name in names}
        return found | {SHUFFLED: [self.scores(fit, GBDT_LR, "test") for fit in self.shuffled_fits]}

    @cached_property
    def own_order(self) -> dict[str, PageWorth]:
        """Test pages ordered by each ranker's score alone."""
        return {
            name: self._outcome([best_first(score) for score in scores])
            for name, scores in self.test_scores.items()
            if name != SHUFFLED
        }

    @cached_property
    def blended(self) -> dict[str, PageWorth]:
        """Test pages ordered by each score blended into appearance, as validation chose."""
        return {
            name: self._blended(self.test_scores[name], self.weights(name))
            for name in self.choices
            if name != SHUFFLED
        }

    @cached_property
    def controls(self) -> dict[str, PageWorth]:
        """GBDT + LR of shuffled signals, with its own weight and with that of the true ones."""
        return {
            control: self._blended(self.test_scores[SHUFFLED], self.weights(name))
            for control, name in ((SHUFFLED, SHUFFLED), (SHUFFLED_SAME, GBDT_LR))
        }

    def weights(self, name: str) -> list[float]:
        """The chosen weights of a score, per log."""
        return [choice.weight for choice in self.choices[name]]

    def portrait_unknown(self) -> PageWorth:
        """GBDT + LR that averages its score over all portraits."""
        scores = []
        for known in self.test_scores[GBDT_LR]:
            mean = np.einsum("s,nsk->nk", SHARES, known)
            scores.append(np.repeat(mean[:, None], len(SHARES), axis=1))
        return self._blended(scores, self.weights(GBDT_LR))

    def trade_offs(self) -> dict[str, pd.DataFrame]:
        """Name → conversion and NDCG of appearance on test pages at every weight, first log."""
        found = {}
        for name in (GBDT_LR, ORACLE):
            scores = self.test_scores[name][:1]
            outs = [self._blended(scores, [float(weight)]) for weight in WEIGHTS]
            found[name] = pd.DataFrame(
                {
                    "conversion": [float((out.conversion @ SHARES).mean()) for out in outs],
                    "ndcg": [float((out.ndcg @ SHARES).mean()) for out in outs],
                },
                index=WEIGHTS,
            )
        return found

    def importance(self) -> dict[str, np.ndarray]:
        """What conversion GBDT + LR's own order loses, float64 (n_seeds, n), by what is shuffled.

        Values are shuffled among the results of a page; portraits are handed on to the next.
        """
        whole = self.own_order[GBDT_LR].conversion
        lost: dict[str, list[np.ndarray]] = {name: [] for name in groups(PORTRAITS)}
        for number, fit in enumerate(self.fits):
            x = self.features(fit, "test")
            for name, columns in groups(PORTRAITS).items():
                spoilt = _spoilt(x, name, columns, generator(self.seed, "importance", name, number))
                order = best_first(predict(fit.rankers[GBDT_LR].score, spoilt))
                lost[name].append(whole[number] - self._outcome([order]).conversion[0])
        return {name: np.stack(values) @ SHARES for name, values in lost.items()}

    def calibration(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Name → predicted and true purchase probabilities of all test results, by log."""
        truth = np.stack([self.probabilities("test")] * len(self.fits))
        return {name: (np.stack(self.test_scores[name]), truth) for name in (LR, GBDT, GBDT_LR)}

    # Steps ---------------------------------------------------------------------------------

    def _fit(self, log: int, names: Sequence[str], *, is_shuffled: bool = False) -> Fitted:
        rankers = {name: make_ranker(name, self.settings, log) for name in names}
        fit = Fitted(rankers, Filling.of(self.signals), log, is_shuffled)
        learned, other = (self._seen(fit, side) for side in ("fit", "choose"))
        for ranker in rankers.values():
            ranker.fit(*learned)
            ranker.tune(*other)
        return fit

    def _seen(self, fit: Fitted, side: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Features, looks and purchases of all that was looked at in one log."""
        seen, bought = self.sessions(side, fit.log)
        there = seen > 0
        return self.features(fit, side)[there], seen[there], bought[there]

    def _choose(self, fit: Fitted, name: str) -> Choice:
        pages, p = self.task.choose, self.probabilities("choose")

        def conversion(order: np.ndarray) -> np.ndarray:
            return conversion_rate(np.take_along_axis(p, order, -1))

        def lower_bound(values: np.ndarray) -> float:
            return mean_interval(values, self.n_resamples, self.seed, groups=pages.products).low

        scores = self.scores(fit, name, "choose")
        return choose_weight(pages.similarity, scores, conversion, SHARES, lower_bound)

    def _blended(self, scores: list[np.ndarray], weights: list[float]) -> PageWorth:
        appearance = self.task.test.similarity[:, None]
        return self._outcome(
            [
                best_first(blend(appearance, score, weight))
                for score, weight in zip(scores, weights, strict=True)
            ]
        )

    def _outcome(self, orders: list[np.ndarray]) -> PageWorth:
        """`orders` (n, S, k) are those of the test pages, one per log."""
        order, pages = np.stack(orders), self.task.test
        p = self.probabilities("test")[None]
        n_seeds, n, n_segments, k = order.shape
        identical = np.broadcast_to((pages.relevance == IDENTICAL)[None, :, None], order.shape)
        found = np.take_along_axis(identical, order, -1).reshape(-1, k)
        wanted = np.ones(len(found), bool)
        return PageWorth(
            conversion_rate(np.take_along_axis(np.broadcast_to(p, order.shape), order, -1)),
            appearance_ndcg(order),
            {
                at: identical_recall_at_k(found, wanted, at).reshape(n_seeds, n, n_segments)
                for at in (1, 5)
                if at <= k
            },
        )


def _checked(name: str, ranker: Ranker) -> Callable[[np.ndarray], np.ndarray]:
    """Scores of a ranker; InputError for what are none: it may be anybody's."""

    def score(x: np.ndarray) -> np.ndarray:
        found = np.asarray(ranker.score(x))
        if found.shape != (len(x),) or not ((found >= 0) & (found <= 1)).all():
            raise InputError(
                f"the ranker {name!r} gives scores that are not {len(x)} numbers from 0 to 1",
                cure="Let `score` return an array with one for each row, none of them NaN",
            )
        return found

    return score


def predict(score: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    """Scores (n, S, k) of features (n, S, k, F), some pages at a time."""
    parts = [
        score(x[start : start + _CHUNK_PAGES].reshape(-1, x.shape[-1]))
        for start in range(0, len(x), _CHUNK_PAGES)
    ]
    return np.concatenate(parts).reshape(x.shape[:-1])


def _spoilt(x: np.ndarray, name: str, columns: list[int], rng: np.random.Generator) -> np.ndarray:
    """Features (n, S, k, F) with one group shuffled among the results of each page."""
    spoilt = x.copy()
    if name == USER_PORTRAIT:
        spoilt[..., columns] = np.roll(x[..., columns], 1, axis=1)
        return spoilt
    other = rng.permuted(np.tile(np.arange(x.shape[2]), (len(x), 1)), axis=1)
    moved = np.take_along_axis(x, other[:, None, :, None], axis=2)
    spoilt[..., columns] = moved[..., columns]
    return spoilt


def open_lab(run: Run, shop: Shop) -> RankingLab:
    """Where notebook 05 experiments.

    Raises NotApplicable where products are not known, or validation photos show fewer than two.
    """
    task = rank_task(shop, index_task(run, shop), run.seed)
    return RankingLab(task, run.settings.ranking, run.seed, run.settings.n_bootstrap)
