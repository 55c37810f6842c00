"""The category experiment (paper section 3.1, claim C1): model, search and their fusion.

Each seed is kept on disk, so an interrupted experiment continues with the next seed.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from vsa.category import batches, head, model, train
from vsa.category.fusion import FusionChoice, choose_fusion, fuse
from vsa.category.head import look, train_head
from vsa.category.model import CategoryNet, extract, judge
from vsa.category.predictor import CategoryPredictor
from vsa.category.search import N_NEIGHBOURS, nearest_references, vote
from vsa.category.settings import ClassifierSettings
from vsa.category.task import CategoryTask
from vsa.category.train import train_classifier
from vsa.data.images import load_images
from vsa.data.schema import Dataset
from vsa.models import backbones
from vsa.models.backbones import BACKBONES, weights_key
from vsa.runtime import training
from vsa.runtime.atomic import atomic_dir
from vsa.runtime.device import Device
from vsa.runtime.fingerprint import Versions, checksum, key, libraries
from vsa.runtime.seeds import generator
from vsa.study.run import Run
from vsa.study.settings import CategorySettings

VERSION = 1  # of the refitted last layer
_VERSIONS: Versions = {
    "backbones": backbones.VERSION,
    "training loop": training.VERSION,
    "category network": model.VERSION,
    "category batches": batches.VERSION,
    "category training": train.VERSION,
    "category head": head.VERSION,
    "refitted last layer": VERSION,
}


@dataclass(frozen=True)
class Evidence:
    """What the search branch sees from one reference set, for val and test queries alike."""

    squared_distances: dict[str, np.ndarray]  # split → (n, 30)
    rows: dict[str, np.ndarray]  # split → (n, 30), rows of the reference table


@dataclass(frozen=True)
class SeedResult:
    """One trained classifier and all it was asked. Probabilities are of the test queries."""

    seed: int
    model: dict[str, np.ndarray]  # split → (n, C)
    refitted: np.ndarray  # (n, C): last layer fitted again on the whole reference set
    features: dict[str, np.ndarray]  # split or "reference" → (n, d), unit length
    log: pd.DataFrame
    state: dict[str, torch.Tensor]  # of the trained CategoryNet


def supervised(settings: CategorySettings) -> CategorySettings:
    """The same with the whole network trained, where only a softmax over a frozen one may be.

    Notebook 03 compares with such a network, and its own start from it.
    """
    return replace(settings, trains="all")


def learned_by(settings: CategorySettings) -> dict[str, Any]:
    """Settings that the training of a seed's network depends on, by name."""
    found = {part.name: getattr(settings, part.name) for part in fields(ClassifierSettings)}
    if settings.trains == "all":
        found.pop("head")
    return found


def run_seeds(
    task: CategoryTask,
    dataset: Dataset,
    run: Run,
    device: Device,
    settings: CategorySettings | None = None,
    seeds: Sequence[int] = (),
) -> list[SeedResult]:
    """Train and query one classifier per seed; seeds already on disk are read back.

    Settings and seeds are those of the run unless given.
    """
    settings = settings or run.settings.category
    seeds = seeds or range(run.seed, run.seed + settings.n_seeds)
    load = partial(
        load_images, dataset.root, size_px=settings.stored_px, cache=run.artifacts / "images"
    )
    tables = {"reference": task.reference, "val": task.val, "test": task.test}
    images = {name: load(table.path.tolist()) for name, table in tables.items()}
    school = _School(task, images, settings, device)
    results = []
    for seed in seeds:
        name = key(
            _VERSIONS
            | libraries("torch", "torchvision", "scikit-learn")
            | {"backbone": BACKBONES.identity(settings.architecture)},
            settings=learned_by(settings),
            seed=seed,
            device=repr(device),
            paths={name: table.path.tolist() for name, table in tables.items()},
            labels={name: task.labels(table).tolist() for name, table in tables.items()},
            categories=list(task.categories),
            is_training=task.reference.is_training.tolist(),
            images=[checksum(array) for array in images.values()],
            weights=weights_key(settings.architecture) if settings.pretrained else "",
        )
        folder = run.artifacts / "category" / f"seed-{seed}-{name}"
        if not folder.exists():
            checkpoint = folder.with_name(f".{folder.name}-checkpoint.pth")
            with atomic_dir(folder) as draft:
                _save(school.train_and_query(seed, checkpoint), draft)
            checkpoint.unlink(missing_ok=True)
        results.append(_read(folder, seed))
    return results


@dataclass
class _School:
    """What all seeds learn from; what a frozen backbone sees is computed once for all of them."""

    task: CategoryTask
    images: dict[str, np.ndarray]
    settings: CategorySettings
    device: Device
    _frozen: dict[str, np.ndarray] = field(default_factory=dict)

    def train_and_query(self, seed: int, checkpoint: Path) -> SeedResult:
        task, labels = self.task, self.task.labels(self.task.reference)
        net, log = self._train(seed, checkpoint)
        answers = {name: judge(net, seen) for name, seen in self._seen_by(net).items()}
        features = {name: feature for name, (_, feature) in answers.items()}
        return SeedResult(
            seed,
            {split: answers[split][0] for split in ("val", "test")},
            # on all reference labels: what the model gains from the labels that search has
            fit_last_layer(features, np.arange(len(labels)), labels, task)["test"],
            features,
            log,
            {name: value.cpu() for name, value in net.state_dict().items()},
        )

    def _train(self, seed: int, checkpoint: Path) -> tuple[CategoryNet, pd.DataFrame]:
        chosen = np.flatnonzero(self.task.reference.is_training)
        images, labels = self.images["reference"], self.task.labels(self.task.reference)[chosen]
        n_classes, settings, device = len(self.task.categories), self.settings, self.device
        what = f"train classifier, seed {seed}"
        if settings.trains == "all":
            return train_classifier(
                images[chosen], labels, n_classes, settings, device, seed, what, checkpoint
            )
        if "views" not in self._frozen:
            self._frozen["views"] = look(images[chosen], settings, device, "look at views")
        views = self._frozen["views"]
        return train_head(views, labels, n_classes, settings, device, seed, what, checkpoint)

    def _seen_by(self, net: CategoryNet) -> dict[str, np.ndarray]:
        """Features of all pictures, as the backbone gives them."""
        found = self._frozen if self.settings.trains == "head" else {}
        for name, array in self.images.items():
            if name not in found:
                px = self.settings.seen_px
                found[name] = extract(net, array, px, self.device, description=f"look at {name}")
        return {name: found[name] for name in self.images}


def fit_last_layer(
    features: dict[str, np.ndarray], rows: np.ndarray, labels: np.ndarray, task: CategoryTask
) -> dict[str, np.ndarray]:
    """Logistic regression on labels of some reference rows (n,): probabilities of both splits.

    Validation photos choose how strongly it is regularised.
    """
    from sklearn.linear_model import LogisticRegression  # slow to import

    with warnings.catch_warnings():
        # where kinds are many and labels few, scikit-learn wonders whether they are numbers
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        candidates = [
            LogisticRegression(C=c, max_iter=1000, tol=1e-3).fit(
                features["reference"][rows], labels
            )
            for c in (10.0, 100.0)
        ]
    val_labels = task.labels(task.val)
    best = max(candidates, key=lambda m: m.score(features["val"], val_labels))
    found = {}
    for split in ("val", "test"):
        found[split] = np.zeros((len(features[split]), len(task.categories)), np.float32)
        found[split][:, best.classes_] = best.predict_proba(features[split])
    return found


def _save(result: SeedResult, folder: Path) -> None:
    torch.save(result.state, folder / "classifier.pth")
    arrays = {"refitted": result.refitted}
    arrays |= {f"model_{split}": array for split, array in result.model.items()}
    arrays |= {f"features_{name}": array for name, array in result.features.items()}
    np.savez(folder / "arrays.npz", allow_pickle=False, **arrays)
    result.log.to_parquet(folder / "log.parquet")


def _read(folder: Path, seed: int) -> SeedResult:
    with np.load(folder / "arrays.npz") as arrays:
        return SeedResult(
            seed,
            {split: arrays[f"model_{split}"] for split in ("val", "test")},
            arrays["refitted"],
            {name: arrays[f"features_{name}"] for name in ("reference", "val", "test")},
            pd.read_parquet(folder / "log.parquet"),
            torch.load(folder / "classifier.pth", weights_only=True, map_location="cpu"),
        )


def gather_evidence(result: SeedResult, reference_rows: np.ndarray) -> Evidence:
    """Nearest neighbours of val and test queries among the given reference rows."""
    references = result.features["reference"][reference_rows]
    found = {s: nearest_references(result.features[s], references) for s in ("val", "test")}
    return Evidence(
        {split: distances for split, (distances, _) in found.items()},
        {split: reference_rows[rows] for split, (_, rows) in found.items()},
    )


def fuse_with(
    task: CategoryTask, result: SeedResult, evidence: Evidence
) -> tuple[FusionChoice, np.ndarray, np.ndarray]:
    """Choose λ and weight on val; return them with the test (n, C) of search and of fusion."""
    neighbour_labels = {s: task.labels(task.reference)[rows] for s, rows in evidence.rows.items()}
    choice = choose_fusion(
        result.model["val"],
        evidence.squared_distances["val"],
        neighbour_labels["val"],
        task.labels(task.val),
    )
    voted = vote(
        evidence.squared_distances["test"],
        neighbour_labels["test"],
        len(task.categories),
        choice.decay,
    )
    return choice, voted, fuse(result.model["test"], voted, choice.weight)


def trained_predictor(
    task: CategoryTask,
    result: SeedResult,
    choice: FusionChoice,
    settings: CategorySettings,
    device: Device,
) -> CategoryPredictor:
    """One trained seed as the stage that engines use."""
    net = CategoryNet(settings.architecture, len(task.categories), pretrained=False)
    net.load_state_dict(result.state)
    return CategoryPredictor(
        net.to(device.device, memory_format=device.memory_format).eval(),
        settings.stored_px,
        settings.seen_px,
        device,
        task.categories,
        task.reference,
        result.features["reference"],
        choice,
    )


def growing_references(task: CategoryTask, fraction: float, seed: int) -> np.ndarray:
    """A random share of the reference rows, at least 30; larger shares contain smaller ones."""
    order = generator(seed, "reference order").permutation(len(task.reference))
    return np.sort(order[: max(N_NEIGHBOURS, round(fraction * len(order)))])
