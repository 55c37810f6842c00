"""The LEARN path: click log → triplets → the joint network, from the category network on.

Stages are wired here, in `vsa.study.catalogue.prepare` and in `vsa.engine`, and nowhere else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pandas as pd

from vsa.category import task as category_task
from vsa.data.descriptors import weak_features
from vsa.data.images import load_images
from vsa.embedding import task as embedding_task
from vsa.embedding.task import EmbeddingTask
from vsa.embedding.train import Images
from vsa.runtime.device import Device, pick_device
from vsa.study.catalogue.prepare import Shop, descriptor_images, open_shop
from vsa.study.category.experiment import run_seeds
from vsa.study.embedding.experiment import EmbeddingLab
from vsa.study.embedding.published import FOLDER
from vsa.study.embedding.slices import StudyJob, pick, plan
from vsa.study.run import Run
from vsa.study.simulate.clicks import simulate_pvlog


def prepare_learning(run: Run, shop: Shop) -> EmbeddingTask:
    """What click-mined training learns from; raises NotApplicable where there is nothing."""
    dataset, size_px = shop.dataset, run.settings.embedding.image_px
    queries = dataset.queries.dropna(subset="product_id").reset_index(drop=True)
    cache = run.artifacts / "images"
    images, local = [], []
    for table in (queries, shop.kept):
        images.append(load_images(dataset.root, table.path.tolist(), size_px, cache))
        local.append(weak_features(descriptor_images(run, dataset, table)))
    pair = (local[0], local[1])
    return embedding_task.make_task(queries, shop.kept, shop.pvlog, Images(*images), pair)


def open_labs(run: Run, shop: Shop, task: EmbeddingTask, device: Device) -> list[EmbeddingLab]:
    """One lab per seed of the study, each around the category network of that seed."""
    settings = run.settings.embedding
    labels = category_task.make_task(shop.dataset, shop.kept.image_id)
    category_task.require_labels(labels)

    def relog(noise_click_rate: float) -> pd.DataFrame:
        clicks = dataclasses.replace(run.settings.clicks, noise_click_rate=noise_click_rate)
        return simulate_pvlog(task.queries, task.catalogue, *task.local, clicks, run.seed)

    networks = run_seeds(labels, shop.dataset, run, device)[: settings.n_study_seeds]
    return [
        EmbeddingLab(
            task,
            settings,
            device,
            network.seed,
            run.artifacts / "embedding",
            {
                name.removeprefix("backbone."): value
                for name, value in network.state.items()
                if name.startswith("backbone.")
            },
            relog if shop.pvlog_is_simulated else None,
            run.reports / FOLDER,
        )
        for network in networks
    ]


def open_study(run: Run, patterns: Sequence[str] = ()) -> list[StudyJob]:
    """The jobs of a study whose variants fit one of the globs (all without one), in order.

    Raises NotApplicable where the data do not allow click-mined training, and InputError for a
    pattern that fits no variant.
    """
    pick(patterns)
    shop = open_shop(run)
    return plan(open_labs(run, shop, prepare_learning(run, shop), pick_device()), patterns)
