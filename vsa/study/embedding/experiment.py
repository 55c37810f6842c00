"""Trains each variant with each seed, once: a study that was killed continues where it was.

The folder of a job is named after all that it rests on; a finished job is read back, and an
interrupted one continues from its last checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vsa.category import model as category_model
from vsa.category import selection
from vsa.category import train as category_train
from vsa.data import descriptors
from vsa.embedding import extract, joint, mining, train, triplets
from vsa.embedding.candidates import ADAPTED, PLAIN_OBJECT
from vsa.embedding.extract import describe
from vsa.embedding.joint import JointNet
from vsa.embedding.losses import LOSSES, PAPER
from vsa.embedding.mining import (
    FeaturePair,
    Mining,
    PageViews,
    make_pages,
    shuffle_clicks,
)
from vsa.embedding.recipe import train_stages
from vsa.embedding.task import EmbeddingTask, mine_clicks
from vsa.embedding.train import find_trouble, train_boxes_supervised
from vsa.embedding.triplets import TripletSource, from_clicks, from_labels
from vsa.models import backbones, embedder
from vsa.models.backbones import BACKBONES
from vsa.models.embedder import Embedder
from vsa.runtime import training
from vsa.runtime.atomic import atomic_file, replace_dir
from vsa.runtime.checked import write_manifest
from vsa.runtime.device import Device
from vsa.runtime.errors import InputError
from vsa.runtime.fingerprint import Versions, key, libraries, state_digest
from vsa.runtime.training import on_cpu
from vsa.study.embedding import detector as detector_module
from vsa.study.embedding import retrieval
from vsa.study.embedding.baselines import DESCRIPTORS, baseline_identity, baselines, describe_by
from vsa.study.embedding.detector import detect, make_detector, train_detector
from vsa.study.embedding.jobs import (
    HALF,
    HALVED,
    IDENTITY,
    JUDGED,
    Found,
    Job,
    change_card,
    make_card,
    read_card,
    read_job,
    read_weights,
    save_job,
    slug,
)
from vsa.study.embedding.linear import LinearStudy
from vsa.study.embedding.looking import Looking, curve_of, log_of, rests_on, start_of_look
from vsa.study.embedding.published import publish, tables_digest
from vsa.study.embedding.regime_jobs import Redrawn, Regimes, start_of_regime
from vsa.study.embedding.regime_jobs import rests_on as regime_rests_on
from vsa.study.embedding.regimes import POINTS, SESSIONS
from vsa.study.embedding.retrieval import Ranking, rank
from vsa.study.embedding.variants import (
    CATEGORY,
    CONSTANT_BOX,
    DETECTOR,
    JOINT,
    LOOKS,
    NEED_BOXES,
    NEED_PRODUCTS,
    NEED_SIMULATION,
    OTHER_MASKS,
    SUPERVISED,
    TRUE_BOXES,
    Variant,
    make_stage,
    untrained,
    variants,
)
from vsa.study.settings import EmbeddingStudySettings
from vsa.study.simulate import clicks

_FROM_HALF = (
    "it started from weights that were halved in precision on their way from another machine; its "
    "numbers differ a little from those of a study that ran through"
)


def _methods() -> Versions:
    """Versions of the methods that every job of a seed rests on."""
    return {
        "backbones": backbones.VERSION,
        "training loop": training.VERSION,
        "category network": category_model.VERSION,
        "category training": category_train.VERSION,
        "selection": selection.VERSION,
        "descriptors": descriptors.VERSION,
        "clicks": clicks.VERSION,
        "joint network": joint.VERSION,
        "extraction": extract.VERSION,
        "embedder": embedder.VERSION,
        "retrieval": retrieval.VERSION,
    }


def start_of(name: str) -> str:
    """The variant whose weights that one starts from, or asks; "" for the category network."""
    if variant := variants().get(name):
        return "" if variant.start == CATEGORY else variant.start
    if name in LOOKS:
        return start_of_look(name)
    if name in POINTS:
        return start_of_regime(name)
    return "" if name in untrained() else JOINT


@dataclass
class EmbeddingLab:
    """Everything that the jobs of one seed share."""

    task: EmbeddingTask
    settings: EmbeddingStudySettings
    device: Device
    seed: int
    folder: Path  # of all jobs
    backbone_state: dict[str, Tensor]  # of the category network of this seed
    relog: Callable[[float], pd.DataFrame] | None = None  # noise click rate → another log
    log_of: Callable[[int, int], pd.DataFrame] | None = None  # sessions per photo, seed → a log
    redraw: Callable[[float, int], Redrawn] | None = None  # object's share, seed → test photos
    published: Path | None = None  # folder that finished jobs are published in
    origin: Mapping[str, Any] | None = None  # what pictures and the category network come from
    files: tuple[Path, Path] | None = (
        None  # where the pictures lie, and where decoded ones are kept
    )
    _minings: dict[float | None, Mining] = field(default_factory=dict)

    # What jobs learn from ------------------------------------------------------------------

    @cached_property
    def category_features(self) -> FeaturePair:
        """Unit features (n, d) of the category network, of queries and of the catalogue."""
        backbone, images = self.new_net().backbone, self.task.images
        px = self.settings.image_px
        feature = Embedder(backbone, image_px=px, name=CATEGORY, device=self.device)
        name = key(
            self._versions | libraries("torch", "torchvision"),
            device=repr(self.device),
            features=feature.identity,
            images=self.data["images"],
        )
        target = self.folder / "category-features" / f"seed-{self.seed}-{name}.npz"
        if not target.exists():
            sides = feature.embed(images.queries), feature.embed(images.catalogue)
            with atomic_file(target) as draft:
                np.savez(draft, allow_pickle=False, queries=sides[0], catalogue=sides[1])
        with np.load(target) as arrays:
            return arrays["queries"], arrays["catalogue"]

    def mining(self, noise_click_rate: float | None = None) -> Mining:
        """Mined clicks of the log, or of one simulated with another rate of stray clicks."""
        if noise_click_rate not in self._minings:
            self._minings[noise_click_rate] = self._mine(self._pages(noise_click_rate))
        return self._minings[noise_click_rate]

    def source(self, variant: Variant) -> TripletSource:
        """The triplets a variant learns from; identities are used by the oracle alone."""
        task = self.task
        (queries, images), seed = task.products, self.seed
        train_pages = task.pages.of(task.rows("train"))
        if variant.source == "identities":
            return from_labels(queries, images, train_pages, negatives="pages", seed=seed)
        if variant.source == "categories":
            return from_labels(*task.categories, train_pages, negatives="catalogue", seed=seed)
        mined = self.mining(variant.noise_click_rate)
        if variant.source == "shuffled clicks":
            mined = self._mine(shuffle_clicks(task.pages, seed))
        found = mined.filtered if variant.source == "filtered clicks" else mined.train.triplets
        return from_clicks(found, len(queries), len(images))

    def new_net(self) -> JointNet:
        """A network that starts from the category network, with a head not trained yet."""
        torch.manual_seed(self.seed)
        s = self.settings
        net = JointNet(s.architecture, s.feature_dim, frozen_norm=s.pretrained)
        net.load_backbone(self.backbone_state)
        return net.to(self.device.device, memory_format=self.device.memory_format)

    # Jobs ----------------------------------------------------------------------------------

    def run(self, name: str) -> Job:
        """The job of that variant: read back, continued, or done now (its start first).

        Raises Stopped, when the time is used up, and InputError, for a full disk; the job then
        continues when it is asked for again.
        """
        folder = self.path(name)
        if not (folder / "card.json").is_file():
            draft = self.draft(name)  # checkpoints outlive a kill here
            draft.mkdir(parents=True, exist_ok=True)
            try:
                if not (draft / "card.json").is_file():  # written last
                    if self._starts_from_half(name):
                        (draft / HALVED).touch()  # goes wherever its checkpoints go
                    self._maker(name)(name, draft)
                self._complete(name, draft)
                write_manifest(draft)
                replace_dir(draft, folder)  # in one step: what took hours must not be lost
            except OSError as error:
                raise InputError(
                    f"{name}, seed {self.seed}, could not be finished ({error})",
                    cure="Free some space on that disk and start again: training continues",
                    file=draft,
                ) from error
        (queries, offered), rows = self.task.products, self.task.rows
        wanted = {split: queries[rows(split)] for split in JUDGED}
        job = read_job(folder, name, self.seed, wanted, offered)
        publish(self, name, job)
        return job

    def _complete(self, name: str, draft: Path) -> None:
        """Let the card of a job say what it is on any machine, and whether halved weights made it.

        A job begun from whole weights may start from halved ones when it goes on, and the reverse.
        """
        facts: dict[str, Any] = {IDENTITY: self.identity(name)}
        marked = draft / HALVED
        if marked.is_file() or self._starts_from_half(name):
            facts[HALF] = True
        change_card(draft, facts)
        marked.unlink(missing_ok=True)

    def _starts_from_half(self, name: str) -> bool:
        start = start_of(name)
        return bool(start) and self.is_done(start) and HALF in read_card(self.path(start))

    def is_possible(self, name: str) -> bool:
        """Whether the data allow that job: it may need true boxes, products, a simulated log."""
        lacks_boxes = name in NEED_BOXES and self.task.boxes is None
        lacks_log = name in NEED_SIMULATION and self.relog is None
        lacks_products = name in NEED_PRODUCTS and not self.task.knows_training
        lacks_files = (name in LOOKS or name in POINTS) and self.files is None
        if point := POINTS.get(name):
            lacks_log = (self.log_of if point.axis == SESSIONS else self.redraw) is None
        return not (lacks_boxes or lacks_log or lacks_products or lacks_files)

    def is_done(self, name: str) -> bool:
        """Whether that job is on disk."""
        return (self.path(name) / "card.json").is_file()

    def path(self, name: str) -> Path:
        """The folder of a job, done or not."""
        return self.folder / f"{slug(name)}-seed-{self.seed}-{self.key(name)}"

    def draft(self, name: str) -> Path:
        """Where a job is made, with its checkpoints: there while it is begun and not finished."""
        return self.path(name).with_name(f".{self.path(name).name}")

    def net(self, name: str) -> JointNet:
        """The network of a job that trains one; done first, if need be."""
        net = self.new_net()
        self.run(name)
        net.load_state_dict(read_weights(self.path(name)))
        return net.eval()

    @property
    def data(self) -> dict[str, Any]:
        """Checksums of the data that all jobs rest on."""
        return self.task.checksums

    @cached_property
    def _ground(self) -> str:
        """Fingerprint of what all jobs of this seed rest on, on this machine."""
        return key(
            self._versions | libraries("torch", "torchvision"),
            seed=self.seed,
            device=repr(self.device),
            backbone=state_digest(self.backbone_state),
            **self.data,
        )

    @cached_property
    def _data_ground(self) -> str:
        """As `_ground`, of what rests on no trained network."""
        return key(
            self._versions | libraries("torch", "torchvision"),
            seed=self.seed,
            device=repr(self.device),
            **self.data,
        )

    @cached_property
    def _common_data(self) -> str:
        """As `_common_ground`, of what rests on no trained network."""
        data, origin = self.data, self.origin
        made = [data["images"], data["local"]]
        if origin is not None:
            made = [origin.get(part) for part in ("dataset", "pictures")]
        return key(
            self._versions,
            seed=self.seed,
            tables=tables_digest(self.task.queries, self.task.catalogue),
            clicks=data["clicks"],
            origin=made,
        )

    @cached_property
    def _common_ground(self) -> str:
        """The same of any machine: not its device, its libraries, nor the last bits it computes."""
        data = self.data
        computed = [data["images"], data["local"], state_digest(self.backbone_state)]
        return key(
            self._versions,
            seed=self.seed,
            tables=tables_digest(self.task.queries, self.task.catalogue),
            clicks=data["clicks"],
            origin=computed if self.origin is None else dict(self.origin),
        )

    @cached_property
    def _versions(self) -> Versions:
        return _methods() | {"backbone": BACKBONES.identity(self.settings.architecture)}

    def key(self, name: str) -> str:
        """What a job is known by here: versions, settings, data, and what it starts from."""
        return self._key(name, self._ground, self._data_ground)

    def identity(self, name: str) -> str:
        """What a job is known by on any machine, so that what one has published another reads."""
        return self._key(name, self._common_ground, self._common_data)

    def _key(self, name: str, ground: str, of_data: str) -> str:
        """Points of regimes rest on the data, and on networks only where they start from one."""
        s = self.settings
        shape = [s.architecture, s.pretrained, s.image_px, s.feature_dim]
        start = self._key(start_of(name), ground, of_data) if start_of(name) else ""
        versions, what = self._rests_on(name)
        if name in POINTS:
            ground, shape = of_data, []
        return key(versions, ground=ground, name=name, start=start, what=what, shape=shape)

    def _rests_on(self, name: str) -> tuple[Versions, list[Any]]:
        """What else a job rests on: versions; settings."""
        s = self.settings
        if variant := variants().get(name):
            stages = [make_stage(k, variant.loss, variant.adapt(s)) for k in variant.stages]
            versions: Versions = {"joint training": train.VERSION, "triplets": triplets.VERSION}
            versions |= {f"loss {stage.loss}": LOSSES.identity(stage.loss) for stage in stages}
            if "clicks" in variant.source:
                versions["mining"] = mining.VERSION
            learns_from: list[Any] = [variant.source, variant.noise_click_rate, variant.masked]
            return versions, learns_from + stages
        if name in untrained():
            return {}, [baseline_identity(name)] if name in baselines() else []
        if name == SUPERVISED:
            return {"joint training": train.VERSION}, [make_stage("boxes, soft", PAPER, s)]
        if name in LOOKS:
            return rests_on(self, name)
        if name in POINTS:
            return regime_rests_on(self, name)
        if name == DETECTOR:
            steps = [s.n_detector_steps, s.box_learning_rate]
            return {"detector": detector_module.VERSION}, steps
        return {}, []

    def _maker(self, name: str) -> Callable[[str, Path], None]:
        if name in untrained():
            return self._untrained
        if name in OTHER_MASKS:
            return self._other_masks
        if name in LOOKS:
            return self._look
        if name in POINTS:
            return self._regime
        return {SUPERVISED: self._supervised, DETECTOR: self._detector}.get(name, self._train)

    def untrained_features(self, name: str) -> FeaturePair:
        """Unit features (n, d) of queries and of the catalogue, of a method without training."""
        if name == CATEGORY:
            return self.category_features
        if name == DESCRIPTORS:
            return self.task.local  # made before, for all that looks for duplicates
        images = self.task.images
        queries, catalogue = describe_by(name, images.queries, images.catalogue)
        return queries, catalogue

    def _trouble_of_start(self, name: str) -> list[str]:
        is_halved = self._starts_from_half(name) or (self.draft(name) / HALVED).is_file()
        return [_FROM_HALF] if is_halved else []

    def _untrained(self, name: str, draft: Path) -> None:
        started = time.perf_counter()
        queries, catalogue = self.untrained_features(name)
        answers = {}
        for split in JUDGED:
            rows = self.task.rows(split)
            answers[split] = Found(
                self.rank(queries[rows], catalogue, split),
                np.tile(extract.FULL_BOX, (len(rows), 1)),
            )
        card = make_card(seconds=time.perf_counter() - started)
        save_job(draft, answers, pd.DataFrame(), card)

    @cached_property
    def joint(self) -> tuple[JointNet, np.ndarray]:
        """The joint network and its features of the catalogue, which boxes of queries leave be."""
        net = self.net(JOINT)
        return net, describe(net, self.task.images.catalogue, self.device).features

    def _ask_with_boxes(self, boxes: dict[str, np.ndarray]) -> dict[str, Found]:
        net, catalogue = self.joint
        return self.ask(net, boxes=boxes, catalogue=catalogue)

    def _other_masks(self, name: str, draft: Path) -> None:
        started = time.perf_counter()
        boxes = {}
        for split in JUDGED:
            rows = self.task.rows(split)
            if name == TRUE_BOXES:
                boxes[split] = self._true_boxes()[rows]
            else:
                box = self._constant_box() if name == CONSTANT_BOX else extract.FULL_BOX
                boxes[split] = np.tile(box, (len(rows), 1))
        answers = self._ask_with_boxes(boxes)
        card = make_card(self._trouble_of_start(name), time.perf_counter() - started)
        save_job(draft, answers, pd.DataFrame(), card)

    @cached_property
    def looking(self) -> Looking:
        """Who looks at the photos again, from their files."""
        if self.files is None:
            raise ValueError("these pictures lie in no files")
        return Looking(self, *self.files)

    @cached_property
    def linear(self) -> LinearStudy:
        """Maps learned from other clicks, with this lab's seed."""
        return LinearStudy(self, [self.seed])

    @cached_property
    def _regimes(self) -> Regimes:
        return Regimes(self)

    def _regime(self, name: str, draft: Path) -> None:
        started = time.perf_counter()
        found, log, facts = self._regimes.answer(POINTS[name])
        card = make_card(self._trouble_of_start(name), time.perf_counter() - started, len(log))
        save_job(draft, {"test": found}, log, card | facts)

    def _look(self, name: str, draft: Path) -> None:
        started = time.perf_counter()
        looking, (who, _, how) = self.looking, name.partition(", ")
        log, facts = pd.DataFrame(), {}
        if name == ADAPTED:
            found = looking.adapt()
            log, facts = log_of(found), curve_of(found)
            torch.save(on_cpu(found.head.state_dict()), draft / "net.pth")
        if name == PLAIN_OBJECT:
            goods = looking.learn_objectness()
            kept = {"score": torch.from_numpy(goods.weight), "centre": torch.tensor(goods.centre)}
            torch.save(kept, draft / "net.pth")
        photos, catalogue, boxes = (
            looking.photos(who, how),
            looking.offered(who),
            looking.boxes(how),
        )
        answers = {
            split: Found(self.rank(photos[rows], catalogue, split), boxes[rows])
            for split in JUDGED
            for rows in [self.task.rows(split)]
        }
        card = make_card(self._trouble_of_start(name), time.perf_counter() - started, len(log))
        save_job(draft, answers, log, card | facts)

    def _train(self, name: str, draft: Path) -> None:
        variant = variants()[name]
        settings = variant.adapt(self.settings)
        net = self.new_net() if variant.start == CATEGORY else self.net(variant.start)
        source = self.source(variant)
        logs, trouble = [], self._trouble_of_start(name)
        stages = {stage: make_stage(stage, variant.loss, settings) for stage in variant.stages}
        title = f"{name}, seed {self.seed}"
        images = self.task.images
        for stage, log in train_stages(
            net, stages, source, images, self.device, self.seed, draft, title
        ).items():
            logs.append(log.assign(stage=stage))
            trouble += [f"{stage}: {problem}" for problem in find_trouble(log)]
        log = pd.concat(logs, ignore_index=True)
        torch.save(on_cpu(net.state_dict()), draft / "net.pth")
        card = make_card(trouble, log.step_ms.sum() / 1e3, len(log))
        save_job(draft, self.ask(net, boxes="own" if variant.masked else None), log, card)
        for number in range(len(variant.stages)):
            (draft / f"stage-{number}.pth").unlink()
            (draft / f"stage-{number}.parquet").unlink()

    def _supervised(self, name: str, draft: Path) -> None:
        net = self.net(JOINT)
        net.localiser = self.new_net().localiser
        stage = make_stage("boxes, soft", PAPER, self.settings)
        rows = self.task.rows("train")
        images = self.task.images.queries[rows]
        checkpoint = draft / "checkpoint.pth"
        log = train_boxes_supervised(
            net, self._true_boxes()[rows], images, stage, self.device, self.seed, checkpoint
        )
        torch.save(on_cpu(net.state_dict()), draft / "net.pth")
        answers = self.ask(net, boxes="own")
        checkpoint.unlink(missing_ok=True)
        card = make_card(self._trouble_of_start(name), log.step_ms.sum() / 1e3, len(log))
        save_job(draft, answers, log.assign(stage="boxes"), card)

    def _detector(self, name: str, draft: Path) -> None:
        s, rows = self.settings, self.task.rows("train")
        checkpoint = draft / "checkpoint.pth"
        torch.manual_seed(self.seed)  # proposals are sampled from the global generator
        found = make_detector(s.architecture, self.backbone_state, s.image_px)
        log = train_detector(
            found,
            self.task.images.queries[rows],
            self._true_boxes()[rows],
            s.n_detector_steps,
            s.box_learning_rate,
            self.device,
            self.seed,
            checkpoint,
        )
        torch.save(on_cpu(found.state_dict()), draft / "net.pth")
        boxes = {
            split: detect(found, self.task.images.queries[self.task.rows(split)], self.device)
            for split in JUDGED
        }
        card = make_card(self._trouble_of_start(name), log.step_ms.sum() / 1e3, len(log))
        answers = self._ask_with_boxes(boxes)
        checkpoint.unlink(missing_ok=True)
        save_job(draft, answers, log.assign(stage="detector"), card)

    def detector(self) -> detector_module.FasterRCNN:
        """The trained detector of a finished job."""
        s = self.settings
        self.run(DETECTOR)
        found = make_detector(s.architecture, self.backbone_state, s.image_px)
        found.load_state_dict(read_weights(self.path(DETECTOR)))
        return found.to(self.device.device, memory_format=self.device.memory_format).eval()

    def ask(
        self,
        net: JointNet,
        *,
        boxes: dict[str, np.ndarray] | Literal["own"] | None = None,
        catalogue: np.ndarray | None = None,
    ) -> dict[str, Found]:
        """Ask a network for the val and test queries, as `extract.describe` has it.

        `catalogue` are the network's features of it, float32 (n, d), where they are known.
        """
        images = self.task.images
        if catalogue is None:
            catalogue = describe(net, images.catalogue, self.device).features
        answers = {}
        for split in JUDGED:
            rows = self.task.rows(split)
            given = boxes[split] if isinstance(boxes, dict) else boxes
            asked = describe(net, images.queries[rows], self.device, boxes=given)
            answers[split] = Found(self.rank(asked.features, catalogue, split), asked.boxes)
        return answers

    def rank(self, queries: np.ndarray, catalogue: np.ndarray, split: str) -> Ranking:
        """Rank the catalogue for a split's photos by unit features (n, d) and (m, d)."""
        of_queries, of_images = self.task.categories
        return rank(queries, catalogue, of_queries[self.task.rows(split)], of_images)

    def _true_boxes(self) -> np.ndarray:
        if self.task.boxes is None:
            raise ValueError("supervised boxes need the true box of every query")
        return self.task.boxes

    def _constant_box(self) -> np.ndarray:
        """The median of each side over the training queries, float32 (4,)."""
        return np.median(self._true_boxes()[self.task.rows("train")], axis=0)

    def _pages(self, noise_click_rate: float | None) -> PageViews:
        if noise_click_rate is None:
            return self.task.pages
        if self.relog is None:
            raise ValueError("an observed log cannot be simulated again")
        return make_pages(self.relog(noise_click_rate), self.task.queries, self.task.catalogue)

    def _mine(self, pages: PageViews) -> Mining:
        return mine_clicks(self.task, self.category_features, self.seed, pages)
