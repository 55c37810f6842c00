"""Jobs of regimes: learn from a shorter or longer log, or look at photos drawn once more.

They judge test photos only: nothing is chosen by them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from vsa.data import crops
from vsa.data.images import load_images
from vsa.embedding.adapt import mapping
from vsa.embedding.candidates import PLAIN, PLAIN_OBJECT
from vsa.embedding.describer import Describer, Look, describe_photos
from vsa.embedding.extract import FULL_BOX, locate
from vsa.embedding.joint import Adaptation
from vsa.embedding.mining import Mining, make_pages, mining_statistics
from vsa.models.backbones import weights_key
from vsa.runtime.fingerprint import Versions
from vsa.study.embedding import linear
from vsa.study.embedding.jobs import Found
from vsa.study.embedding.looking import linear_versions
from vsa.study.embedding.regimes import (
    FILTERED,
    JOINT_MASK,
    JOINT_WHOLE,
    NO_CLICKS,
    POINTS,
    SESSIONS,
    TRUE_CROP,
    TRUE_MASK,
    Point,
)
from vsa.study.embedding.variants import JOINT
from vsa.study.simulate import synthetic

if TYPE_CHECKING:
    from vsa.study.embedding.experiment import EmbeddingLab

_LOOKS: dict[str, Look] = {
    PLAIN: "whole",
    TRUE_MASK: "mask",
    PLAIN_OBJECT: "crop",
    TRUE_CROP: "crop",
    JOINT_WHOLE: "whole",
    JOINT_MASK: "mask",
}


@dataclass(frozen=True)
class Redrawn:
    """The test photos, in their order, drawn with an object of another size."""

    root: Path
    paths: list[str]
    boxes: np.ndarray  # float32 (n, 4), true ones


def start_of_regime(name: str) -> str:
    """The job whose network or boxes a point asks for; "" if it needs none."""
    arm = POINTS[name].arm
    return {JOINT_WHOLE: JOINT, JOINT_MASK: JOINT, PLAIN_OBJECT: PLAIN_OBJECT}.get(arm, "")


def rests_on(lab: EmbeddingLab, name: str) -> tuple[Versions, list[Any]]:
    """What a point rests on: versions; settings."""
    point, s = POINTS[name], lab.settings
    known: list[Any] = [s.describer, s.describer_px, weights_key(s.describer), point.at]
    if point.axis == SESSIONS:
        steps = [s.n_adapt_steps, s.n_adapt_triplets, s.adapt_learning_rate, s.adapt_margin]
        versions = linear_versions() | {"linear study": linear.VERSION}
        return versions, [*known, s.adapted_dim, *steps]
    return {"crops": crops.VERSION, "synthetic shop": synthetic.VERSION}, known


@dataclass
class Regimes:
    """The jobs of one lab."""

    lab: EmbeddingLab
    _mined: dict[float, Mining] = field(default_factory=dict)  # of the last log

    def answer(self, point: Point) -> tuple[Found, pd.DataFrame, dict[str, Any]]:
        """What is found for the test photos; the log of training; more facts for the job's card."""
        if point.axis == SESSIONS:
            return self._learn(point)
        return self._look(point), pd.DataFrame(), {}

    def _learn(self, point: Point) -> tuple[Found, pd.DataFrame, dict[str, Any]]:
        lab, study = self.lab, self.lab.linear
        if point.arm == NO_CLICKS:
            return self._mapped(study.begin(study.ground)), pd.DataFrame(), {}
        if point.at not in self._mined:  # raw and filtered clicks follow each other
            assert lab.log_of is not None
            log = lab.log_of(int(point.at), lab.seed)
            pages = make_pages(log, lab.task.queries, lab.task.catalogue)
            self._mined = {point.at: study.mine(study.ground, pages)}
        mined = self._mined[point.at]
        learned_from = mined.filtered if point.arm == FILTERED else mined.train.triplets
        learned = study.learn(study.ground, learned_from, lab.seed)
        facts = mining_statistics(learned_from, *lab.task.products)
        facts = {name: float(facts[name]) for name in ("triplets", "click_precision")}
        return self._mapped(learned.head), learned.log.assign(stage="adaptation"), facts

    def _mapped(self, head: Adaptation) -> Found:
        lab, to = self.lab, mapping(head)
        rows, (photos, catalogue) = lab.task.rows("test"), lab.linear.ground.features
        return Found(lab.rank(to(photos[rows]), to(catalogue), "test"), _whole(len(rows)))

    def _look(self, point: Point) -> Found:
        lab, arm = self.lab, point.arm
        assert lab.redraw is not None
        photos = lab.redraw(point.at, lab.seed)
        if arm in (JOINT_WHOLE, JOINT_MASK):
            net, catalogue = lab.joint
            describer = Describer(arm, net, lab.settings.image_px, "whole")
        else:
            describer, catalogue = lab.looking.base, lab.looking.catalogue
        describer = replace(describer, look=_LOOKS[arm])
        boxes = self._boxes(arm, photos)
        asked = (photos.root, photos.paths, boxes if describer.locates else None, lab.device)
        return Found(lab.rank(describe_photos(describer, *asked), catalogue, "test"), boxes)

    def _boxes(self, arm: str, photos: Redrawn) -> np.ndarray:
        lab = self.lab
        if arm in (TRUE_MASK, TRUE_CROP):
            return photos.boxes
        if arm == JOINT_MASK:
            squares = load_images(photos.root, photos.paths, lab.settings.image_px)
            return locate(lab.joint[0], squares, lab.device)
        if arm == PLAIN_OBJECT:
            squares = load_images(photos.root, photos.paths, lab.settings.objectness_px)
            return lab.looking.objectness.boxes(squares, lab.device)
        return _whole(len(photos.paths))


def _whole(n: int) -> np.ndarray:
    return np.tile(FULL_BOX, (n, 1))
