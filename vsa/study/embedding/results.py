"""From the answers of all variants and seeds to ledger records and claims C2 to C3a."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from vsa.embedding.extract import describe
from vsa.embedding.mining import Triplets, mining_statistics
from vsa.runtime.errors import InputError
from vsa.runtime.seeds import generator
from vsa.study.embedding.baselines import HISTOGRAM, IMAGENET
from vsa.study.embedding.detector import detect
from vsa.study.embedding.experiment import EmbeddingLab
from vsa.study.embedding.finished import FinishedJobs
from vsa.study.embedding.variants import (
    AXES,
    CATEGORY,
    CATEGORY_TRIPLETS,
    CLICKS,
    CONSTANT_BOX,
    DETECTOR,
    FILTER,
    JOINT,
    ORACLE,
    OTHER_MASKS,
    PER_QUERY,
    PLAIN_JOINT,
    PUBLISHED_LOSSES,
    RAW,
    SAME_COMPUTE,
    SAME_STEPS,
    SHARED,
    SHUFFLED,
    SUPERVISED,
    TRUE_BOXES,
    WHOLE_IMAGE,
    Variant,
    in_study,
    is_sensitivity,
    registered,
    variants,
)
from vsa.study.ledger.bootstrap import Interval, mean_interval, paired_difference, paired_ratio
from vsa.study.ledger.claims import judge_all
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.timing import measure

KS = (1, 5, 20, 60)
RECALL = "Identical Recall@1"
COMPARISONS = {
    "clicks − category network": (PER_QUERY, CATEGORY),
    "clicks − category-label triplets": (PER_QUERY, CATEGORY_TRIPLETS),
    "clicks − ImageNet": (PER_QUERY, IMAGENET),
    "clicks − colour histogram": (PER_QUERY, HISTOGRAM),
    "filter, own negatives": (FILTER, CLICKS),
    "filter, shared negatives": (PER_QUERY, RAW),
    "sharing negatives": (SHARED, FILTER),
    "averaging per query": (PER_QUERY, SHARED),
    "identities − mined clicks": (ORACLE, PER_QUERY),
    "identities − raw clicks": (ORACLE, CLICKS),
    "mined − raw clicks": (PER_QUERY, CLICKS),
    "shuffled clicks − category network": (SHUFFLED, CATEGORY),
    "mask − no mask, same steps": (JOINT, SAME_STEPS),
    "mask − no mask, same compute": (JOINT, SAME_COMPUTE),
    "true boxes − learned boxes": (TRUE_BOXES, JOINT),
    "learned boxes − whole image": (JOINT, WHOLE_IMAGE),
    "masks in training only − no mask, same steps": (WHOLE_IMAGE, SAME_STEPS),
    **{f"{loss} − the paper's loss": (loss, PER_QUERY) for loss in PUBLISHED_LOSSES},
}  # and as the last ones, with each registered loss, see `_comparisons`
_RATIOS = {
    "clicks : category network": (PER_QUERY, CATEGORY),
    "clicks : category-label triplets": (PER_QUERY, CATEGORY_TRIPLETS),
    "clicks : ImageNet": (PER_QUERY, IMAGENET),
}
_CLOSED = {  # what the mined clicks of the whole recipe close of the way to the oracle, from …
    "filter, shared negatives and averages": CLICKS,
    "filter alone": RAW,
}
_STRATIFIED = {
    "mined − raw clicks": (PER_QUERY, CLICKS),
    "clicks − category network": (PER_QUERY, CATEGORY),
    "mask − no mask, same steps": (JOINT, SAME_STEPS),
}
_N_STRATA = 3
_CLAIMS = {
    "C2": (
        "clicks − category network",
        "clicks − category-label triplets",
        "clicks − ImageNet",
        "clicks − colour histogram",
    ),
    "C2a": ("filter, own negatives", "filter, shared negatives"),
    "C2b": ("sharing negatives", "averaging per query"),
}
BY_DUPLICATES, BY_CLUTTER = "by identical images on offer", "by share of background"
SENSITIVITY = (
    BY_DUPLICATES,
    BY_CLUTTER,
    *(f"sensitivity: {axis}" for axis in AXES),
)
_MASKING = (
    "learned boxes − whole image",
    "mask − no mask, same steps",
    "mask − no mask, same compute",
)
_LEARNED_BOXES = "boxes − best constant box"
_MIN_SEEDS = 3
_NO_FEATURES = (*OTHER_MASKS, SUPERVISED, DETECTOR)  # of their own
_BOXES = (WHOLE_IMAGE, CONSTANT_BOX, PLAIN_JOINT, JOINT, SUPERVISED, DETECTOR)
_MASKS = "retrieval behind a mask"
_CLOSE = 0.05  # IoU@0.5 that may be lost to a detector and still be called close
_N_TIMINGS = 30


def record(
    ledger: Ledger, labs: list[EmbeddingLab], finished: FinishedJobs, n_resamples: int
) -> None:
    """Write mining, features, boxes, speed, sensitivity and training, and judge the claims.

    Intervals resample products and training seeds.
    """
    writer = _Results(ledger, finished, n_resamples, labs[0].seed)
    writer.mining(labs)
    writer.features()
    effects = writer.differences()
    writer.ratios()
    writer.strata()
    writer.sensitivity()
    writer.training()
    writer.masks()
    for claim, names in _CLAIMS.items():
        chosen = {name: effects[name] for name in names if name in effects}
        evidence = writer.evidence(names)
        writer.claim(claim, chosen, RECALL, evidence, writer.lacks(names))
    masking = {name: effects[name] for name in _MASKING if name in effects}
    evidence, lacks = writer.evidence(_MASKING), writer.lacks(_MASKING)
    if finished.task.boxes is None:
        lacks = ["true boxes", *lacks]
        writer.claim("C3", masking, RECALL, evidence, lacks)
        return
    writer.boxes(finished.task.boxes)
    learned = writer.box_difference(JOINT, CONSTANT_BOX)
    evidence += [
        f"{ledger.section}/boxes/{name}/mean IoU"
        for name in (JOINT, CONSTANT_BOX)
        if name in finished
    ]
    unit = "mean IoU for boxes, Identical Recall@1 for masks"
    boxes = {} if learned is None else {_LEARNED_BOXES: learned}
    lacks += [] if boxes else [_LEARNED_BOXES]
    writer.claim("C3", boxes | masking, unit, evidence, lacks)
    writer.speed(labs[0])


def click_precision(ledger: Ledger) -> str:
    """How clean the clicks are that claims on clicks rest on, in a sentence; "" if unknown."""
    shares = {}
    for kind in ("raw clicks", "after the filter"):
        try:
            shares[kind] = ledger.value(ledger.section, "mining", kind, "click precision")
        except InputError:
            return ""
    return (
        f"Of all clicks {shares['raw clicks']:.1%} show the identical item, of those after the "
        f"filter {shares['after the filter']:.1%}."
    )


def comparisons() -> dict[str, tuple[str, str]]:
    mine = {f"{v.name} − the paper's loss": (v.name, PER_QUERY) for v in registered()}
    return COMPARISONS | mine


@dataclass(frozen=True)
class _Results:
    ledger: Ledger
    finished: FinishedJobs
    n_resamples: int
    seed: int

    def note(
        self, experiment: str, variant: str, metric: str, ci: Interval, seeds: list[int]
    ) -> None:
        self.ledger.record(experiment, variant, metric, ci, seeds=seeds)

    def claim(
        self,
        claim: str,
        effects: dict[str, Interval],
        unit: str,
        evidence: list[str],
        lacks: list[str],
    ) -> None:
        """Judge a claim; one without a single effect is left open, as in a run without its data."""
        if effects:
            judged = judge_all(claim, effects, unit, evidence, lacks=lacks)
            beside = click_precision(self.ledger) if claim in _CLAIMS else ""
            self.ledger.claim(judged | {"beside": beside})

    def mean(self, values: np.ndarray) -> Interval:
        return mean_interval(values, self.n_resamples, self.seed, groups=self.finished.groups)

    def difference(self, a: np.ndarray, b: np.ndarray) -> Interval:
        groups = self.finished.groups
        return paired_difference(a, b, self.n_resamples, self.seed, groups=groups)

    def ratio(self, a: np.ndarray, b: np.ndarray) -> Interval:
        groups = self.finished.groups
        return paired_ratio(a, b, self.n_resamples, self.seed, groups=groups)

    def mining(self, labs: list[EmbeddingLab]) -> None:
        """What the filter does, as the known identities tell: mean over seeds."""
        mined = [lab.mining() for lab in labs]
        products = self.finished.task.products
        kinds: dict[str, list[Triplets]] = {
            "raw clicks": [m.train.triplets for m in mined],
            "after the filter": [m.filtered for m in mined],
        }
        names = {
            "queries": "queries",
            "triplets": "triplets",
            "triplets_per_query": "triplets per query",
            "click_precision": "click precision",
            "false_negatives": "false-negative rate",
        }
        for kind, found in kinds.items():
            statistics = pd.DataFrame([mining_statistics(t, *products) for t in found]).mean()
            for key, metric in names.items():
                value = statistics[key]
                if not np.isfinite(value):
                    continue  # products of training photos are not known
                whole = round(value) if metric in ("queries", "triplets") else float(value)
                self.ledger.record("mining", kind, metric, whole, seeds=len(mined))
        for lab, m in zip(labs, mined, strict=True):
            variant, thresholds = f"seed {lab.seed}", m.thresholds
            for metric, value in (
                ("chosen epsilon", thresholds.epsilon),
                ("chosen gamma", thresholds.gamma),
            ):
                if np.isfinite(value):
                    self.ledger.record("mining thresholds", variant, metric, value, seeds=1)
            self.ledger.record("mining thresholds", variant, "run time", m.seconds, seeds=1)

    def features(self) -> None:
        for name in in_study():
            if name not in self.finished or name in _NO_FEATURES or is_sensitivity(name):
                continue
            seeds = self.finished.seeds(name)
            for k in KS:
                recall = self.finished.recall(name, seeds, k)
                self.note("features", name, f"Identical Recall@{k}", self.mean(recall), seeds)
            precision = self.finished.average_precision(name, seeds)
            self.note("features", name, "mAP", self.mean(precision), seeds)
            for k in KS:
                recall = self.finished.recall(name, seeds, k, within=True)
                metric = f"Identical Recall@{k}"
                self.note("features within the category", name, metric, self.mean(recall), seeds)

    def differences(self) -> dict[str, Interval]:
        effects = {}
        for name, (first, second) in comparisons().items():
            if seeds := self.finished.seeds(first, second):
                a, b = (self.finished.recall(v, seeds) for v in (first, second))
                effects[name] = self.difference(a, b)
                metric = "Identical Recall@1 difference"
                self.note("difference", name, metric, effects[name], seeds)
        return effects

    def ratios(self) -> None:
        """How many times the Recall, and how much of the way to the oracle is closed."""
        for name, (first, second) in _RATIOS.items():
            if seeds := self.finished.seeds(first, second):
                a, b = (self.finished.recall(v, seeds) for v in (first, second))
                ratio = self.ratio(a, b)
                if np.isfinite([ratio.low, ratio.high]).all():
                    self.note("ratio", name, f"{RECALL} ratio", ratio, seeds)
        for name, start in _CLOSED.items():
            if seeds := self.finished.seeds(start, PER_QUERY, ORACLE):
                low, mid, high = (
                    self.finished.recall(v, seeds) for v in (start, PER_QUERY, ORACLE)
                )
                share = self.ratio(mid - low, high - low)
                if np.isfinite([share.low, share.high]).all():
                    metric = "share of the distance"
                    self.note("distance to the oracle closed", name, metric, share, seeds)

    def strata(self) -> None:
        """Where among the queries the gains arise: by copies on offer, and by background."""
        wanted, offered = self.finished.task.products
        n_offered = np.bincount(offered, minlength=wanted.max() + 1)
        facts = {BY_DUPLICATES: n_offered[wanted[self.finished.rows]].astype(float)}
        if self.finished.task.boxes is not None:
            sides = _sides(self.finished.task.boxes[self.finished.rows])
            facts[BY_CLUTTER] = 1 - sides.prod(axis=1)
        for experiment, fact in facts.items():
            inner = np.quantile(fact, np.arange(1, _N_STRATA) / _N_STRATA)
            stratum = np.searchsorted(inner, fact)
            for number in np.unique(stratum):
                chosen = stratum == number
                ends = [f"{end:.2g}" for end in (fact[chosen].min(), fact[chosen].max())]
                span = " to ".join(dict.fromkeys(ends))
                for name, (first, second) in _STRATIFIED.items():
                    if seeds := self.finished.seeds(first, second):
                        a, b = (self.finished.recall(v, seeds)[:, chosen] for v in (first, second))
                        groups = self.finished.groups[chosen]
                        effect = paired_difference(a, b, self.n_resamples, self.seed, groups=groups)
                        metric = f"{RECALL} difference"
                        self.note(experiment, f"{name} | {span}", metric, effect, seeds)

    def evidence(self, names: tuple[str, ...]) -> list[str]:
        """Keys of the records behind the named comparisons."""
        variants = dict.fromkeys(v for name in names for v in COMPARISONS[name])
        return [
            f"{self.ledger.section}/{_MASKS if v in OTHER_MASKS else 'features'}/{v}/{RECALL}"
            for v in variants
            if v in self.finished
        ]

    def lacks(self, names: tuple[str, ...]) -> list[str]:
        """Comparisons that a claim needs and that were not made, or with too few seeds in common.

        Two variants without a common seed cannot be compared.
        """
        made = [n for n in names if self.finished.seeds(*COMPARISONS[n])]
        absent = [name for name in names if name not in made]
        few = any(len(self.finished.seeds(*COMPARISONS[n])) < _MIN_SEEDS for n in made)
        return absent + ([f"{_MIN_SEEDS} training seeds"] if few else [])

    def masks(self) -> None:
        """The joint network's feature branch behind each kind of mask."""
        for name in (*OTHER_MASKS, JOINT, SUPERVISED, DETECTOR):
            if name in self.finished:
                seeds = self.finished.seeds(name)
                for k in KS:
                    recall = self.mean(self.finished.recall(name, seeds, k))
                    self.note(_MASKS, name, f"Identical Recall@{k}", recall, seeds)

    def boxes(self, truth: np.ndarray) -> None:
        for name in _BOXES:
            if name not in self.finished:
                continue
            seeds = self.finished.seeds(name)
            iou = self.finished.iou(name, seeds)
            for metric, values in (
                ("mean IoU", iou),
                ("IoU@0.5", iou > 0.5),
                ("IoU@0.7", iou > 0.7),
            ):
                self.note("boxes", name, metric, self.mean(values.astype(float)), seeds)
            found = [self.finished.boxes(name, seed) for seed in seeds]
            right = truth[self.finished.rows]
            for metric, part in (("centre correlation", _centres), ("size correlation", _sides)):
                correlations = [_correlation(part(boxes), part(right)) for boxes in found]
                if np.isfinite(correlations).all():
                    mean = float(np.mean(correlations))
                    self.ledger.record("boxes", name, metric, mean, n=len(right), seeds=seeds)
            side = float(np.mean([_sides(boxes) for boxes in found]))
            self.ledger.record("boxes", name, "mean side", side, n=len(right), seeds=seeds)

    def box_difference(self, first: str, second: str) -> Interval | None:
        """The difference of mean IoU; None for two variants without a common seed."""
        seeds = self.finished.seeds(first, second)
        if not seeds:
            return None
        iou = [self.finished.iou(name, seeds) for name in (first, second)]
        effect = self.difference(*iou)
        self.note("box difference", f"{first} − {second}", "mean IoU difference", effect, seeds)
        return effect

    def speed(self, lab: EmbeddingLab) -> None:
        """Claim C3a: one pass that locates and describes, against detector and then feature."""
        seeds = self.finished.seeds(JOINT, DETECTOR)
        if not seeds:
            return
        hits = [(self.finished.iou(name, seeds) > 0.5).astype(float) for name in (JOINT, DETECTOR)]
        lost = self.difference(*hits)
        joint, detector = lab.net(JOINT), lab.detector()
        photo = lab.task.images.queries[self.finished.rows[:1]]

        def one_pass() -> object:
            return describe(joint, photo, lab.device, boxes="own")

        def two_passes() -> object:
            boxes = detect(detector, photo, lab.device)
            return describe(joint, photo, lab.device, boxes=boxes)

        times = {"joint, one pass": one_pass, "Faster R-CNN, then feature": two_passes}
        for call in times.values():
            measure(call, 3, 1)
        turns = np.array(
            [[measure(c, 0, 1).median_ms for c in times.values()] for _ in range(_N_TIMINGS)]
        )
        for name, column in zip(times, turns.T, strict=True):
            self.ledger.record("speed", name, "latency", float(np.median(column)), n=_N_TIMINGS)
        share = _median_ratio(turns, self.n_resamples, self.seed)
        key = self.ledger.record("speed", "joint, one pass", "share of the time", share)
        saved = Interval(1 - share.value, 1 - share.high, 1 - share.low, share.n)
        effects = {
            f"IoU@0.5 lost to the detector, {_CLOSE} granted": lost.shifted(_CLOSE),
            "time saved beyond one half": saved.shifted(-0.5),
        }
        evidence = [f"{self.ledger.section}/boxes/{name}/IoU@0.5" for name in (JOINT, DETECTOR)]
        lacks = [f"{_MIN_SEEDS} training seeds"] if len(seeds) < _MIN_SEEDS else []
        self.claim("C3a", effects, "IoU@0.5; share of time", [*evidence, key], lacks)

    def sensitivity(self) -> None:
        """What changes with the settings; the recipe itself stands first for each axis.

        Rows of one axis rest on the seeds that all of them have.
        """
        axes: dict[str, dict[str, str]] = {}  # axis → label → variant
        for name, variant in variants().items():
            if variant.axis and name in self.finished:
                axes.setdefault(variant.axis, _bases(variant)).setdefault(name, name)
        for axis, rows in axes.items():
            rows = {label: name for label, name in rows.items() if name in self.finished}
            seeds = self.finished.seeds(*rows.values())
            for label, name in rows.items() if seeds else ():
                recall = self.mean(self.finished.recall(name, seeds))
                self.note(f"sensitivity: {axis}", label, RECALL, recall, seeds)
                if variants()[name].masked and self.finished.task.boxes is not None:
                    iou = self.mean(self.finished.iou(name, seeds))
                    self.note(f"sensitivity: {axis}", label, "mean IoU", iou, seeds)
            for label, name in rows.items() if seeds else ():
                raw = label.removesuffix("filtered") + "raw"
                if label.endswith("| filtered") and raw in rows:
                    a, b = (self.finished.recall(v, seeds) for v in (name, rows[raw]))
                    metric = f"{RECALL} difference"
                    effect = self.difference(a, b)
                    self.note(f"sensitivity: {axis}", f"{label} − raw", metric, effect, seeds)

    def training(self) -> None:
        for name, by_seed in self.finished.jobs.items():
            trained = [job.training for job in by_seed.values() if job.training]
            if not trained or is_sensitivity(name):
                continue
            seconds = [one["seconds"] for one in trained]
            values = {
                "training steps": trained[0]["steps"],
                "training time": float(np.mean(seconds)),
                "step time": float(np.median([one["step_ms"] for one in trained])),
                "wait for data": sum(one["wait_seconds"] for one in trained) / sum(seconds),
                "training loss": float(np.mean([one["loss"] for one in trained])),
                "active share": float(np.mean([one["active_share"] for one in trained])),
            }
            if name in PUBLISHED_LOSSES:  # their terms are not those that the share counts
                values.pop("active share")
            for metric, value in values.items():
                if np.isfinite(value):
                    self.ledger.record("training", name, metric, value, seeds=len(trained))


def _bases(variant: Variant) -> dict[str, str]:
    """The recipe as chosen, which variants of an axis are compared with: label → variant."""
    if variant.masked:
        return {f"as chosen ({JOINT})": JOINT}
    if variant.source == "filtered clicks" and variant.changes:
        return {f"as chosen ({PER_QUERY})": PER_QUERY}
    bases = {"as chosen | raw": RAW, "as chosen | filtered": PER_QUERY}
    return bases | ({"as chosen | oracle": ORACLE} if variant.times_steps > 1 else {})


def _centres(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _sides(boxes: np.ndarray) -> np.ndarray:
    return boxes[:, 2:] - boxes[:, :2]


def _correlation(found: np.ndarray, right: np.ndarray) -> float:
    """Mean of the two axes' correlations; NaN where one of them does not vary."""
    if (found.std(axis=0) < 1e-6).any() or (right.std(axis=0) < 1e-6).any():
        return float("nan")
    return float(np.mean([np.corrcoef(found[:, i], right[:, i])[0, 1] for i in (0, 1)]))


def _median_ratio(turns: np.ndarray, n_resamples: int, seed: int) -> Interval:
    """Ratio of the median times (n, 2), first over second, with its bootstrap interval."""
    rng = generator(seed, "ratio of times")
    n = len(turns)

    def ratio(rows: np.ndarray) -> float:
        first, second = np.median(turns[rows], axis=0)
        return float(first / second)

    resampled = [ratio(rng.integers(n, size=n)) for _ in range(n_resamples)]
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Interval(ratio(np.arange(n)), float(low), float(high), n)
