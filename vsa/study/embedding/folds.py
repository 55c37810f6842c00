"""Five folds: every product is judged once, by what has learned from the others' clicks alone.

A test split of some hundred photos tells small differences from none by luck. What is learned upon
features of a network that stays as it was pretrained, objectness and a linear adaptation, takes
seconds; so it is learned five times, each time from the photos of three folds of products, with
another fold to choose by, and judged on the fifth (paper section 3.2).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import faiss
import numpy as np
import pandas as pd

from vsa.data import crops
from vsa.data.images import load_images
from vsa.data.stable import product_folds
from vsa.embedding import boxes as objectness
from vsa.embedding import which_clicks
from vsa.embedding.adapt import mapping
from vsa.embedding.boxes import MAX_CLICKED, MAX_PHOTOS, best_boxes, count_clicks, learn_from_clicks
from vsa.embedding.candidates import (
    ADAPTED,
    ADAPTED_BOTH,
    ADAPTED_OBJECT,
    N_RANKED,
    PLAIN,
    PLAIN_BOTH,
    PLAIN_OBJECT,
    Validation,
)
from vsa.embedding.describer import describe_photos, mean_features
from vsa.embedding.local import first_centre, local_features, pretrained_features
from vsa.embedding.losses import PAPER
from vsa.embedding.task import EmbeddingTask, mine_clicks
from vsa.embedding.which_clicks import adapt_by_best, triplet_sources
from vsa.models.backbones import weights_key
from vsa.runtime.atomic import atomic_file
from vsa.runtime.fingerprint import key, libraries
from vsa.study.embedding.experiment import EmbeddingLab
from vsa.study.embedding.looking import WHOLE, linear_versions
from vsa.study.embedding.variants import TRUE_CROPS

VERSION = 1
N_FOLDS = 5
_LEAST_PRODUCTS = 50


@dataclass
class FoldStudy:
    """What five folds find, of one lab's photos."""

    lab: EmbeddingLab

    @property
    def task(self) -> EmbeddingTask:
        return self.lab.task

    @cached_property
    def is_possible(self) -> bool:
        """Whether products part the splits already, and are enough to be parted once more."""
        of_product = self.task.queries.groupby("product_id", dropna=False)
        is_known = self.task.queries.product_id.notna().all()
        are_apart = of_product.split.nunique().max() == 1
        return bool(is_known and are_apart and of_product.ngroups >= _LEAST_PRODUCTS)

    @cached_property
    def folds(self) -> np.ndarray:
        """Of the queries, int64 (n,)."""
        return product_folds(self.task.queries.product_id)

    @cached_property
    def rows(self) -> np.ndarray:
        """Queries whose product is for sale: they are judged."""
        wanted, offered = self.task.products
        return np.flatnonzero(np.isin(wanted, offered))

    def part(self, fold: int) -> EmbeddingTask:
        """The task with one fold to test, the next to choose by, and the others to learn from."""
        after = (fold + 1) % N_FOLDS
        split = np.where(self.folds == fold, "test", np.where(self.folds == after, "val", "train"))
        return dataclasses.replace(self.task, queries=self.task.queries.assign(split=split))

    def hits(self) -> dict[str, np.ndarray]:
        """Method → whether each result of each judged photo shows its product, bool (n, 60)."""
        s = self.lab.settings
        known = key(
            {
                "folds": VERSION,
                "objectness": objectness.VERSION,
                "crops": crops.VERSION,
                "which clicks": which_clicks.VERSION,
                **linear_versions(),
                **libraries("torch", "torchvision", "faiss-cpu"),
            },
            ground=self.lab.data,
            network=[s.describer, s.describer_px, weights_key(s.describer), repr(self.lab.device)],
            settings=[s.objectness_px, s.adapted_dim, s.n_adapt_steps, s.n_adapt_triplets],
            rates=[s.adapt_learning_rate, s.adapt_margin],
            seed=self.lab.seed,
        )
        target = self.lab.folder / "folds" / f"{known}.npz"
        if not target.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            found = self._ask()
            with atomic_file(target) as draft, draft.open("wb") as stream:
                np.savez_compressed(stream, allow_pickle=False, **found)
        with np.load(target) as arrays:
            return {name: arrays[name] for name in arrays.files}

    def _ask(self) -> dict[str, np.ndarray]:
        catalogue = self.lab.looking.catalogue
        whole, boxes = self._whole(), self._boxes()
        views = {PLAIN: whole, PLAIN_OBJECT: self._crops(boxes)}
        if self.task.boxes is not None:
            views[TRUE_CROPS[0]] = self._crops(self.task.boxes)
        names = {PLAIN: ADAPTED, PLAIN_OBJECT: ADAPTED_OBJECT, TRUE_CROPS[0]: TRUE_CROPS[1]}
        shape = len(self.task.queries), min(N_RANKED, len(catalogue))
        asked = (*views, *(names[view] for view in views), PLAIN_BOTH, ADAPTED_BOTH)
        found = {name: np.zeros(shape, bool) for name in asked}
        for fold in range(N_FOLDS):
            to = self._adapt(self.part(fold), whole)
            rows = self.rows[self.folds[self.rows] == fold]
            photos = {name: view[rows] for name, view in views.items()}
            photos |= {names[name]: to(view) for name, view in photos.items()}
            photos[PLAIN_BOTH] = mean_features(photos[PLAIN], photos[PLAIN_OBJECT])
            photos[ADAPTED_BOTH] = mean_features(photos[ADAPTED], photos[ADAPTED_OBJECT])
            for name, features in photos.items():
                offered = catalogue if name.startswith("plain") else to(catalogue)
                found[name][rows] = self._hits(features, offered, rows)
        return {name: hits[self.rows] for name, hits in found.items()}

    def _hits(self, photos: np.ndarray, catalogue: np.ndarray, rows: np.ndarray) -> np.ndarray:
        wanted, offered = self.task.products
        k = min(N_RANKED, len(catalogue))
        _, near = faiss.knn(photos, catalogue, k, faiss.METRIC_INNER_PRODUCT)
        hits: np.ndarray = offered[near] == wanted[rows][:, None]
        return hits

    def _adapt(self, task: EmbeddingTask, photos: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """Learned from whole photos of the learning folds; the choosing fold judges."""
        lab, catalogue = self.lab, self.lab.looking.catalogue
        mined = mine_clicks(task, (photos, catalogue), lab.seed)
        sources = triplet_sources(mined, len(photos), len(catalogue))
        jury = Validation.of(task)

        def judge(to: Callable[[np.ndarray], np.ndarray]) -> float:
            return jury.score(to(photos[jury.rows]), to(catalogue))

        rows = task.rows("train")
        known = (lab.settings, PAPER, lab.seed, judge)
        return mapping(adapt_by_best([photos], catalogue, sources, rows, *known).head)

    def _boxes(self) -> np.ndarray:
        """Objectness boxes of all queries, each by the clicks of other folds: float32 (n, 4)."""
        net = pretrained_features(self.lab.settings.describer, self.lab.device)
        centre = first_centre(net, self.lab.device)

        def maps(table: pd.DataFrame, rows: np.ndarray) -> np.ndarray:
            paths, px = table.path.iloc[rows].tolist(), self.lab.settings.objectness_px
            squares = load_images(self.lab.looking.root, paths, px, self.lab.looking.cache)
            return local_features(net, squares, self.lab.device).astype(np.float16)

        task = self.task
        photos = maps(task.queries, np.arange(len(task.queries)))
        counts = [count_clicks(self.part(fold)) for fold in range(N_FOLDS)]
        chosen = [np.argsort(-n, kind="stable")[:MAX_CLICKED] for n in counts]
        chosen = [rows[n[rows] > 0] for rows, n in zip(chosen, counts, strict=True)]
        clicked = np.unique(np.concatenate(chosen))
        pictures = maps(task.catalogue, clicked)
        boxes = np.empty((len(photos), 4), np.float32)
        for fold in range(N_FOLDS):
            rows = self.part(fold).rows("train")
            rows = rows[:: max(1, -(-len(rows) // MAX_PHOTOS))]
            at = np.searchsorted(clicked, chosen[fold])
            learn = photos[rows].astype(np.float32), pictures[at].astype(np.float32)
            weight = learn_from_clicks(*learn, counts[fold][chosen[fold]], centre)
            asked = np.flatnonzero(self.folds == fold)
            boxes[asked] = best_boxes(photos[asked].astype(np.float32) @ weight, centre)
        return boxes

    def _whole(self) -> np.ndarray:
        """Features of all photos; of test photos whose product is not for sale nobody else asks."""
        looking = self.lab.looking
        photos = looking.photos("plain", WHOLE)
        rows = np.flatnonzero(np.isnan(photos).any(axis=1))
        if len(rows):
            paths = self.task.queries.path.iloc[rows].tolist()
            photos[rows] = describe_photos(
                looking.base, looking.root, paths, None, self.lab.device, looking.cache
            )
        return photos

    def _crops(self, boxes: np.ndarray) -> np.ndarray:
        looking = self.lab.looking
        describer = replace(looking.base, look="crop")
        paths = self.task.queries.path.tolist()
        return describe_photos(
            describer, looking.root, paths, boxes, self.lab.device, looking.cache
        )
