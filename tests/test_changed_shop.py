"""A shop that has changed is built again by the models that it has: nothing is trained."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_engine import N_ITEMS, small_catalogue, small_models, small_pictures

import vsa
from vsa.data.schema import BOX
from vsa.models.embedder import Embedder
from vsa.runtime.errors import InputError

QUERIES = pd.DataFrame(
    {"query_id": "q", "path": "0.png", "product_id": "p0", "category": "bags", "split": "val"}
    | dict.fromkeys(BOX, np.nan),
    index=[0],
)


@pytest.fixture
def shop(tmp_path):
    return vsa.Dataset("mine", tmp_path, small_catalogue(), QUERIES)


@pytest.fixture
def described(monkeypatch):
    """How many pictures were described, call by call."""
    numbers, embed = [], Embedder.embed

    def counting(self, images, **options):
        numbers.append(len(images))
        return embed(self, images, **options)

    monkeypatch.setattr(Embedder, "embed", counting)
    return numbers


def test_only_new_pictures_are_described(shop, tmp_path, described):
    pictures = small_pictures(tmp_path)
    small_models(pictures).save(tmp_path / "models")
    options = {"selection": None, "cache": tmp_path / "features"}
    vsa.build(shop, vsa.TrainedModels.open(tmp_path / "models"), tmp_path / "engine", **options)
    assert sum(described) == N_ITEMS
    Image.fromarray(pictures[3][::-1]).save(tmp_path / "new.png")
    row = shop.catalogue.iloc[[3]].assign(image_id="new", path="new.png")
    grown = dataclasses.replace(shop, catalogue=pd.concat([shop.catalogue, row]))
    # the models of the engine itself do, too
    vsa.build(grown, vsa.TrainedModels.open(tmp_path / "engine"), tmp_path / "engine", **options)
    assert sum(described) == N_ITEMS + 1
    vsa.build(
        grown, vsa.TrainedModels.open(tmp_path / "models"), tmp_path / "whole", selection=None
    )
    folders = (tmp_path / name / "index" for name in ("engine", "whole"))
    cached, whole = map(vsa.Index.open, folders)
    with cached, whole:
        queries = np.random.default_rng(0).standard_normal((5, cached.dim), np.float32)
        for one, other in zip(cached.search(queries, 9), whole.search(queries, 9), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_another_picture_of_the_same_name_is_described_again(shop, tmp_path, described):
    pictures = small_pictures(tmp_path)
    models = small_models(pictures)
    options = {"selection": None, "cache": tmp_path / "features"}
    vsa.build(shop, models, tmp_path / "engine", **options)
    Image.fromarray(pictures[3][::-1]).save(tmp_path / "3.png")
    vsa.build(shop, models, tmp_path / "engine", **options)
    assert described == [N_ITEMS, 1]


def test_notes_stay_with_the_models(shop, tmp_path):
    models = dataclasses.replace(small_models(small_pictures(tmp_path)), notes=("beware",))
    models.save(tmp_path / "models")
    vsa.build(shop, models, tmp_path / "engine", selection=None)
    for folder in ("models", "engine"):
        assert vsa.TrainedModels.open(tmp_path / folder).notes == ("beware",)


def test_where_no_models_are_is_told(tmp_path):
    with pytest.raises(InputError, match="no trained models here"):
        vsa.TrainedModels.open(tmp_path)
