"""The OFFLINE path's last steps: trained network → features → index.

Stages are wired here, in the other rooms' ``prepare`` and in `vsa.engine`, and nowhere else.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from vsa.data.images import load_images
from vsa.embedding.extract import describe_catalogue
from vsa.runtime.device import pick_device
from vsa.runtime.fingerprint import checksum, key
from vsa.study.catalogue.prepare import Shop
from vsa.study.embedding.lab import Lab
from vsa.study.embedding.prepare import open_labs, prepare_learning
from vsa.study.embedding.variants import JOINT
from vsa.study.index.experiment import IndexLab
from vsa.study.index.task import Asked, IndexTask
from vsa.study.run import Run


def index_task(run: Run, shop: Shop, lab: Lab) -> IndexTask:
    """All catalogue images, and the photos that search them, as the joint network sees both.

    Photos are described behind the mask of their own box, catalogue images as they are.
    """
    net, task, dataset = lab.net(JOINT), lab.task, shop.dataset
    catalogue, kept = dataset.catalogue, shop.selection.kept.to_numpy()
    size_px, cache = run.settings.embedding.image_px, run.artifacts / "images"
    images = load_images(dataset.root, catalogue.path.tolist(), size_px, cache)
    folder = run.artifacts / "index" / f"features-{lab.path(JOINT).name}"
    whole = folder / f"catalogue-{_key(catalogue.path, images)}"
    features = describe_catalogue(net, images, lab.device, whole).features
    codes = pd.factorize(pd.concat([task.queries.product_id, catalogue.product_id]))[0]
    asking, offered = np.split(codes.astype(np.int64), [len(task.queries)])
    before = (task.queries.split == "test") & task.queries.product_id.isin(catalogue.product_id)
    chosen = {split: task.rows(split) for split in ("val", "test")}
    asked = {}
    for split, rows in (chosen | {"unselected": np.flatnonzero(before)}).items():
        photos = task.images.queries[rows]
        part = folder / f"photos-{_key(task.queries.path.iloc[rows], photos)}"
        found = describe_catalogue(net, photos, lab.device, part, boxes="own").features
        names = task.queries.category.fillna("").to_numpy(str)[rows]
        asked[split] = Asked(np.asarray(found), asking[rows], names)
    return IndexTask(
        np.asarray(features),
        offered,
        catalogue.category.to_numpy(str),
        kept,
        shop.selection.group.to_numpy(np.int64),
        asked["val"],
        asked["test"],
        asked["unselected"],
    )


def _key(paths: pd.Series, images: np.ndarray) -> str:
    """Fingerprint of images, uint8 (n, S, S, 3), by their paths and pixels.

    The network's own key does not know the images that selection removed.
    """
    return key({}, paths=paths.tolist(), pixels=checksum(images))


def index_lab(run: Run, shop: Shop) -> IndexLab:
    """Where notebook 04 experiments; raises NotApplicable where there are no features to index."""
    lab = open_labs(run, shop, prepare_learning(run, shop), pick_device())[0]
    folder = run.artifacts / "index"
    return IndexLab(index_task(run, shop, lab), run.settings.index, run.seed, folder)
