"""From how much noise on the filter pays, and what unseen catalogue pictures cost, as records."""

from __future__ import annotations

import numpy as np

from vsa.embedding.mining import Triplets, mining_statistics
from vsa.metrics import average_precision, identical_recall_at_k
from vsa.runtime.errors import InputError, NotApplicable
from vsa.study.embedding.experiment import EmbeddingLab
from vsa.study.embedding.linear import STRAY_RATES, LinearStudy, leave_out
from vsa.study.ledger.bootstrap import Interval, mean_interval, paired_difference
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.regimes import HERE, STRAY, differences_of, regime
from vsa.study.ledger.sentences import bullets

SWEEP, SWEEP_DIFFERENCES = regime(STRAY), differences_of(STRAY)
CONTROL, CONTROL_DIFFERENCES = (
    "test products' pictures unseen",
    "test products' pictures unseen: differences",
)
RAW, FILTERED = "raw", "filtered"
SEEN, UNSEEN = "seen (transductive)", "unseen (inductive)"
RECALL = "Identical Recall@1"
METRICS = (RECALL, "mAP")


def record_linear(ledger: Ledger, lab: EmbeddingLab, n_resamples: int, stray_rate: float) -> str:
    """Record both questions, as far as data and weights allow; sentences of what was found.

    `stray_rate` is that of the log as it is.
    """
    seeds = range(lab.seed, lab.seed + lab.settings.n_study_seeds)
    study = LinearStudy(lab, seeds)
    writer = _Writer(ledger, study, n_resamples)
    if lab.relog is not None:
        ledger.record(SWEEP, HERE, STRAY, stray_rate)
    told = []
    for ask in (writer.sweep, writer.control):
        try:
            told.append(ask())
        except (InputError, NotApplicable) as reason:  # weights that cannot be had, too few clicks
            told.append(f"- Not measured: {reason}")
    return "\n".join(told)


class _Writer:
    def __init__(self, ledger: Ledger, study: LinearStudy, n_resamples: int) -> None:
        self.ledger, self.study, self.n_resamples = ledger, study, n_resamples
        task = study.task
        rows = task.rows("test")
        self.groups = task.queries.product_id.to_numpy()[rows]
        wanted, offered = task.products
        self.n_identical = (offered[None] == wanted[rows][:, None]).sum(axis=1)

    def sweep(self) -> str:
        """Raw against filtered clicks, at each rate of stray ones."""
        study = self.study
        if study.lab.relog is None:
            return "- The log was observed: its stray clicks cannot be made more or fewer."
        for rate in STRAY_RATES:
            mined = study.mine(study.ground, study.pages(rate))
            found = {}
            for kind, learned in ((RAW, mined.train.triplets), (FILTERED, mined.filtered)):
                found[kind] = study.hits(study.ground, learned)
                variant = sweep_variant(rate, kind)
                self._record(SWEEP, variant, found[kind])
                self._record_precision(variant, learned)
            self._differences(SWEEP_DIFFERENCES, f"{rate:g}", found[FILTERED], found[RAW])
        return reading_of_sweep(self.ledger)

    def control(self) -> str:
        """Learned with and without the catalogue pictures of test products."""
        study, task = self.study, self.study.task
        if not study.can_leave_out:
            return (
                "- Test products are on other photos, too, so that their catalogue pictures cannot "
                "be left out: there is no inductive control."
            )
        arms = {
            SEEN: (study.ground, task.pages),
            UNSEEN: (study.inductive_ground, leave_out(task.pages, study.test_images)),
        }
        found = {}
        for name, (ground, pages) in arms.items():
            learned = study.mine(ground, pages).filtered
            self.ledger.record(CONTROL, name, "triplets", len(learned))
            found[name] = study.hits(ground, learned)
            self._record(CONTROL, name, found[name])
        self._differences(CONTROL_DIFFERENCES, f"{UNSEEN} − {SEEN}", found[UNSEEN], found[SEEN])
        return reading_of_control(self.ledger)

    def _record(self, experiment: str, variant: str, hits: np.ndarray) -> None:
        for metric, values in self._values(hits).items():
            seed, groups = self.study.lab.seed, self.groups
            interval = mean_interval(values, self.n_resamples, seed, groups=groups)
            self.ledger.record(experiment, variant, metric, interval, seeds=len(values))

    def _record_precision(self, variant: str, learned: Triplets) -> None:
        statistics = mining_statistics(learned, *self.study.task.products)
        self.ledger.record(SWEEP, variant, "triplets", len(learned))
        if np.isfinite(statistics["click_precision"]):
            precision = statistics["click_precision"]
            self.ledger.record(SWEEP, variant, "click precision", precision)

    def _differences(
        self, experiment: str, variant: str, first: np.ndarray, second: np.ndarray
    ) -> None:
        seed, groups = self.study.lab.seed, self.groups
        for metric, values in self._values(first).items():
            other = self._values(second)[metric]
            effect = paired_difference(values, other, self.n_resamples, seed, groups=groups)
            self.ledger.record(
                experiment, variant, f"{metric} difference", effect, seeds=len(values)
            )

    def _values(self, hits: np.ndarray) -> dict[str, np.ndarray]:
        """Metric → values per seed and test photo, (n_seeds, n)."""
        same = np.ones(hits.shape[1], bool)
        return {
            RECALL: np.stack([identical_recall_at_k(one, same, 1) for one in hits]),
            "mAP": np.stack([average_precision(one, same, self.n_identical) for one in hits]),
        }


def sweep_variant(rate: float, kind: str) -> str:
    return f"{rate:g} | {kind}"


def where_it_stands(ledger: Ledger) -> list[float]:
    """The rate of stray clicks of the log as it is; [] where that is not known."""
    return ledger.standing(SWEEP)


def sweep_curves(
    ledger: Ledger, metric: str
) -> tuple[dict[str, dict[float, Interval]], dict[str, dict[float, float]]]:
    """Kind of clicks → rate → the metric, and the share of clicks that are right."""
    recall: dict[str, dict[float, Interval]] = {RAW: {}, FILTERED: {}}
    precision: dict[str, dict[float, float]] = {RAW: {}, FILTERED: {}}
    for variant, interval in ledger.intervals(SWEEP, metric).items():
        rate, _, kind = variant.partition(" | ")
        recall[kind][float(rate)] = interval
        share = ledger.table(SWEEP).loc[variant, "click precision"]
        precision[kind][float(rate)] = float(share)
    return recall, precision


def reading_of_sweep(ledger: Ledger) -> str:
    """From which rate on the filter pays, and where it hurts; Markdown."""
    metric = "mAP difference"
    effects = {float(r): i for r, i in ledger.intervals(SWEEP_DIFFERENCES, metric).items()}
    pays = [rate for rate, effect in effects.items() if effect.low > 0]
    hurts = [rate for rate, effect in effects.items() if effect.high < 0]
    from_on = [
        rate for rate in pays if all(effects[other].low > 0 for other in effects if other >= rate)
    ]
    lines = []
    if from_on:
        rate = min(from_on)
        lines.append(
            f"The filter pays from a rate of {rate:g} stray clicks on, where "
            f"{_clean(ledger, rate)}: {_points(effects[rate])}."
        )
    elif pays:
        lines.append(f"The filter surely pays at {_listed(pays)}, and not at every rate above.")
    else:
        lines.append(f"At no rate up to {max(effects):g} does the filter surely pay.")
    for rate in hurts:
        lines.append(
            f"At {rate:g}, where {_clean(ledger, rate)}, it hurts: {_points(effects[rate])}."
        )
    if not hurts:
        lines.append("At none does it surely hurt.")
    return bullets(lines)


def reading_of_control(ledger: Ledger) -> str:
    """What unseen catalogue pictures cost; Markdown."""
    name = f"{UNSEEN} − {SEEN}"
    who = "learned without test products' pictures", "learned with them"
    lines = [
        ledger.compare(CONTROL_DIFFERENCES, name, f"{metric} difference", *who)
        for metric in METRICS
    ]
    return bullets(lines)


def _clean(ledger: Ledger, rate: float) -> str:
    """How many clicks are right, before and after the filter."""
    shares = []
    for kind in (RAW, FILTERED):
        table = ledger.table(SWEEP)
        shares.append(float(table.loc[sweep_variant(rate, kind), "click precision"]))
    return f"{shares[0]:.0%} of the clicks are right before and {shares[1]:.0%} after it"


def _points(effect: Interval) -> str:
    value, low, high = (f"{100 * part:+.1f}" for part in (effect.value, effect.low, effect.high))
    text = f"{value} points of mAP (95 % interval {low} to {high})"
    return text.replace("-", "−")


def _listed(rates: list[float]) -> str:
    return ", ".join(f"{rate:g}" for rate in rates)
