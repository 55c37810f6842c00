"""The online category stage: one image in, a fused category out (paper section 3.1)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import faiss
import numpy as np
import pandas as pd
import torch

from vsa.category.fusion import FusionChoice, fuse
from vsa.category.model import CategoryNet, predict
from vsa.category.search import N_NEIGHBOURS, vote
from vsa.category.settings import ClassifierSettings
from vsa.runtime.atomic import atomic_dir, settled
from vsa.runtime.checked import check_manifest
from vsa.runtime.device import Device
from vsa.runtime.errors import InputError
from vsa.study.category.experiment import SeedResult
from vsa.study.category.task import CategoryTask

_CARD = "card.json"


@dataclass(frozen=True)
class CategoryPrediction:
    """What the stage says of one image. Distributions are (C,) and sum to 1."""

    categories: list[str]
    model: np.ndarray
    search: np.ndarray
    fused: np.ndarray
    neighbours: pd.DataFrame  # nearest first: id, path, category, weight (they sum to 1)

    @property
    def category(self) -> str:
        """The most probable category of the fused distribution."""
        return self.categories[int(self.fused.argmax())]


@dataclass(frozen=True)
class CategoryPredictor:
    """A trained classifier, its reference set, and the chosen λ and weight."""

    net: CategoryNet
    settings: ClassifierSettings
    device: Device
    categories: list[str]
    reference: pd.DataFrame  # id, path, category
    reference_features: np.ndarray  # float32 (m, d), unit length
    choice: FusionChoice

    @cached_property
    def _references(self) -> faiss.IndexFlatL2:
        """The reference set as `nearest_references` searches it, made once."""
        index = faiss.IndexFlatL2(self.reference_features.shape[1])
        index.add(np.ascontiguousarray(self.reference_features, np.float32))
        return index

    @cached_property
    def _labels(self) -> np.ndarray:
        """Category codes of the reference set, int64 (m,)."""
        named = pd.Categorical(self.reference.category, categories=self.categories)
        return named.codes.astype(np.int64)

    def predict(self, image: np.ndarray) -> CategoryPrediction:
        """Predict one image, uint8 (S, S, 3) with S = ``settings.store_px``."""
        model, feature = predict(self.net, image[None], self.settings.crop_px, self.device)
        k = min(N_NEIGHBOURS, len(self.reference))
        distances, rows = self._references.search(feature, k)
        distances, near = np.maximum(distances, 0), self.reference.iloc[rows[0]]
        voted = vote(distances, self._labels[rows], len(self.categories), self.choice.decay)
        weights = np.exp(-self.choice.decay * (distances[0] - distances[0].min()))
        return CategoryPrediction(
            self.categories,
            model[0],
            voted[0],
            fuse(model, voted, self.choice.weight)[0],
            near[["id", "path", "category"]].assign(weight=weights / weights.sum()),
        )


def save_predictor(
    folder: Path, task: CategoryTask, result: SeedResult, choice: FusionChoice
) -> None:
    """Publish one trained seed as the stage the engine opens; replaces an earlier one."""
    with atomic_dir(folder, marker=_CARD) as draft:
        torch.save(result.state, draft / "classifier.pth")
        np.save(draft / "reference_features.npy", result.features["reference"])
        task.reference.to_parquet(draft / "reference.parquet")
        card = {
            "categories": task.categories,
            "decay": choice.decay,
            "weight": choice.weight,
        }
        (draft / _CARD).write_text(json.dumps(card, indent=1), encoding="utf-8")


def open_predictor(folder: Path, settings: ClassifierSettings, device: Device) -> CategoryPredictor:
    """Open what `save_predictor` published; reference features are memory-mapped.

    Raises InputError if there is nothing, or if a file of it is missing or damaged.
    """
    folder = settled(folder)
    if not folder.is_dir():
        raise InputError(
            "no trained category stage here", cure="Run notebook 02_category_fusion", file=folder
        )
    check_manifest(folder)
    card = json.loads((folder / _CARD).read_text(encoding="utf-8"))
    net = CategoryNet(settings.architecture, len(card["categories"]), pretrained=False)
    net.load_state_dict(torch.load(folder / "classifier.pth", weights_only=True))
    return CategoryPredictor(
        net.to(device.device, memory_format=device.memory_format).eval(),
        settings,
        device,
        card["categories"],
        pd.read_parquet(folder / "reference.parquet"),
        np.load(folder / "reference_features.npy", mmap_mode="r"),
        FusionChoice(card["decay"], card["weight"]),
    )
