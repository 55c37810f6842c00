"""What notebook 03 learns from, and the labs that learn: one per seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from vsa.data import decoding, images
from vsa.data.datasets import DATASETS, find_source
from vsa.data.images import load_images
from vsa.embedding import task as embedding_task
from vsa.embedding.candidates import PLAIN
from vsa.embedding.describer import Describer, read_describer, write_describer
from vsa.embedding.joint import JointNet
from vsa.embedding.task import EmbeddingTask
from vsa.embedding.train import Images
from vsa.models.backbones import weights_key
from vsa.runtime.atomic import atomic_dir, settled
from vsa.runtime.checked import check_manifest
from vsa.runtime.device import Device, pick_device
from vsa.runtime.errors import NotApplicable
from vsa.study.catalogue.prepare import Shop, open_shop, weak_descriptors
from vsa.study.category.experiment import learned_by, run_seeds, supervised
from vsa.study.category.prepare import prepare_categories
from vsa.study.embedding.experiment import EmbeddingLab
from vsa.study.embedding.finished import FinishedJobs
from vsa.study.embedding.looks import choose_candidate, lead_of
from vsa.study.embedding.published import FOLDER
from vsa.study.embedding.regime_jobs import Redrawn
from vsa.study.embedding.regimes import ALONE
from vsa.study.embedding.slices import StudyJob, pick, plan
from vsa.study.embedding.variants import JOINT
from vsa.study.predecessors import leave, made_by
from vsa.study.run import Run
from vsa.study.simulate import signals, synthetic
from vsa.study.simulate.clicks import simulate_pvlog
from vsa.study.simulate.settings import SyntheticSize
from vsa.trained import read_network, write_network


def prepare_learning(run: Run, shop: Shop) -> EmbeddingTask:
    """What click-mined training learns from; raises NotApplicable where there is nothing."""
    dataset, size_px = shop.dataset, run.settings.embedding.image_px
    queries = shop.clicked_queries
    cache = run.artifacts / "images"
    squares, local = [], []
    for table in (queries, shop.kept):
        squares.append(load_images(dataset.root, table.path.tolist(), size_px, cache))
        local.append(weak_descriptors(run, dataset, table))
    pair = (local[0], local[1])
    return embedding_task.make_task(queries, shop.kept, shop.pvlog, Images(*squares), pair)


def open_labs(
    run: Run,
    shop: Shop,
    task: EmbeddingTask,
    device: Device,
    *,
    every_seed: bool = False,
    networks: bool = True,
) -> list[EmbeddingLab]:
    """One lab per seed of the study, each around the category network of that seed.

    The whole of it is trained, where notebook 02 serves a softmax over a frozen one, too. Unless
    every seed is asked for, those after the first are left out of which no job has been made.
    Without `networks` none is trained, and only jobs can be done that need none.
    """
    settings = run.settings.embedding

    def relog(noise_click_rate: float) -> pd.DataFrame:
        clicks = dataclasses.replace(run.settings.clicks, noise_click_rate=noise_click_rate)
        return simulate_pvlog(task.queries, task.catalogue, *task.local, clicks, run.seed)

    def log_of(n_sessions: int, seed: int) -> pd.DataFrame:
        """Photos of the test split are left out: nobody learns from their page views."""
        learn_from = (task.queries.split != "test").to_numpy()
        clicks = dataclasses.replace(run.settings.clicks, n_sessions_per_query=n_sessions)
        photos, offered = task.local
        asked = task.queries[learn_from]
        return simulate_pvlog(asked, task.catalogue, photos[learn_from], offered, clicks, seed)

    def redraw(share: float, seed: int) -> Redrawn:
        size = SyntheticSize(**run.settings.data)
        ids = task.queries.query_id.iloc[task.rows("test")].tolist()
        return Redrawn(*synthetic.redraw(size, run.seed, ids, share, seed))

    is_rendered = find_source(run.dataset).settings is SyntheticSize
    category = supervised(run.settings.category)
    n_seeds = min(category.n_seeds, settings.n_study_seeds)
    first, *later = range(run.seed, run.seed + n_seeds)
    seeds = [first, *(seed for seed in later if every_seed or _has_jobs(run, seed))]
    states: dict[int, dict[str, Tensor]] = {seed: {} for seed in seeds}
    if networks:
        trained = run_seeds(prepare_categories(shop), shop.dataset, run, device, category, seeds)
        states = {network.seed: network.state for network in trained}
    return [
        EmbeddingLab(
            task,
            settings,
            device,
            seed,
            run.artifacts / _JOBS,
            {
                name.removeprefix("backbone."): value
                for name, value in state.items()
                if name.startswith("backbone.")
            },
            relog if shop.pvlog_is_simulated else None,
            log_of if shop.pvlog_is_simulated else None,
            redraw if is_rendered else None,
            run.reports / FOLDER,
            _origin(run),
            (shop.dataset.root, run.artifacts / "images"),
        )
        for seed, state in states.items()
    ]


def _has_jobs(run: Run, seed: int) -> bool:
    """Whether a study has begun or published a job of that seed."""
    made = (run.artifacts / _JOBS).glob(f"*-seed-{seed}-*")
    published = (run.reports / FOLDER).glob(f"*-seed-{seed}.npz")
    return any(made) or any(published)


def _origin(run: Run) -> dict[str, Any] | None:
    """What pictures and category networks are made from; None for data of somebody's own."""
    if run.dataset not in DATASETS or not DATASETS.is_own(run.dataset):
        return None
    category = supervised(run.settings.category)
    versions = (images.VERSION, decoding.VERSION, synthetic.VERSION, signals.VERSION)
    return {
        "dataset": [run.dataset, run.settings.data, run.seed],
        "pictures": versions,
        "category": learned_by(category),
        "weights": weights_key(category.architecture) if category.pretrained else "",
    }


_JOBS = "embedding"  # folder of working files, of the run's artefacts
_PLAIN_HITS = "plain.npy"


def network_folder(run: Run) -> Path:
    """Where notebook 03 publishes the joint network that later ones read."""
    return run.artifacts / _JOBS / "network"


def publish_network(run: Run, lab: EmbeddingLab, finished: FinishedJobs) -> Path:
    """Publish the first seed's joint network and the describer that validation photos choose.

    The describer's card says how far it is ahead of the plain one on test photos.
    Beside them lies what the plain describer found for test photos, to be compared with. Replaces
    what was published before.
    """
    name = choose_candidate(finished, lab.seed).name
    with atomic_dir(network_folder(run), marker="card.json") as draft:
        write_network(draft, lab.net(JOINT), lab.settings.image_px)
        (draft / "describer").mkdir()
        lead = lead_of(finished, name, run.settings.n_bootstrap, run.seed)
        served = dataclasses.replace(lab.looking.describer(name), lead=lead)
        write_describer(draft / "describer", served)
        if PLAIN in finished:
            np.save(draft / _PLAIN_HITS, finished.jobs[PLAIN][lab.seed].judged["test"].hits)
    return leave(run, network_folder(run))


def open_network(run: Run, shop: Shop) -> tuple[JointNet, int]:
    """The published joint network, and the size of its pictures.

    Raises NotApplicable where the data do not allow click-mined training, and InputError, with the
    command that helps, if notebook 03 was not run.
    """
    return read_network(_published(run, shop), pick_device())


def open_describer(run: Run, shop: Shop) -> Describer:
    """The describer that notebook 03 chose; raises as `open_network`."""
    return read_describer(_published(run, shop) / "describer", pick_device())


def open_plain_hits(run: Run, shop: Shop) -> np.ndarray | None:
    """Whether each result of the plain describer shows the product, bool (n, 60), of test photos.

    None where its weights were not to be had. Raises as `open_network`.
    """
    path = _published(run, shop) / _PLAIN_HITS
    return np.load(path) if path.is_file() else None


def _published(run: Run, shop: Shop) -> Path:
    embedding_task.require_clicks(shop.clicked_queries, shop.kept, shop.pvlog)
    executed = run.artifacts / "notebooks" / "03_click_mined_training.ipynb"
    if executed.is_file() and not settled(network_folder(run)).is_dir():
        raise NotApplicable("There are no features: click-mined training was left out.")
    folder = made_by("03_click_mined_training", run, network_folder(run))
    check_manifest(folder)
    return folder


def open_study(run: Run, patterns: Sequence[str] = ()) -> list[StudyJob]:
    """The jobs of a study whose variants fit one of the globs (all without one), in order.

    Raises NotApplicable where the data do not allow click-mined training, and InputError for a
    pattern that fits no variant.
    """
    pick(patterns)
    shop = open_shop(run)
    labs = open_labs(
        run,
        shop,
        prepare_learning(run, shop),
        pick_device(),
        every_seed=True,
        networks=needs_networks(patterns),
    )
    return plan(labs, patterns)


def needs_networks(patterns: Sequence[str]) -> bool:
    """Whether a variant that fits one of the globs starts from the category networks."""
    return not set(pick(patterns)) <= ALONE
