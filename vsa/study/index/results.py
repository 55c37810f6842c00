"""From measurements of the index to ledger records and claims C4, C4a and C7."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from vsa.metrics import average_precision, identical_recall_at_k
from vsa.study.index.peers import COARSE, ENGINE, LINEAR
from vsa.study.index.prepare import IndexTask
from vsa.study.index.stages import STAGES
from vsa.study.index.traffic import Traffic
from vsa.study.ledger.bootstrap import (
    Interval,
    equality_interval,
    mean_interval,
    paired_difference,
    paired_ratio,
)
from vsa.study.ledger.claims import judge_all
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.sentences import bullets

KS = (1, 5, 20, 60)
WANTED = 0.99  # of a scan's results; what "keeps the recall" means here
KEPT = 0.01  # Identical Recall that selection may cost


@dataclass(frozen=True)
class IndexResults:
    """Writes the records of one run."""

    ledger: Ledger
    task: IndexTask
    n_asked: int  # test photos that time is measured with
    n_resamples: int
    seed: int

    def growth(self, similarity: pd.DataFrame, dimension: pd.DataFrame) -> None:
        """Evidence that grown catalogues are like the real one."""
        for kind in similarity:
            for rank in [r for r in (1, 5, 10, 30, 60) if r in similarity.index]:
                value = similarity.loc[rank, kind]
                variant = f"{rank}. nearest item of a photo"
                self.ledger.record(f"growth: {kind}", variant, "similarity", value)
            value = dimension[kind].iloc[0]
            self.ledger.record(f"growth: {kind}", "around a photo", "local dimension", value)

    def codecs(self, found: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
        """Codes at equal bits: what they find of the products and of the float ranking."""
        offered = self.task.products[self.task.kept]
        for name, (rows, overlap) in found.items():
            self._retrieval("codes", name, np.where(rows >= 0, offered[rows], -2))
            ci = self._mean(overlap, self.task.test.products)
            self.ledger.record("codes", name, "float Recall@60", ci, seeds=1)

    def curves(self, curves: dict[int, pd.DataFrame]) -> None:
        """At each size: the index and its peers at the settings that validation chose for each."""
        for n, curve in curves.items():
            self._size(f"{n:,} items", curve, self._asked)
            self._stages(n, curve)
        in_one = {n: c for n, c in curves.items() if "n_shards" not in c}
        for method in (ENGINE, COARSE, LINEAR):
            self._exponent(method, in_one)
            if len(in_one) < len(curves):
                self._exponent(method, curves)

    def worst_case(self, curve: pd.DataFrame) -> None:
        """Codes without any structure."""
        self._size("worst case: uniform features", curve, None)

    def loads(self, loads: Sequence[Traffic]) -> None:
        """Searches beside writers."""
        idle = loads[0]
        for load in loads:
            note = partial(self.ledger.record, "update load", load.name)
            note("adds per second", load.adds_per_s)
            note("query latency", load.p50_ms)
            note("query latency, p95", load.p95_ms)
            note("query latency, p99", load.p99_ms)
            note("ratio of p95", load.p95_ms / idle.p95_ms)

    def shards(self, same: np.ndarray, rates: dict[str, float]) -> None:
        """C4a: equal results, and what several clients get."""
        ci = equality_interval(same, self.n_resamples, self.seed, self._asked)
        key = self.ledger.record("shards", "against one index", "equal results", ci, seeds=1)
        keys = [
            self.ledger.record("throughput", name, "queries per second", rate)
            for name, rate in rates.items()
        ]
        effects = {"equal results − 0.999": ci.shifted(-0.999)}
        lacks = ["machines: shards and replicas run in one process here"]
        unit = "share of queries"
        self.ledger.claim(judge_all("C4a", effects, unit, [key, *keys], lacks=lacks))

    def claim_recall(self, curves: dict[int, pd.DataFrame]) -> None:
        """C4, at the largest size."""
        n = max(curves)
        effects, evidence = {}, []
        own = chosen(curves[n])
        scan = own.loc[LINEAR]
        for method, column, metric in (
            (COARSE, "code_recalls", "Linear Recall@60"),
            (ENGINE, "recalls", "float Recall@60"),
        ):
            ci = self._mean(np.asarray(own.loc[method, column]), self._asked)
            effects[f"{metric} − {WANTED}"] = ci.shifted(-WANTED)
            saved = self._saved(own.loc[method], scan)
            effects[f"share of the scan's time saved − 0.5, {method}"] = saved.shifted(-0.5)
            variant = _variant(own.loc[method], method)
            evidence += [
                f"{self.ledger.section}/{n:,} items/{variant}/{name}"
                for name in (metric, "share of time saved")
            ]
        self.ledger.claim(judge_all("C4", effects, f"at {n:,} items", evidence))

    def selection(self, found: dict[str, np.ndarray]) -> None:
        """C7: what selection costs and saves."""
        task, evidence, recall = self.task, [], {}
        for name, rows in found.items():
            count = len(task.kept) if name == "all images" else int(task.kept.sum())
            evidence.append(self.ledger.record("selection", name, "items", count))
            asked = task.test_unselected.products
            ci = self._mean(self._repeats(rows), asked)
            evidence.append(self.ledger.record("selection", name, "duplicate rate", ci, seeds=1))
            ranked = np.where(rows >= 0, task.products[rows], -2)
            for k in (k for k in KS if k <= rows.shape[1]):
                hit = identical_recall_at_k(ranked, asked, k)
                self.ledger.record(
                    "selection", name, f"Identical Recall@{k}", self._mean(hit, asked), seeds=1
                )
            recall[name] = identical_recall_at_k(ranked, asked, min(20, rows.shape[1]))
        before, after = (self._repeats(found[name]) for name in ("all images", "selected"))
        difference = self._difference(recall["selected"], recall["all images"])
        evidence.append(
            self.ledger.record(
                "selection",
                "selected − all images",
                "Identical Recall@20 difference",
                difference,
                seeds=1,
            )
        )
        effects = {f"Identical Recall@20 difference + {KEPT}": difference.shifted(KEPT)}
        lacks = []
        if before.any():
            effects["duplicate rate removed"] = self._difference(before, after)
        else:
            lacks = ["near-duplicates among the results"]
        self.ledger.claim(judge_all("C7", effects, "share", evidence, lacks=lacks))

    def categories(self, found: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
        """Searching within the photo's category: ids (n, 60) and seconds (n,)."""
        offered = self.task.products[self.task.kept]
        for name, (ids, seconds) in found.items():
            self._retrieval("narrowed to a category", name, np.where(ids >= 0, offered[ids], -2))
            milliseconds = 1e3 * float(np.median(seconds))
            self.ledger.record("narrowed to a category", name, "query latency", milliseconds)

    def _size(self, experiment: str, curve: pd.DataFrame, groups: np.ndarray | None) -> None:
        scan = chosen(curve).loc[LINEAR]
        for method, row in chosen(curve).iterrows():
            variant = _variant(row, str(method))
            note = partial(self.ledger.record, experiment, variant, seeds=1)
            if row.ranks_by == "codes":
                note("Linear Recall@60", self._mean(np.asarray(row.code_recalls), groups))
            else:
                note("float Recall@60", self._mean(np.asarray(row.recalls), groups))
                note("NDCG@60", row.ndcg)
            note("query latency", row.p50_ms)
            note("query latency, p95", row.p95_ms)
            note("query latency, p99", row.p99_ms)
            note("speed-up", float(np.median(scan.seconds) / np.median(row.seconds)))
            note("share of time saved", self._saved(row, scan))
            if isinstance(row.get("turns"), np.ndarray):
                turns = row.turns, row.own_turns
                note("time over the index's", paired_ratio(*turns, self.n_resamples, self.seed))
            note("bytes in memory", row.bytes)
            note("build time", row.build_s)
            for column, metric in (("disk_bytes", "bytes on disk"), ("open_s", "opening time")):
                if np.isfinite(row.get(column, np.nan)):
                    note(metric, row[column])

    def _stages(self, n: int, curve: pd.DataFrame) -> None:
        """Where a query's time goes, where one index holds all items."""
        own = chosen(curve).loc[ENGINE]
        for stage in (s for s in STAGES if f"{s}_ms" in own):
            experiment = f"time of a query, {n:,} items"
            self.ledger.record(experiment, stage, "query latency", own[f"{stage}_ms"])

    def _exponent(self, method: str, curves: dict[int, pd.DataFrame]) -> None:
        if len(curves) < 2:
            return
        times = []
        for curve in curves.values():
            times.append(float(chosen(curve).p50_ms[method]))
        slope = np.polyfit(np.log(list(curves)), np.log(times), 1)[0]
        variant = f"{method}, {min(curves):,} to {max(curves):,} items"
        self.ledger.record("growth of latency", variant, "growth exponent", float(slope))

    def _repeats(self, rows: np.ndarray) -> np.ndarray:
        return repeats(np.where(rows >= 0, self.task.group[rows], -1))

    def _retrieval(self, experiment: str, variant: str, ranked: np.ndarray) -> None:
        wanted = self.task.test.products
        for k in (k for k in KS if k <= ranked.shape[1]):
            hit = identical_recall_at_k(ranked, wanted, k)
            ci = self._mean(hit, wanted)
            self.ledger.record(experiment, variant, f"Identical Recall@{k}", ci, seeds=1)
        offered = self.task.products[self.task.kept]
        n_identical = np.maximum((offered[None] == wanted[:, None]).sum(axis=1), 1)
        precision = self._mean(average_precision(ranked, wanted, n_identical), wanted)
        self.ledger.record(experiment, variant, "mAP", precision, seeds=1)

    @property
    def _asked(self) -> np.ndarray:
        return self.task.test.first(self.n_asked).products

    def _mean(self, values: np.ndarray, groups: np.ndarray | None) -> Interval:
        return mean_interval(values, self.n_resamples, self.seed, groups=groups)

    def _difference(self, first: np.ndarray, second: np.ndarray) -> Interval:
        groups = self.task.test_unselected.products
        return paired_difference(first, second, self.n_resamples, self.seed, groups=groups)

    def _saved(self, row: pd.Series, scan: pd.Series) -> Interval:
        own, other = (np.asarray(r.seconds) for r in (row, scan))
        share = paired_ratio(own, other, self.n_resamples, self.seed)
        return Interval(1 - share.value, 1 - share.high, 1 - share.low, share.n)


def chosen(curve: pd.DataFrame) -> pd.DataFrame:
    """Each method with the setting that validation queries chose, by name."""
    return curve[curve.chosen == 1].set_index("method")


def repeats(groups: np.ndarray) -> np.ndarray:
    """Share of each list's items that are in a group of duplicates with an earlier one (n,)."""
    repeated = np.zeros(groups.shape, bool)
    for rank in range(1, groups.shape[1]):
        same = groups[:, :rank] == groups[:, rank, None]
        repeated[:, rank] = (groups[:, rank] >= 0) & same.any(axis=1)
    return repeated.mean(axis=1)


def _variant(row: pd.Series, method: str) -> str:
    return f"{method} ({row.setting})" if row.setting else method


def reading(ledger: Ledger, curves: dict[int, pd.DataFrame]) -> str:
    """What the index keeps, how fast it and its peers are, how latency grows; Markdown."""
    n = max(curves)
    table = ledger.table(f"{n:,} items")
    by_feature = table[table["float Recall@60"].notna()]
    own = by_feature[by_feature.index.str.startswith(ENGINE)].iloc[0]
    sentences = [
        f"At {n:,} items the index finds {own['float Recall@60']:.3f} of the first 60 of a scan "
        f"of the features, in {own['query latency']:.2f} ms per query; that is "
        f"{own['speed-up']:.1f} times as fast as a linear scan of the codes."
    ]
    ranked = by_feature[by_feature["float Recall@60"] >= WANTED]
    if len(ranked):
        fastest_name = ranked["query latency"].idxmin()
        sentences.append(
            f"The fastest method that finds at least {WANTED} of them is **{fastest_name}**, in "
            f"{ranked['query latency'].min():.2f} ms and "
            f"{ranked.loc[fastest_name, 'bytes in memory']:.0f} bytes of memory per item; the "
            f"index takes {own['bytes in memory']:.0f}."
        )
    missed = by_feature[by_feature["float Recall@60"] < WANTED]["float Recall@60"]
    if len(missed):
        ends = ", ".join(f"{name} {value:.3f}" for name, value in missed.items())
        sentences.append(
            f"Below {WANTED} on test photos, though settings were doubled until validation recall "
            f"sufficed or grew no more: {ends}."
        )
    if len(curves) > 1:
        exponents = ledger.table("growth of latency")["growth exponent"]
        sentences += [
            f"Latency of {variant}, grows {'slower' if b < 1 else 'faster'} than the catalogue: "
            f"as items to the power of {b:.2f}."
            for variant, b in exponents.items()
        ]
    return bullets(sentences)
