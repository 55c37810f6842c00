"""What was found along the axes of `regimes`, as records, curves and sentences."""

from __future__ import annotations

import numpy as np

from vsa.embedding.candidates import PLAIN, PLAIN_OBJECT
from vsa.metrics import box_iou
from vsa.study.embedding.experiment import EmbeddingLab
from vsa.study.embedding.finished import FinishedJobs, gather_points
from vsa.study.embedding.plots import sessions_figure, share_figure
from vsa.study.embedding.regimes import (
    AXES,
    FILTERED,
    JOINT_MASK,
    JOINT_WHOLE,
    NO_CLICKS,
    RAW,
    SESSIONS,
    SHARE,
    TRUE_CROP,
    TRUE_MASK,
    Point,
)
from vsa.study.ledger.bootstrap import Interval, mean_interval, paired_difference
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.regimes import HERE, differences_of, regime, told_along
from vsa.study.ledger.sections import REGIMES as SECTION
from vsa.study.ledger.sentences import bullets
from vsa.study.run import Run
from vsa.study.shown import keep

RECALL = "Identical Recall@1"
_PAIRS = {  # axis → who is compared with whom at each of its points
    SESSIONS: (
        (FILTERED, NO_CLICKS),
        (RAW, NO_CLICKS),
        (FILTERED, PLAIN),
        (RAW, PLAIN),
        (FILTERED, RAW),
    ),
    SHARE: (
        (TRUE_CROP, PLAIN),
        (PLAIN_OBJECT, PLAIN),
        (TRUE_MASK, PLAIN),
        (JOINT_MASK, JOINT_WHOLE),
    ),
}


def write_regimes(run: Run, labs: list[EmbeddingLab]) -> str:
    """Write the section of what is finished of all axes, with its figures; sentences of it."""
    run.begin()
    ledger = Ledger.open(run, SECTION)
    told = record_regimes(ledger, run, gather_points(labs))
    for figure in (sessions_figure(ledger), share_figure(ledger)):
        if figure is not None:
            keep(ledger, figure)
    ledger.save()
    return told


def record_regimes(ledger: Ledger, run: Run, finished: FinishedJobs) -> str:
    """Record each axis of which a study has made some jobs; sentences of what was found."""
    told = []
    for axis, points in AXES.items():
        made = [point for point in points if point.name in finished]
        if made:
            writer = _Writer(ledger, finished, run.settings.n_bootstrap, run.seed)
            writer.here(axis, run.settings.clicks.n_sessions_per_query)
            writer.curves(made)
            writer.differences(made)
            told.append(reading_of_axis(ledger, axis))
    return "\n".join(told)


# Jobs that no length of the log changes
_ASIDE = {PLAIN: PLAIN, NO_CLICKS: Point(SESSIONS, 0, NO_CLICKS).name}


class _Writer:
    def __init__(self, ledger: Ledger, finished: FinishedJobs, n_resamples: int, seed: int) -> None:
        self.ledger, self.finished, self.n_resamples, self.seed = (
            ledger,
            finished,
            n_resamples,
            seed,
        )

    def here(self, axis: str, n_sessions: int) -> None:
        """Where the shop itself stands on the axis."""
        boxes = self.finished.task.boxes
        if axis == SESSIONS:
            self.ledger.record(regime(axis), HERE, axis, n_sessions)
        elif boxes is not None:
            boxes = boxes[self.finished.rows]
            for quantile in (0.05, 0.5, 0.95):
                share = float(np.quantile(_areas(boxes), quantile))
                variant = f"{HERE}, quantile {quantile:g}"
                self.ledger.record(regime(axis), variant, axis, share, n=len(boxes))

    def curves(self, points: list[Point]) -> None:
        finished = self.finished
        for point in points:
            seeds = finished.seeds(point.name)
            experiment, variant = regime(point.axis), f"{point.at:g} | {point.arm}"
            for metric, values in self._values(point.name, seeds).items():
                self._note(experiment, variant, metric, self._mean(values), seeds)
            if point.arm == TRUE_CROP:  # its boxes are the true ones
                areas = np.concatenate([_areas(finished.boxes(point.name, s)) for s in seeds])
                self.ledger.record(
                    experiment, variant, point.axis, float(areas.mean()), n=len(areas)
                )
            if point.arm in (PLAIN_OBJECT, JOINT_MASK):
                self._boxes(point)
            if point.arm in (RAW, FILTERED):
                cards = [finished.jobs[point.name][seed].card for seed in seeds]
                n_triplets = round(float(np.mean([card["triplets"] for card in cards])))
                precision = float(np.mean([card["click_precision"] for card in cards]))
                self.ledger.record(experiment, variant, "triplets", n_triplets, seeds=seeds)
                self.ledger.record(experiment, variant, "click precision", precision, seeds=seeds)

    def differences(self, points: list[Point]) -> None:
        """Paired, at each point, over the seeds that both sides have."""
        names = {(point.at, point.arm): point.name for point in points}
        axis = points[0].axis
        for at in dict.fromkeys(point.at for point in points):
            for first, second in _PAIRS[axis]:
                name, other = names.get((at, first)), names.get((at, second))
                if axis == SESSIONS and second in _ASIDE:
                    other = _ASIDE[second]
                if name is None or other is None:
                    continue
                sides = self._sides(name, other)
                if sides is None:
                    continue
                seeds, (a, b) = sides
                for metric in a:
                    effect = self._difference(a[metric], b[metric])
                    variant = f"{at:g} | {first} − {second}"
                    self._note(differences_of(axis), variant, f"{metric} difference", effect, seeds)

    def _sides(self, name: str, other: str) -> tuple[list[int], list[dict[str, np.ndarray]]] | None:
        """Seeds, and values of both jobs; the plain network was not trained, so one seed does."""
        seeds, of_other = self.finished.seeds(name), self.finished.seeds(other)
        if other == PLAIN:
            of_other = of_other[:1] * len(seeds)
        else:
            seeds = of_other = self.finished.seeds(name, other)
        if not seeds or not of_other:
            return None
        return seeds, [self._values(name, seeds), self._values(other, of_other)]

    def _boxes(self, point: Point) -> None:
        """IoU of found boxes, where the true ones of the same drawing are known."""
        truth = Point(point.axis, point.at, TRUE_CROP).name
        if seeds := self.finished.seeds(point.name, truth):
            pairs = [[self.finished.boxes(n, s) for n in (point.name, truth)] for s in seeds]
            iou = np.stack([box_iou(found, true) for found, true in pairs])
            variant = f"{point.at:g} | {point.arm}"
            self._note(regime(point.axis), variant, "mean IoU", self._mean(iou), seeds)

    def _values(self, name: str, seeds: list[int]) -> dict[str, np.ndarray]:
        """Metric → values per seed and test photo, (n_seeds, n)."""
        return {
            RECALL: self.finished.recall(name, seeds),
            "mAP": self.finished.average_precision(name, seeds),
        }

    def _mean(self, values: np.ndarray) -> Interval:
        return mean_interval(values, self.n_resamples, self.seed, groups=self.finished.groups)

    def _difference(self, a: np.ndarray, b: np.ndarray) -> Interval:
        groups = self.finished.groups
        return paired_difference(a, b, self.n_resamples, self.seed, groups=groups)

    def _note(
        self, experiment: str, variant: str, metric: str, interval: Interval, seeds: list[int]
    ) -> None:
        self.ledger.record(experiment, variant, metric, interval, seeds=seeds)


def reading_of_axis(ledger: Ledger, axis: str) -> str:
    """Where along an axis who is surely ahead of whom, by mAP; Markdown."""
    effects = ledger.intervals(differences_of(axis), "mAP difference")
    return bullets(f"{axis}, {line}" for line in told_along(effects))


def _areas(boxes: np.ndarray) -> np.ndarray:
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
