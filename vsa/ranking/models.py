"""Rankers with one interface: fitted on what was seen and bought, asked for a score in [0, 1].

The paper (section 3.3) names GBDT + LR: each boosted tree turns a result into the leaf it ends in,
and a logistic regression over all leaves, one-hot, gives the score (He et al., 2014, for ads at
Facebook). Around it stand its two halves alone, and rules that learn nothing or little. What learns
has one setting against overfitting, the penalty or the number of trees, which other pages choose.

All stand in `RANKERS`, which is `vsa.rankers`, by name. One of your own: docs/extending.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from vsa.ranking.features import APPLAUSE, CONVERSION, RELATIVE, SALES
from vsa.ranking.forest import Forest, grow_forest
from vsa.ranking.settings import RankerSettings
from vsa.runtime.errors import InputError
from vsa.runtime.extras import missing_explained
from vsa.runtime.registry import Registry

VERSION = 1
APPEARANCE, BEST_SELLERS, EBAY = "appearance only", "sales only", "eBay's blend, 0.75 appearance"
LR, GBDT, GBDT_LR = "LR only", "GBDT only", "GBDT + LR"
_EBAY_WEIGHT = 0.75
INVERSE_PENALTIES = (1e-4, 3e-4, 1e-3, 1e-2)  # scikit-learn's C, the strongest first
_TREE_SHARES = (0.25, 0.5, 1.0)


class Ranker(Protocol):
    """What all rankers do. `x` is float32 (n, F), see `vsa.ranking.features`."""

    def fit(self, x: np.ndarray, seen: np.ndarray, bought: np.ndarray) -> None:
        """Learn from how often each row was looked at and bought, int64 (n,) each.

        Rankers that learn raise ValueError if nothing was bought, or everything.
        """

    def tune(self, x: np.ndarray, seen: np.ndarray, bought: np.ndarray) -> None:
        """Set the setting to what makes the purchases of other pages most likely."""

    def score(self, x: np.ndarray) -> np.ndarray:
        """The higher, the further up: float32 (n,) in [0, 1]."""


class Rule:
    """A ranker that learns nothing."""

    def fit(self, x: np.ndarray, seen: np.ndarray, bought: np.ndarray) -> None:
        """Nothing to learn."""

    def tune(self, x: np.ndarray, seen: np.ndarray, bought: np.ndarray) -> None:
        """No setting."""


class ByAppearance(Rule):
    """The order that re-ranking starts from."""

    def score(self, x: np.ndarray) -> np.ndarray:
        return x[:, RELATIVE].astype(np.float32)


class BySales(Rule):
    """What sells most comes first."""

    def score(self, x: np.ndarray) -> np.ndarray:
        return (x[:, SALES] / (1 + x[:, SALES])).astype(np.float32)


@dataclass
class LinearBlend(Rule):
    """eBay's fixed blend: 0.75 of appearance and 0.25 of the mean quality (Yang et al., 2017).

    Quality is the mean of sales, conversion and applause, each standardised and squashed.
    """

    mean: np.ndarray = field(default_factory=lambda: np.zeros(3))
    scale: np.ndarray = field(default_factory=lambda: np.ones(3))

    def fit(self, x: np.ndarray, seen: np.ndarray, bought: np.ndarray) -> None:
        signals = x[:, [SALES, CONVERSION, APPLAUSE]].astype(np.float64)
        self.mean, self.scale = signals.mean(axis=0), np.maximum(signals.std(axis=0), 1e-6)

    def score(self, x: np.ndarray) -> np.ndarray:
        signals = (x[:, [SALES, CONVERSION, APPLAUSE]] - self.mean) / self.scale
        quality = _sigmoid(signals).mean(axis=1)
        blended = _EBAY_WEIGHT * x[:, RELATIVE] + (1 - _EBAY_WEIGHT) * quality
        return blended.astype(np.float32)


@dataclass
class LogisticRanker:
    """A logistic regression over the standardised features: LR without trees."""

    candidates: dict[float, tuple[np.ndarray, float]] = field(default_factory=dict)
    inverse_penalty: float = INVERSE_PENALTIES[0]

    def fit(self, x: np.ndarray, seen: np.ndarray, bought: np.ndarray) -> None:
        with missing_explained():
            from sklearn.linear_model import LogisticRegression

        rows, label, observed = observations(seen, bought)
        wide = x.astype(np.float64)
        mean, scale = wide.mean(axis=0), np.maximum(wide.std(axis=0), 1e-6)
        model = LogisticRegression(max_iter=500, warm_start=True)
        for c in INVERSE_PENALTIES:
            model.set_params(C=c).fit(((wide - mean) / scale)[rows], label, sample_weight=observed)
            weight = model.coef_[0] / scale  # (F,)
            self.candidates[c] = weight, float(model.intercept_[0] - mean @ weight)

    def tune(self, x: np.ndarray, seen: np.ndarray, bought: np.ndarray) -> None:
        losses = {c: log_loss(self._score(x, c), seen, bought) for c in self.candidates}
        self.inverse_penalty = min(losses, key=losses.__getitem__)

    def score(self, x: np.ndarray) -> np.ndarray:
        return self._score(x, self.inverse_penalty)

    def _score(self, x: np.ndarray, c: float) -> np.ndarray:
        weight, bias = self.candidates[c]
        return _sigmoid(x @ weight + bias).astype(np.float32)


@dataclass(frozen=True)
class LeafTable:
    """Log-odds as a sum over trees of a number per leaf: GBDT, and LR over its leaves, alike."""

    forest: Forest
    table: np.ndarray  # float64 (T, N)
    bias: float

    def score(self, x: np.ndarray) -> np.ndarray:
        """Purchase probability, float32 (n,)."""
        n_trees, n_nodes = self.table.shape
        at = self.forest.leaves(x) + np.arange(n_trees, dtype=np.int32) * n_nodes
        return _sigmoid(self.table.take(at).sum(axis=1) + self.bias).astype(np.float32)

    def first(self, n_trees: int) -> LeafTable:
        """The same with the first trees only."""
        return LeafTable(self.forest.first(n_trees), self.table[:n_trees], self.bias)


@dataclass
class GbdtLr:
    """Boosted trees, their leaves one-hot, and a logistic regression over them.

    Trees and regression see the same rows: rows of its own for either would halve what both learn
    from. So the regression is tempted to believe what the trees have learned by heart, and how
    strongly it is shrunk matters much.
    """

    settings: RankerSettings
    seed: int
    candidates: dict[float, LeafTable] = field(default_factory=dict)
    inverse_penalty: float = INVERSE_PENALTIES[0]

    def fit(self, x: np.ndarray, seen: np.ndarray, bought: np.ndarray) -> None:
        with missing_explained():
            from sklearn.linear_model import LogisticRegression
            from sklearn.preprocessing import OneHotEncoder

        rows, label, weight = observations(seen, bought)
        forest, value, _ = grow_forest(x[rows], label, weight, self.settings, self.seed)
        encoder = OneHotEncoder()
        encoded = encoder.fit_transform(forest.leaves(x))[rows]
        n_leaves = [len(names) for names in encoder.categories_]
        tree, leaf = np.repeat(np.arange(len(n_leaves)), n_leaves), np.hstack(encoder.categories_)
        model = LogisticRegression(max_iter=500, warm_start=True)
        for c in INVERSE_PENALTIES:
            model.set_params(C=c).fit(encoded, label, sample_weight=weight)
            table = np.zeros(value.shape)
            table[tree, leaf] = model.coef_[0]
            self.candidates[c] = LeafTable(forest, table, float(model.intercept_[0]))

    def tune(self, x: np.ndarray, seen: np.ndarray, bought: np.ndarray) -> None:
        losses = {c: log_loss(t.score(x), seen, bought) for c, t in self.candidates.items()}
        self.inverse_penalty = min(losses, key=losses.__getitem__)

    def score(self, x: np.ndarray) -> np.ndarray:
        return self.leaves.score(x)

    @property
    def leaves(self) -> LeafTable:
        """The regression; raises ValueError before `fit`."""
        if not self.candidates:
            raise ValueError("fit the ranker first")
        return self.candidates[self.inverse_penalty]


@dataclass
class Gbdt:
    """Boosted trees, those of `GbdtLr` at the same seed, with the values boosting gave leaves."""

    settings: RankerSettings
    seed: int
    trees: LeafTable | None = None
    n_trees: int = 0  # that count; all of them until `tune`

    def fit(self, x: np.ndarray, seen: np.ndarray, bought: np.ndarray) -> None:
        rows, label, weight = observations(seen, bought)
        self.trees = LeafTable(*grow_forest(x[rows], label, weight, self.settings, self.seed))
        self.n_trees = self.settings.n_trees

    def tune(self, x: np.ndarray, seen: np.ndarray, bought: np.ndarray) -> None:
        sizes = [round(share * self.settings.n_trees) for share in _TREE_SHARES]
        losses = {n: log_loss(self._first(n).score(x), seen, bought) for n in sizes}
        self.n_trees = min(losses, key=losses.__getitem__)

    def score(self, x: np.ndarray) -> np.ndarray:
        return self._first(self.n_trees).score(x)

    def _first(self, n_trees: int) -> LeafTable:
        if self.trees is None:
            raise ValueError("fit the ranker first")
        return self.trees.first(n_trees)


RankerFactory = Callable[[RankerSettings, int], Ranker]  # the int is a seed


def _check_factory(name: str, factory: RankerFactory) -> None:
    if not callable(factory):
        raise InputError(
            f"the ranker {name!r} is a {type(factory).__name__}",
            cure="Register a function of settings and a seed that makes it",
        )


RANKERS: Registry[RankerFactory] = Registry("ranker", "rankers", _check_factory)
RANKERS.register(APPEARANCE, lambda settings, seed: ByAppearance())
RANKERS.register(BEST_SELLERS, lambda settings, seed: BySales())
RANKERS.register(EBAY, lambda settings, seed: LinearBlend())
RANKERS.register(LR, lambda settings, seed: LogisticRanker())
RANKERS.register(GBDT_LR, GbdtLr)
RANKERS.register(GBDT, Gbdt)


def make_ranker(name: str, settings: RankerSettings, seed: int) -> Ranker:
    """A registered ranker, not fitted; raises InputError for one that is none."""
    made = RANKERS[name](settings, seed)
    absent = [m for m in ("fit", "tune", "score") if not callable(getattr(made, m, None))]
    if absent:
        raise InputError(
            f"the ranker {name!r} has no {' and no '.join(absent)}",
            cure="See vsa.ranking.models.Ranker; a rule that learns nothing may inherit from Rule",
        )
    return made


def observations(seen: np.ndarray, bought: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts (n,) as weighted observations: row, bool label, weight.

    Raises ValueError if nothing was bought, or everything that was seen.
    """
    if not 0 < bought.sum() < seen.sum():
        raise ValueError(
            "a ranker learns from some results that were bought and some that were not"
        )
    yes, no = np.flatnonzero(bought), np.flatnonzero(seen > bought)
    label = np.repeat([True, False], [len(yes), len(no)])
    weight = np.concatenate([bought[yes], (seen - bought)[no]]).astype(np.float64)
    return np.concatenate([yes, no]), label, weight


def log_loss(score: np.ndarray, seen: np.ndarray, bought: np.ndarray) -> float:
    """Mean −log of the probability that scores (n,) gave to what shoppers did, in nats per look."""
    p = np.clip(score.astype(np.float64), 1e-6, 1 - 1e-6)
    return float(-(bought * np.log(p) + (seen - bought) * np.log(1 - p)).sum() / seen.sum())


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))
