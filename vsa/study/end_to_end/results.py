"""From measurements of the whole path to ledger records and claim C6."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from vsa.embedding.candidates import PLAIN
from vsa.metrics import average_precision, identical_recall_at_k
from vsa.runtime.seeds import generator
from vsa.study.end_to_end.experiment import ALL, CEILING, UNSELECTED, WHOLE, Clients, Photos
from vsa.study.index.prepare import IndexTask
from vsa.study.ledger.bootstrap import Interval, mean_interval, paired_difference
from vsa.study.ledger.claims import judge_all
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.sentences import bullets

KS = (1, 5, 20, 60)
# What people take for an instant reaction: Nielsen, Usability Engineering, 1993, chapter 5.
REAL_TIME_MS = 100.0
_CHANGES, _CHANGE = "what leaving it out changes", "Identical Recall@20 difference"
AGAINST_PLAIN, ENGINE, BY_APPEARANCE = "engine against plain", "engine", "no re-rank"
KEPT = 0.01  # Identical Recall@20 that the whole path may lose against a full float search


@dataclass(frozen=True)
class EndToEndResults:
    """Writes the records of one run."""

    ledger: Ledger
    photos: Photos
    task: IndexTask
    n_resamples: int
    seed: int

    def ablation(self, found: dict[str, np.ndarray]) -> None:
        """Retrieval of the whole path, and without one stage after the other."""
        wanted, task = self.photos.products, self.task
        for name, ranked in found.items():
            offered = task.products if name == UNSELECTED else task.products[task.kept]
            n_identical = (offered[None] == wanted[:, None]).sum(axis=1)
            for k in KS:
                hit = identical_recall_at_k(ranked, wanted, k)
                self.note("stages", name, f"Identical Recall@{k}", self.mean(hit))
            precision = self.mean(average_precision(ranked, wanted, n_identical))
            self.note("stages", name, "mAP", precision)
        for name in found:
            if name != WHOLE:
                effect = self._lost(found[name], found[WHOLE])
                self.note(_CHANGES, f"{name} − {WHOLE}", _CHANGE, effect)

    def against_plain(self, found: dict[str, np.ndarray], plain_hits: np.ndarray | None) -> str:
        """The engine, its page in the order of appearance, and a plain pretrained network.

        The plain network describes whole photos and compares them with the whole catalogue. What
        re-ranking costs in recall is a line of its own among the stages. Says in Markdown who wins.
        """
        if plain_hits is None:
            return "The plain network was not compared: its weights were not to be had."
        wanted, offered = self.photos.products, self.task.products[self.task.kept]
        n_identical = (offered[None] == wanted[:, None]).sum(axis=1)
        hits = {ENGINE: found[BY_APPEARANCE] == wanted[:, None], PLAIN: plain_hits}
        same = np.ones(len(wanted), bool)
        measures: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "Identical Recall@1": lambda page: identical_recall_at_k(page, same, 1),
            "Identical Recall@20": lambda page: identical_recall_at_k(page, same, 20),
            "mAP": lambda page: average_precision(page, same, n_identical),
        }
        for metric, measure in measures.items():
            values = {name: measure(page) for name, page in hits.items()}
            for name, of_photos in values.items():
                self.note(AGAINST_PLAIN, name, metric, self.mean(of_photos))
            effect = paired_difference(
                values[ENGINE], values[PLAIN], self.n_resamples, self.seed, groups=wanted
            )
            self.note(AGAINST_PLAIN, f"{ENGINE} − {PLAIN}", f"{metric} difference", effect)
        return bullets(
            self.ledger.compare(
                AGAINST_PLAIN, f"{ENGINE} − {PLAIN}", f"{metric} difference", "the engine", PLAIN
            )
            for metric in measures
        )

    def reading(self) -> str:
        """What leaving each stage out changes, in sentences of Markdown."""
        return bullets(
            self.ledger.compare(
                _CHANGES, variant, _CHANGE, variant.split(" − ")[0], "the whole path"
            )
            for variant in self.ledger.intervals(_CHANGES, _CHANGE)
        )

    def funnel(self, kept: dict[str, np.ndarray]) -> None:
        """The share of photos whose product is still there after each stage."""
        for stage, there in kept.items():
            share = self.mean(there.astype(float))
            self.note("where identical items are lost", stage, "share of queries", share)

    def latency(self, n_items: int, times: pd.DataFrame, opened: float) -> None:
        """Milliseconds by stage, one photo at a time, each on one thread."""
        experiment = f"latency by stage, {n_items:,} items"
        for stage in times:
            self._quantiles(experiment, str(stage), times[stage].to_numpy())
        self.ledger.record(experiment, "opening the engine", "opening time", opened)

    def against_naive(
        self, rows: np.ndarray, seconds: pd.DataFrame, found: dict[str, np.ndarray]
    ) -> None:
        """The engine and the naive pipeline, asked in turn with the photos of `rows`."""
        experiment, wanted = "engine and naive pipeline", self.photos.products[rows]
        hits = {name: identical_recall_at_k(ranked, wanted, 20) for name, ranked in found.items()}
        for name in seconds:
            self._quantiles(experiment, str(name), 1e3 * seconds[name].to_numpy())
            recall = mean_interval(hits[str(name)], self.n_resamples, self.seed, groups=wanted)
            self.note(experiment, str(name), "Identical Recall@20", recall)
        medians = seconds.median()
        ratio = float(medians.engine / medians.naive)
        self.ledger.record(experiment, "engine over naive", "time ratio", ratio)
        lost = paired_difference(
            hits["engine"], hits["naive"], self.n_resamples, self.seed, groups=wanted
        )
        self.note(experiment, "engine − naive", "Identical Recall@20 difference", lost)

    def clients(self, loads: Sequence[Clients]) -> None:
        """Throughput, and what one of several clients waits."""
        for load in loads:
            name = f"{load.n_clients} client{'s' * (load.n_clients > 1)}"
            self.ledger.record("clients", name, "queries per second", load.queries_per_s)
            self._quantiles("clients", name, 1e3 * load.seconds)
            p50, p95 = np.quantile(load.seconds, [0.5, 0.95])
            self.ledger.record("clients", name, "p95 over median", float(p95 / p50))

    def claim(self, n_items: int, times: pd.DataFrame, found: dict[str, np.ndarray]) -> None:
        """C6: an answer within 100 ms, and the recall of a full float search."""
        p95, n_kept = self._p95(times[ALL].to_numpy()), int(self.task.kept.sum())
        lost = self._lost(found[WHOLE], found[CEILING])
        effects = {
            f"share of {REAL_TIME_MS:.0f} ms left at p95, {n_items:,} items, one client": Interval(
                1 - p95.value / REAL_TIME_MS,
                1 - p95.high / REAL_TIME_MS,
                1 - p95.low / REAL_TIME_MS,
                p95.n,
            ),
            f"Identical Recall@20 − {CEILING} + {KEPT}, {n_kept:,} items": lost.shifted(KEPT),
        }
        section = self.ledger.section
        evidence = [
            f"{section}/latency by stage, {n_items:,} items/{ALL}/query latency, p95",
            f"{section}/stages/{WHOLE}/Identical Recall@20",
            f"{section}/stages/{CEILING}/Identical Recall@20",
        ]
        self.ledger.claim(judge_all("C6", effects, "share", evidence))

    def _quantiles(self, experiment: str, variant: str, milliseconds: np.ndarray) -> None:
        note = partial(self.ledger.record, experiment, variant)
        p50, p95, p99 = np.quantile(milliseconds, [0.5, 0.95, 0.99])
        note("query latency", float(p50))
        note("query latency, p95", float(p95))
        note("query latency, p99", float(p99))

    def _p95(self, milliseconds: np.ndarray) -> Interval:
        """The 95th percentile, with photos resampled."""
        n = len(milliseconds)
        drawn = generator(self.seed, "p95").integers(0, n, (self.n_resamples, n))
        low, high = np.quantile(np.quantile(milliseconds[drawn], 0.95, axis=1), [0.025, 0.975])
        return Interval(float(np.quantile(milliseconds, 0.95)), float(low), float(high), n)

    def _lost(self, first: np.ndarray, second: np.ndarray) -> Interval:
        wanted = self.photos.products
        a, b = (identical_recall_at_k(ranked, wanted, 20) for ranked in (first, second))
        return paired_difference(a, b, self.n_resamples, self.seed, groups=wanted)

    def mean(self, values: np.ndarray) -> Interval:
        """Over the test photos; the bootstrap resamples their products."""
        groups = self.photos.products
        return mean_interval(values, self.n_resamples, self.seed, groups=groups)

    def note(self, experiment: str, variant: str, metric: str, value: Interval) -> None:
        """Record what one engine, trained with one seed, was measured to do."""
        self.ledger.record(experiment, variant, metric, value, seeds=1)
