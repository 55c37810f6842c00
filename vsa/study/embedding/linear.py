"""Other clicks, judged cheaply: a linear adaptation of plain features takes seconds for each.

Two questions are asked that way, of the paper's mining and loss (section 3.2). *From how much noise
on does the filter pay?* The log is simulated with more and fewer stray clicks, and learned from raw
and filtered. *What is it worth that test products' catalogue pictures were seen while learning?*
They are left out of pages, mining and training, and judged by the same test photos.

Photos are looked at whole, by the plain network; dist fuses its features with classical
descriptors. So nothing here has seen a box, a category, or clicks of another log.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import faiss
import numpy as np

from vsa.embedding.adapt import Adapted, Judge, adapt, mapping, principal_components
from vsa.embedding.candidates import N_RANKED, Validation
from vsa.embedding.joint import Adaptation
from vsa.embedding.losses import PAPER
from vsa.embedding.mining import FeaturePair, Mining, PageViews, Triplets, make_pages
from vsa.embedding.task import EmbeddingTask, mine_clicks
from vsa.embedding.triplets import from_clicks
from vsa.models.backbones import weights_key
from vsa.runtime.atomic import atomic_file
from vsa.runtime.fingerprint import checksum, key, libraries
from vsa.study.embedding.looking import WHOLE, linear_versions
from vsa.study.settings import EmbeddingStudySettings

if TYPE_CHECKING:
    from vsa.study.embedding.experiment import EmbeddingLab

VERSION = 1
STRAY_RATES = (0.0, 0.02, 0.06, 0.12, 0.2)  # P(click | examined, another product)
_LEAST_STEPS = 8  # else half of those of the adaptation that may be served


@dataclass(frozen=True)
class Ground:
    """Features that a map is learned upon, and where it may start from."""

    features: FeaturePair  # unit principal components of the plain features
    offered: np.ndarray  # rows of the catalogue that may be learned from and be found meanwhile
    starts: dict[float, Adaptation]


@dataclass
class LinearStudy:
    """Maps learned from one lab's clicks, or others, with several seeds."""

    lab: EmbeddingLab
    seeds: Sequence[int]

    @property
    def task(self) -> EmbeddingTask:
        return self.lab.task

    @cached_property
    def test_images(self) -> np.ndarray:
        """Rows of the catalogue that show a product of the test photos."""
        wanted, offered = self.task.products
        return np.flatnonzero(np.isin(offered, wanted[self.task.rows("test")]))

    @cached_property
    def can_leave_out(self) -> bool:
        """Whether no product of a test photo is on another photo, so that it can be left out."""
        wanted = self.task.products[0]
        others = np.setdiff1d(np.arange(len(wanted)), self.task.rows("test"))
        return not np.isin(wanted[self.task.rows("test")], wanted[others]).any()

    @cached_property
    def ground(self) -> Ground:
        """With the whole catalogue, as everywhere else in this notebook."""
        return self._ground(np.arange(len(self.task.catalogue)))

    @cached_property
    def inductive_ground(self) -> Ground:
        """Without the pictures of test products."""
        everything = np.arange(len(self.task.catalogue))
        return self._ground(np.setdiff1d(everything, self.test_images))

    def pages(self, stray_rate: float) -> PageViews:
        """The pages of a log with that rate of stray clicks; needs one that is simulated."""
        if self.lab.relog is None:
            raise ValueError("an observed log cannot be simulated again")
        return make_pages(self.lab.relog(stray_rate), self.task.queries, self.task.catalogue)

    def mine(self, ground: Ground, pages: PageViews) -> Mining:
        """Raw and filtered triplets; ε and γ are chosen by validation photos, as everywhere."""
        return mine_clicks(self.task, ground.features, self.lab.seed, pages)

    def hits(self, ground: Ground, learned_from: Triplets) -> np.ndarray:
        """Whether each result of each test photo shows its product, bool (n_seeds, n, 60)."""
        return np.stack([self._hits(ground, learned_from, seed) for seed in self.seeds])

    def _hits(self, ground: Ground, learned_from: Triplets, seed: int) -> np.ndarray:
        s = self.lab.settings
        known = key(
            {
                "linear study": VERSION,
                **linear_versions(),
                **libraries("torch", "torchvision", "faiss-cpu"),
            },
            ground=self.lab.data,
            network=[s.describer, s.describer_px, weights_key(s.describer), repr(self.lab.device)],
            settings=[self._settings],
            learned_from=[checksum(array) for array in vars(learned_from).values()],
            offered=checksum(ground.offered),
            seed=seed,
        )
        target = self.lab.folder / "linear" / f"{known}.npy"
        if not target.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(target) as draft, draft.open("wb") as stream:
                np.save(stream, self._found(ground, learned_from, seed))
        return np.asarray(np.load(target))

    def learn(self, ground: Ground, learned_from: Triplets, seed: int) -> Adapted:
        """A map learned from these triplets; validation photos choose its start and its end."""
        photos, catalogue = ground.features
        source = from_clicks(learned_from, len(photos), len(catalogue))
        return adapt(
            [photos],
            catalogue,
            source,
            self.task.rows("train"),
            self._settings,
            PAPER,
            seed,
            self._judge(ground),
            starts=ground.starts,
        )

    def begin(self, ground: Ground) -> Adaptation:
        """Where validation photos let every map start: what none has learned from clicks."""
        judge = self._judge(ground)
        return max(ground.starts.values(), key=lambda head: judge(mapping(head)))

    def _judge(self, ground: Ground) -> Judge:
        """MAP of mapped features on validation photos."""
        photos, catalogue = ground.features
        jury = Validation.of(self.task)

        def judge(to: Callable[[np.ndarray], np.ndarray]) -> float:
            found = _nearest(to(photos[jury.rows]), to(catalogue[ground.offered]))
            return float(jury.of_ranking(ground.offered[found]).mean())

        return judge

    def _found(self, ground: Ground, learned_from: Triplets, seed: int) -> np.ndarray:
        photos, catalogue = ground.features
        to, rows = mapping(self.learn(ground, learned_from, seed).head), self.task.rows("test")
        wanted, offered = self.task.products
        return offered[_nearest(to(photos[rows]), to(catalogue))] == wanted[rows][:, None]

    @property
    def _settings(self) -> EmbeddingStudySettings:
        n_steps = max(_LEAST_STEPS, self.lab.settings.n_adapt_steps // 2)
        return dataclasses.replace(self.lab.settings, n_adapt_steps=n_steps)

    def _ground(self, offered: np.ndarray) -> Ground:
        """Principal components of what may be learned from, of all pictures."""
        looking, dim = self.lab.looking, self.lab.settings.adapted_dim
        photos, catalogue = looking.photos("plain", WHOLE), looking.catalogue
        learn = self.task.rows("train")
        middle, axes = _components(np.concatenate([photos[learn], catalogue[offered]]), dim)
        features = [_unit((side - middle) @ axes) for side in (photos, catalogue)]
        starts = principal_components(
            np.concatenate([features[0][learn], features[1][offered]]), dim
        )
        return Ground((features[0], features[1]), offered, starts)


def leave_out(pages: PageViews, images: np.ndarray) -> PageViews:
    """The same pages without some images, the others moved up."""
    stays = (pages.image >= 0) & ~np.isin(pages.image, images)
    order = np.argsort(~stays, axis=1, kind="stable")
    kept = np.take_along_axis(stays, order, axis=1)
    image = np.where(kept, np.take_along_axis(pages.image, order, axis=1), -1)
    return PageViews(pages.query, image, np.take_along_axis(pages.clicked, order, axis=1) & kept)


def _components(features: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) and first principal axes (d, ≤ dim) of features (n, d)."""
    middle = features.mean(axis=0)
    centred = features - middle
    _, axes = np.linalg.eigh(centred.T @ centred)  # in ascending order
    return middle, np.ascontiguousarray(axes[:, ::-1][:, : min(dim, *features.shape)])


def _unit(features: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(length, 1e-12), np.float32)


def _nearest(photos: np.ndarray, catalogue: np.ndarray) -> np.ndarray:
    """Rows of the nearest catalogue features, best first: int64 (n, ≤ 60)."""
    k = min(N_RANKED, len(catalogue))
    _, found = faiss.knn(photos, catalogue, k, faiss.METRIC_INNER_PRODUCT)
    return np.asarray(found)
