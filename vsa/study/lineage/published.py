"""Rows of notebook 07 that earlier notebooks have trained and published: the paper's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd
from PIL import Image

from vsa.embedding.boxes import Objectness
from vsa.embedding.candidates import ADAPTED, PLAIN_OBJECT
from vsa.embedding.describer import Describer
from vsa.embedding.extract import describe, locate
from vsa.embedding.joint import JointNet
from vsa.study.embedding.experiment import EmbeddingLab
from vsa.study.embedding.jobs import JUDGED, read_found
from vsa.study.embedding.looking import OBJECT, Looking
from vsa.study.embedding.prepare import open_labs, open_network, prepare_learning
from vsa.study.lineage.lab import LineageLab
from vsa.study.lineage.methods import METHODS, Search, method
from vsa.study.lineage.pictures import Pictures

_CLICKS = ["clicks"]


def _network(lab: LineageLab) -> tuple[JointNet, int]:
    run, shop = lab.published_by
    return lab.once("joint network", lambda: open_network(run, shop))


def jobs(lab: LineageLab) -> EmbeddingLab:
    """The lab of notebook 03, of the first seed."""
    run, shop = lab.published_by

    def opened() -> EmbeddingLab:
        task = prepare_learning(run, shop)
        return open_labs(run, shop, task, lab.ground.device)[0]

    return lab.once("lab of notebook 03", opened)


@METHODS.register("the paper: joint network, masked")
@method("the paper", needs=_CLICKS, effort=4, reads=True)
def masked(lab: LineageLab, seed: int) -> Search:
    """Zhang et al. (2018) mask a photo by a learned box, and learn both from clicks.

    Kept is the network of notebook 03, photos behind their own mask and catalogue pictures whole;
    it sees smaller pictures than the frozen network where the profile says so.
    """
    net, px = _network(lab)
    device = lab.ground.device
    offered = describe(net, lab.catalogue.at(px), device).features
    of_photos = lab.by_features(
        lambda photos: describe(net, photos.at(px), device, boxes="own").features, offered=offered
    )
    return Search(of_photos.rank, of_photos.n_bytes, lambda p: locate(net, p.at(px), device))


@METHODS.register("the paper: learned box, looked at again")
@method("the paper", needs=_CLICKS, effort=4, reads=True)
def cropped(lab: LineageLab, seed: int) -> Search:
    """Zhang et al. (2018) learn where the object is from clicks alone.

    Kept are the joint network's boxes; what they show is described by the frozen network, as the
    boxes of all other rows, and the mask is left out.
    """
    net, px = _network(lab)
    return lab.by_boxes(lambda photos: locate(net, photos.at(px), lab.ground.device))


@METHODS.register("objectness, from clicks")
@method("since", needs=_CLICKS, effort=3, reads=True)
def objectness(lab: LineageLab, seed: int) -> Search:
    """Clicks tell what goods look like before a plain ground, which finds them in photos (ours).

    Kept is the score of notebook 03, as it was learned there from clicks by the pretrained
    network; what its boxes show is described by the frozen network.
    """
    return lab.by_boxes(goods(lab)[1])


def goods(lab: LineageLab) -> tuple[Objectness, Callable[[Pictures], np.ndarray]]:
    """The objectness of notebook 03, and where it sees goods in photos, float32 (n, 4)."""
    looking = looking_of(lab)
    found, device = looking.objectness, lab.ground.device

    def locate(photos: Pictures) -> np.ndarray:
        rows = _judged(looking.lab, photos)
        if rows is None:
            return found.boxes(photos.at(found.image_px), device)
        return looking.boxes(OBJECT)[rows]

    return found, lab.shared("objectness", locate)


def looking_of(lab: LineageLab) -> Looking:
    """Who looks in notebook 03; where goods were seen is read back from the job that kept it."""

    def made() -> Looking:
        study = jobs(lab)
        study.run(PLAIN_OBJECT)
        boxes = np.full((len(study.task.queries), 4), np.nan, np.float32)
        for split, found in read_found(study.path(PLAIN_OBJECT)).items():
            boxes[study.task.rows(split)] = found.boxes
        return dataclasses.replace(study.looking, _found={OBJECT: boxes})

    return lab.once("looking of notebook 03", made)


def _judged(study: EmbeddingLab, photos: Pictures) -> np.ndarray | None:
    """Rows of photos among those that notebook 03 judges; None if one is not, or has no file."""
    task = study.task
    judged = np.concatenate([task.rows(split) for split in JUDGED])
    rows = pd.Series(judged, task.queries.path.to_numpy()[judged])
    if photos.given is not None or not np.isin(photos.paths, rows.index).all():
        return None
    return rows[list(photos.paths)].to_numpy()


@METHODS.register("linear adaptation, from clicks")
@method("since", needs=_CLICKS, effort=2, reads=True)
def adapted(lab: LineageLab, seed: int) -> Search:
    """ILIAS (2025) finds that a linear layer on a frozen pretrained network pays most.

    Kept is that of notebook 03, learned from mined clicks by the paper's loss upon a pretrained
    network, at that notebook's size of pictures; networks of the size of ILIAS' are left out.
    """
    looking = looking_of(lab)
    served = looking.describer(ADAPTED)
    return lab.by_features(
        lambda pictures: described(lab, served, pictures, None),
        offered=looking.offered("adapted"),
    )


def described(
    lab: LineageLab, by: Describer, photos: Pictures, boxes: np.ndarray | None
) -> np.ndarray:
    """Features of photos, float32 (n, d), as a describer of notebook 03 looks at them.

    What that notebook has described is read back; other photos are looked at from their pixels.
    `boxes` are float32 (n, 4), or None where it looks at whole photos.
    """
    looking = looking_of(lab)
    if (rows := _judged(looking.lab, photos)) is not None:
        who, _, how = by.name.partition(", ")
        return looking.photos(who, how)[rows]
    seen = boxes if boxes is not None else [None] * len(photos)
    return np.stack(
        [
            by.describe(Image.fromarray(photo), box, lab.ground.device)
            for photo, box in zip(photos.detail, seen, strict=True)
        ]
    )
