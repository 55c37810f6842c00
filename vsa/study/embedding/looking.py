"""Whole, behind a mask, or at the box again: the ways of looking at a photo, and who looks.

Three describers look: *plain* is a pretrained network as it is, *adapted* a linear adaptation of
its features, learned from the mined clicks, and *joint* the paper's network. Learned boxes are
those of the joint network, objectness boxes those of `vsa.embedding.boxes`, both from clicks alone;
*photo and objectness crop* is the mean of two looks.
What they are compared with: the best constant box, the most active part of the pretrained network's
last map, objectness that has learned from true boxes, and the true boxes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from vsa.data import crops
from vsa.data.images import load_images
from vsa.embedding import adapt as adaptation
from vsa.embedding import boxes as objectness
from vsa.embedding import mining, triplets, which_clicks
from vsa.embedding.adapt import mapping
from vsa.embedding.boxes import Objectness, learn_objectness
from vsa.embedding.candidates import (
    ADAPTED,
    MASKED,
    PLAIN,
    PLAIN_BOTH,
    PLAIN_OBJECT,
    Validation,
)
from vsa.embedding.describer import (
    Describer,
    Look,
    adapted,
    describe_photos,
    mean_features,
    plain,
)
from vsa.embedding.extract import FULL_BOX, locate
from vsa.embedding.joint import Adaptation
from vsa.embedding.local import pretrained_features
from vsa.embedding.losses import LOSSES, PAPER
from vsa.embedding.which_clicks import AdaptedByBest, adapt_by_best, triplet_sources
from vsa.models.backbones import weights_key
from vsa.runtime.atomic import atomic_file
from vsa.runtime.fingerprint import Versions, checksum, key
from vsa.study.embedding.activation import activation_boxes
from vsa.study.embedding.jobs import JUDGED, read_weights
from vsa.study.embedding.variants import (
    ACTIVATION_CROP,
    CONSTANT_CROP,
    JOINT,
    SUPERVISED_CROP,
)

if TYPE_CHECKING:
    from vsa.study.embedding.experiment import EmbeddingLab

WHOLE, MASK, CROP, TRUE = "whole photo", "mask", "learned crop", "true crop"
OBJECT, CONSTANT, BOTH = "objectness crop", "constant crop", "photo and objectness crop"
ACTIVATION, SUPERVISED = "activation crop", "supervised crop"
_CROPS = (CROP, TRUE, OBJECT, CONSTANT, ACTIVATION, SUPERVISED)
_LOOK: dict[str, Look] = {
    WHOLE: "whole",
    MASK: "mask",
    BOTH: "both",
    **dict.fromkeys(_CROPS, "crop"),
}
_LOCATED_BY_STAGES = (OBJECT, BOTH, ACTIVATION, SUPERVISED)  # of the pretrained network
_OF_ITSELF = (PLAIN, PLAIN_OBJECT, PLAIN_BOTH, CONSTANT_CROP, ACTIVATION_CROP, SUPERVISED_CROP)


def start_of_look(name: str) -> str:
    """The job whose network a way of looking asks for features or boxes."""
    if name in _OF_ITSELF:
        return ""
    is_mapped = name.startswith("adapted") and name != ADAPTED
    return ADAPTED if is_mapped else JOINT


def linear_versions() -> Versions:
    """Versions of what a linear map of features learns by."""
    return {
        "adaptation": adaptation.VERSION,
        "mining": mining.VERSION,
        "triplets": triplets.VERSION,
        f"loss {PAPER}": LOSSES.identity(PAPER),
    }


def rests_on(lab: EmbeddingLab, name: str) -> tuple[Versions, list[Any]]:
    """What a way of looking rests on: versions; settings."""
    s = lab.settings
    versions: Versions = {"crops": crops.VERSION}
    if name.startswith("joint"):
        return versions, []
    known = [s.describer, s.describer_px, weights_key(s.describer)]
    if name.partition(", ")[2] in _LOCATED_BY_STAGES:
        versions["objectness"] = objectness.VERSION
        known.append(s.objectness_px)
    if name.startswith("plain"):
        return versions, known
    versions |= linear_versions() | {"which clicks": which_clicks.VERSION}
    steps = [s.n_adapt_steps, s.n_adapt_triplets, s.adapt_learning_rate, s.adapt_margin]
    return versions, [*known, s.adapted_dim, *steps]


@dataclass
class Looking:
    """Features of one lab's pictures, by whoever looks, and however."""

    lab: EmbeddingLab
    root: Path  # of the pictures' files
    cache: Path  # of decoded pictures
    _found: dict[str, np.ndarray] = field(default_factory=dict)  # how → boxes

    @cached_property
    def base(self) -> Describer:
        """The plain describer; raises InputError where its weights cannot be had."""
        s = self.lab.settings
        return plain(s.describer, s.describer_px, self.lab.device)

    @cached_property
    def joint(self) -> Describer:
        """The paper's network, behind the mask of its own box."""
        return Describer(MASKED, self.lab.net(JOINT), self.lab.settings.image_px, "mask")

    @cached_property
    def learned(self) -> np.ndarray:
        """Boxes of all queries, learned from clicks: float32 (n, 4)."""
        return locate(self.lab.net(JOINT), self.lab.task.images.queries, self.lab.device)

    def boxes(self, how: str) -> np.ndarray:
        """The box that each query is looked at by, float32 (n, 4)."""
        if how == WHOLE:
            return np.tile(FULL_BOX, (len(self.lab.task.queries), 1))
        if how == TRUE:
            assert self.lab.task.boxes is not None
            return self.lab.task.boxes
        if how == CONSTANT:
            assert self.lab.task.boxes is not None
            box = np.median(self.lab.task.boxes[self.lab.task.rows("train")], axis=0)
            return np.tile(box, (len(self.lab.task.queries), 1))
        return self._located(how) if how in _LOCATED_BY_STAGES else self.learned

    def _located(self, how: str) -> np.ndarray:
        """Boxes by stages of the pretrained network, of judged queries; NaN of others."""
        how = OBJECT if how == BOTH else how
        if how not in self._found:
            task, s, device = self.lab.task, self.lab.settings, self.lab.device
            rows = np.concatenate([task.rows(split) for split in JUDGED])
            paths = task.queries.path.iloc[rows].tolist()
            squares = load_images(self.root, paths, s.objectness_px, self.cache)
            boxes = np.full((len(task.queries), 4), np.nan, np.float32)
            if how == ACTIVATION:
                boxes[rows] = activation_boxes(s.describer, squares, device)
            else:
                by = self.objectness if how == OBJECT else self._learn_objectness(task.boxes)
                boxes[rows] = by.boxes(squares, device)
            self._found[how] = boxes
        return self._found[how]

    def learn_objectness(self) -> Objectness:
        """Learn it from the clicks, for the job that keeps it."""
        self.objectness = self._learn_objectness()  # the job is not finished yet
        return self.objectness

    def _learn_objectness(self, boxes: np.ndarray | None = None) -> Objectness:
        lab, s = self.lab, self.lab.settings
        known = (lab.task, self.root, s.describer, s.objectness_px, lab.device, self.cache)
        return learn_objectness(*known, boxes=boxes)

    @cached_property
    def objectness(self) -> Objectness:
        """What clicks have taught, of the finished job."""
        lab, s = self.lab, self.lab.settings
        lab.run(PLAIN_OBJECT)
        kept = read_weights(lab.path(PLAIN_OBJECT))
        net = pretrained_features(s.describer, lab.device)
        return Objectness(net, kept["score"].numpy(), s.objectness_px, float(kept["centre"]))

    def photos(self, who: str, how: str) -> np.ndarray:
        """Unit features of all queries, float32 (n, d); NaN where nobody asks for them.

        Training photos are looked at whole and at learned crops, which the adaptation learns from.
        """
        if how == BOTH:
            return mean_features(self.photos(who, WHOLE), self.photos(who, OBJECT))
        if who == "adapted":
            return mapping(self.head)(self.photos("plain", how))
        task = self.lab.task
        rows = np.concatenate([task.rows(split) for split in JUDGED])
        if who == "plain" and how in (WHOLE, CROP):
            rows = np.concatenate([rows, task.rows("train")])
        rows = np.unique(rows)
        describer = replace(self.base if who == "plain" else self.joint, look=_LOOK[how])
        paths = task.queries.path.iloc[rows].tolist()
        boxes = self.boxes(how)[rows]

        def look() -> np.ndarray:
            given = boxes if describer.locates else None
            return describe_photos(describer, self.root, paths, given, self.lab.device, self.cache)

        found = look() if who == "joint" else self._kept(how, paths, boxes, look)
        features = np.full((len(task.queries), found.shape[1]), np.nan, np.float32)
        features[rows] = found
        return features

    @cached_property
    def catalogue(self) -> np.ndarray:
        """Unit features of the catalogue by the plain network, float32 (m, d)."""
        paths = self.lab.task.catalogue.path.tolist()
        whole = np.tile(FULL_BOX, (len(paths), 1))
        return self._kept(
            "catalogue",
            paths,
            whole,
            lambda: describe_photos(self.base, self.root, paths, None, self.lab.device, self.cache),
        )

    def offered(self, who: str) -> np.ndarray:
        """Unit features of the catalogue, float32 (m, d)."""
        if who == "joint":
            return self.lab.joint[1]
        return mapping(self.head)(self.catalogue) if who == "adapted" else self.catalogue

    def adapt(self) -> AdaptedByBest:
        """Learn the linear adaptation from clicks, raw or filtered, as validation photos choose."""
        lab = self.lab
        task, s = lab.task, lab.settings
        views = [self.photos("plain", how) for how in (WHOLE, CROP)]
        sources = triplet_sources(lab.mining(), len(task.queries), len(task.catalogue))
        jury, offered = Validation.of(task), self.catalogue
        val = jury.rows

        def judge(to: Callable[[np.ndarray], np.ndarray]) -> float:
            return float(np.mean([jury.score(to(view[val]), to(offered)) for view in views]))

        learn_from = task.rows("train")
        found = adapt_by_best(views, offered, sources, learn_from, s, PAPER, lab.seed, judge)
        self.head = found.head  # the job that keeps it is not finished yet
        return found

    @cached_property
    def head(self) -> Adaptation:
        """The learned adaptation, of the finished job."""
        self.lab.run(ADAPTED)
        state = read_weights(self.lab.path(ADAPTED))
        dim, n_features = state["linear.weight"].shape
        head = Adaptation(n_features, dim)
        head.load_state_dict(state)
        return head.eval()

    def describer(self, name: str) -> Describer:
        """A candidate, to be served."""
        who, _, how = name.partition(", ")
        look = _LOOK[how]
        if who == "adapted":
            found = adapted(self.base, self.head, look, name)
            return replace(found, localiser=self.objectness if how in (OBJECT, BOTH) else None)
        if how in (OBJECT, BOTH):
            return replace(self.base, look=look, name=name, localiser=self.objectness)
        return replace(self.base if who == "plain" else self.joint, look=look, name=name)

    def _kept(
        self,
        what: str,
        paths: list[str],
        boxes: np.ndarray,
        look: Callable[[], np.ndarray],
    ) -> np.ndarray:
        """Features by the plain network, of this folder if they have been made before."""
        lab, s = self.lab, self.lab.settings
        known = key(
            {"crops": crops.VERSION},
            ground=lab.data,
            network=[s.describer, s.describer_px, weights_key(s.describer), repr(lab.device)],
            what=[what, paths],
            boxes=checksum(boxes),
        )
        target = lab.folder / f"view-{known}.npy"
        if not target.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(target) as draft, draft.open("wb") as stream:
                np.save(stream, look())
        return np.load(target)


def curve_of(found: AdaptedByBest) -> dict[str, Any]:
    """What a card says of the choices that validation photos made."""
    return {
        "curve": found.curve.to_dict("list"),
        "power": found.power,
        "clicks": found.clicks,
        "kept_step": found.step,
    }


def log_of(found: AdaptedByBest) -> pd.DataFrame:
    """The log of training, as those of other jobs."""
    return found.log.assign(stage="adaptation")
