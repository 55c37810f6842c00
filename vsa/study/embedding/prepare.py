"""The LEARN path: click log → triplets → the joint network, from the category network on.

Stages are wired here, in `vsa.study.catalogue.prepare` and in `vsa.engine`, and nowhere else.
"""

from __future__ import annotations

import dataclasses

import pandas as pd

from vsa.data.descriptors import weak_features
from vsa.data.images import load_images
from vsa.embedding.train import Images
from vsa.runtime.device import Device, pick_device
from vsa.runtime.errors import InputError
from vsa.study.catalogue.prepare import Shop, descriptor_images, open_shop
from vsa.study.category import task as category_task
from vsa.study.category.experiment import run_seeds
from vsa.study.embedding import task as embedding_task
from vsa.study.embedding.baselines import baselines
from vsa.study.embedding.lab import Lab
from vsa.study.embedding.task import EmbeddingTask
from vsa.study.embedding.variants import in_study, is_sensitivity
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


def open_labs(run: Run, shop: Shop, task: EmbeddingTask, device: Device) -> list[Lab]:
    """One lab per seed of the study, each around the category network of that seed."""
    settings = run.settings.embedding
    labels = category_task.make_task(shop.dataset, shop.kept.image_id)
    category_task.require_labels(labels)

    def relog(noise_click_rate: float) -> pd.DataFrame:
        clicks = dataclasses.replace(run.settings.clicks, noise_click_rate=noise_click_rate)
        return simulate_pvlog(task.queries, task.catalogue, *task.local, clicks, run.seed)

    networks = run_seeds(labels, shop.dataset, run, device)[: settings.n_study_seeds]
    return [
        Lab(
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
        )
        for network in networks
    ]


def run_study(run: Run) -> None:
    """Train every variant with every seed; what is done is not done again.

    The comparisons come first and the sensitivities after them, each with one seed after the
    other: a study that was cut short has whole comparisons of its first seeds. Notebook 03 shows
    whatever has been trained when it is executed. Raises NotApplicable where the data do not
    allow click-mined training.
    """
    shop = open_shop(run)
    labs = open_labs(run, shop, prepare_learning(run, shop), pick_device())
    jobs = sorted(
        ((lab, name) for lab in labs for name in in_study() if lab.is_possible(name)),
        key=lambda job: is_sensitivity(job[1]),
    )
    for number, (lab, name) in enumerate(jobs, start=1):
        try:
            if lab.is_done(name):
                continue
            print(f"vsa: {run.name}, {number} of {len(jobs)}: {name}, seed {lab.seed}", flush=True)
            lab.run(name)
        except InputError as error:
            if name not in baselines():
                raise
            print(f"vsa: left out: {error}")
