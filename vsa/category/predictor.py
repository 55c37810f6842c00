"""The online category stage: one image in, a fused category out (paper section 3.1)."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import faiss
import numpy as np
import pandas as pd
import torch

from vsa.category.fusion import FusionChoice, fuse
from vsa.category.model import CategoryNet, predict
from vsa.category.search import N_NEIGHBOURS, vote
from vsa.models.backbones import without_weights
from vsa.runtime.atomic import atomic_dir, settled
from vsa.runtime.checked import check_manifest
from vsa.runtime.device import Device
from vsa.runtime.errors import InputError

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
    store_px: int  # pictures come in this size …
    crop_px: int  # … and the network sees the middle, of this one
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

    def with_references(
        self, gone: Collection[str], more: tuple[pd.DataFrame, np.ndarray] | None
    ) -> CategoryPredictor:
        """The same with other references, ready to be searched.

        Parameters
        ----------
        gone : ids of references that no longer count.
        more : those that do as well: id, path, category; features, float32 (n, d).
        """
        table, features = self.reference, self.reference_features
        stays = ~table.id.isin(list(gone)).to_numpy() if gone else np.ones(len(table), bool)
        if not stays.all():
            table, features = table[stays].reset_index(drop=True), features[stays]
        if more is not None:
            table = pd.concat([table, more[0]], ignore_index=True)
            features = np.concatenate([features, more[1]])
        changed = replace(self, reference=table, reference_features=features)
        _ = changed._references, changed._labels
        return changed

    def predict(self, image: np.ndarray) -> CategoryPrediction:
        """Predict one image, uint8 (S, S, 3) with S = ``store_px``."""
        return self.predict_batch(image[None])[0]

    def predict_batch(self, images: np.ndarray) -> list[CategoryPrediction]:
        """Predict images, uint8 (n, S, S, 3) with S = ``store_px``."""
        if not len(images):
            return []
        model, features = predict(self.net, images, self.crop_px, self.device)
        k, decay = min(N_NEIGHBOURS, len(self.reference)), self.choice.decay
        distances, rows = self._references.search(features, k)
        distances = np.maximum(distances, 0)
        voted = vote(distances, self._labels[rows], len(self.categories), decay)
        fused = fuse(model, voted, self.choice.weight)
        weights = np.exp(-decay * (distances - distances.min(axis=1, keepdims=True)))
        weights /= weights.sum(axis=1, keepdims=True)
        near = self.reference[["id", "path", "category"]]
        return [
            CategoryPrediction(
                self.categories,
                model[i],
                voted[i],
                fused[i],
                near.iloc[rows[i]].assign(weight=weights[i]),
            )
            for i in range(len(images))
        ]


def save_predictor(folder: Path, predictor: CategoryPredictor) -> None:
    """Publish a trained predictor in a folder of its own; replaces an earlier one."""
    with atomic_dir(folder, marker=_CARD) as draft:
        write_predictor(draft, predictor)


def open_predictor(folder: Path, device: Device) -> CategoryPredictor:
    """Open what `save_predictor` published; reference features are memory-mapped.

    Raises InputError if there is nothing, or if a file of it is missing or damaged.
    """
    folder = settled(folder)
    if not folder.is_dir():
        raise InputError(
            "no trained category stage here", cure="Run notebook 02_category_fusion", file=folder
        )
    check_manifest(folder)
    return read_predictor(folder, device)


def write_predictor(folder: Path, predictor: CategoryPredictor) -> None:
    """Write a predictor, as it was trained and not frozen, into an empty folder."""
    net = predictor.net
    torch.save({k: v.cpu() for k, v in net.state_dict().items()}, folder / "classifier.pth")
    np.save(folder / "reference_features.npy", predictor.reference_features)
    predictor.reference.to_parquet(folder / "reference.parquet")
    card = {
        "architecture": net.architecture,
        "store_px": predictor.store_px,
        "crop_px": predictor.crop_px,
        "categories": predictor.categories,
        "decay": predictor.choice.decay,
        "weight": predictor.choice.weight,
    }
    (folder / _CARD).write_text(json.dumps(card, indent=1), encoding="utf-8")


def read_predictor(folder: Path, device: Device) -> CategoryPredictor:
    """Read what `write_predictor` wrote, from a folder that was checked."""
    card = json.loads((folder / _CARD).read_text(encoding="utf-8"))
    with without_weights(card["architecture"]):
        net = CategoryNet(card["architecture"], len(card["categories"]), pretrained=False)
    state = torch.load(folder / "classifier.pth", weights_only=True, map_location="cpu")
    net.load_state_dict(state, assign=True)
    return CategoryPredictor(
        net.to(device.device, memory_format=device.memory_format).eval(),
        card["store_px"],
        card["crop_px"],
        device,
        card["categories"],
        pd.read_parquet(folder / "reference.parquet"),
        np.load(folder / "reference_features.npy", mmap_mode="r"),
        FusionChoice(card["decay"], card["weight"]),
    )
