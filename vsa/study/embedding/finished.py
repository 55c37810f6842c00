"""What a run has learned and answered: the finished jobs of all variants and seeds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vsa.embedding.candidates import PLAIN
from vsa.embedding.task import EmbeddingTask
from vsa.metrics import average_precision, box_iou, identical_recall_at_k
from vsa.runtime.errors import InputError
from vsa.study.embedding.experiment import EmbeddingLab
from vsa.study.embedding.jobs import HALF, Job, Judged, read_card
from vsa.study.embedding.published import (
    Published,
    environment_of,
    find_published,
    is_wanted,
    made_with,
    published_key,
)
from vsa.study.embedding.regimes import POINTS
from vsa.study.embedding.variants import in_notebook, in_study, may_lack_weights


@dataclass(frozen=True)
class FinishedJobs:
    """All finished jobs: variant → its jobs, by seed."""

    task: EmbeddingTask
    jobs: dict[str, dict[int, Job]]
    left_out: dict[str, str]  # variant → why it is missing

    @cached_property
    def rows(self) -> np.ndarray:
        """Rows of the test queries."""
        return self.task.rows("test")

    @cached_property
    def groups(self) -> np.ndarray:
        """Products of the test queries: what the bootstrap resamples."""
        return self.task.queries.product_id.to_numpy()[self.rows]

    def __contains__(self, name: str) -> bool:
        return bool(self.jobs.get(name))

    def seeds(self, *names: str) -> list[int]:
        """Seeds that all the named variants have; none where one of them is missing."""
        return sorted(set.intersection(*(set(self.jobs.get(name, ())) for name in names)))

    def recall(
        self, name: str, seeds: list[int], k: int = 1, *, within: bool = False
    ) -> np.ndarray:
        """Identical Recall@k per seed and test query, float (n_seeds, n)."""
        return np.stack([recall_at_k(self._test(name, seed), k, within=within) for seed in seeds])

    def average_precision(self, name: str, seeds: list[int]) -> np.ndarray:
        """Average precision per seed and test query, float (n_seeds, n)."""
        wanted, offered = self.task.products
        n_identical = np.bincount(offered, minlength=max(wanted.max(), offered.max()) + 1)
        n_identical = n_identical[wanted[self.rows]]
        return np.stack([precision_of(self._test(name, seed), n_identical) for seed in seeds])

    def iou(self, name: str, seeds: list[int]) -> np.ndarray:
        """IoU with the true boxes per seed and test query, float (n_seeds, n)."""
        truth = self.task.boxes
        if truth is None:
            raise ValueError("the data have no true boxes")
        return np.stack([box_iou(self.boxes(name, seed), truth[self.rows]) for seed in seeds])

    def boxes(self, name: str, seed: int) -> np.ndarray:
        """Boxes of the test queries, float32 (n, 4)."""
        return self._test(name, seed).boxes

    def _test(self, name: str, seed: int) -> Judged:
        return self.jobs[name][seed].judged["test"]

    @property
    def trouble(self) -> list[str]:
        """What training complained of, over all variants and seeds."""
        return [
            f"{name}, seed {seed}: {text}"
            for name, by_seed in self.jobs.items()
            for seed, job in by_seed.items()
            for text in job.trouble
        ]


def recall_at_k(judged: Judged, k: int, *, within: bool = False) -> np.ndarray:
    """Identical Recall@k of each query, float (n,)."""
    hits = judged.hits_within if within else judged.hits
    return identical_recall_at_k(hits, np.ones(len(hits), bool), k)


def precision_of(judged: Judged, n_identical: np.ndarray) -> np.ndarray:
    """Average precision of each query, float (n,), of whose product so many pictures are there."""
    return average_precision(judged.hits, np.ones(len(judged.hits), bool), n_identical)


def gather(labs: list[EmbeddingLab]) -> FinishedJobs:
    """Read all that has been finished; train what else the notebook shows with the first seed.

    A job that is published, resting on the same code, settings and data, is read as it was
    published, whatever machine made it, and told in a line if it was another; then come the
    working files. What was published of other code, settings or data is left out, and named.
    """
    jobs: dict[str, dict[int, Job]] = {}
    left_out = {}
    made: Counter[str] = Counter()
    for name in in_study():
        for lab in labs:
            if not lab.is_possible(name):
                left_out[name] = (
                    "the data have no true boxes or no products of training photos, or their log "
                    "cannot be simulated"
                )
                continue
            try:
                if (found := _read(lab, name)) is not None:
                    jobs.setdefault(name, {})[lab.seed] = found.job
                    made[made_with(found.about)] += 1
                elif lab.is_done(name) or (name in in_notebook() and lab is labs[0]):
                    jobs.setdefault(name, {})[lab.seed] = lab.run(name)
                elif find_published(lab, name) is not None:
                    left_out[f"{name}, seed {lab.seed}"] = (
                        "what is published rests on other code, settings or data; "
                        "`vsa study` makes it anew"
                    )
            except InputError as error:
                if not may_lack_weights(name):
                    raise
                left_out[name] = str(error)
    here = made_with(environment_of(labs[0].device))
    for where, n_jobs in made.items():
        if where != here:
            print(f"{n_jobs} published jobs were made with {where}; here it is {here}")
    return FinishedJobs(labs[0].task, jobs, left_out)


def gather_points(labs: list[EmbeddingLab]) -> FinishedJobs:
    """Read the points of regimes that have been finished, and what the plain network finds.

    The latter is asked for now, with the first seed, if it was not.
    """
    jobs: dict[str, dict[int, Job]] = {}
    for name in (PLAIN, *POINTS):
        for lab in labs:
            if (found := _read(lab, name)) is not None:
                jobs.setdefault(name, {})[lab.seed] = found.job
            elif lab.is_done(name) or (name == PLAIN and lab is labs[0]):
                jobs.setdefault(name, {})[lab.seed] = lab.run(name)
    return FinishedJobs(labs[0].task, jobs, {})


def _read(lab: EmbeddingLab, name: str) -> Published | None:
    """A job as it was published for what it would rest on now; None if it is not, or damaged.

    None, too, if halved weights made it, and whole ones the job of the working files.
    """
    if lab.published is None:
        return None
    is_this = published_key(lab.published, name, lab.seed) == lab.identity(name)
    if lab.is_done(name) and is_wanted(lab, name, is_half=HALF in read_card(lab.path(name))):
        return None
    return find_published(lab, name) if is_this else None


def judged_test(finished: FinishedJobs, name: str) -> Judged:
    """The first seed's answer to the test queries, for pictures."""
    return finished.jobs[name][finished.seeds(name)[0]].judged["test"]
