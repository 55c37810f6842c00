"""Whole systems run end to end through `vsa.build`, with stages of their own."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from coloured_squares import CPU
from small_engine import small_models
from small_lineage import NAMES, make_lineage_lab

from vsa.category.fusion import FusionChoice
from vsa.category.model import predict
from vsa.data.schema import Dataset
from vsa.embedding.boxes import Objectness
from vsa.embedding.local import LocalFeatures
from vsa.index.codec import CODECS, UnfitBitsError, make_codec
from vsa.models.backbones import make_backbone
from vsa.study.lineage import systems
from vsa.study.lineage.methods import fit_checked


class Whole(Objectness):
    """Finds the whole photo."""

    def boxes(self, images, device):
        return np.tile(np.float32([0, 0, 1, 1]), (len(images), 1))


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Photos of the squares, by a network that was never trained, with norms that fit them."""
    folder = tmp_path_factory.mktemp("shop")
    torch.manual_seed(0)
    backbone, _ = make_backbone("googlenet_4a", pretrained=False)
    made = make_lineage_lab(folder, backbone)
    models = small_models(np.array(made.catalogue.squares))
    made = make_lineage_lab(folder, models.network.backbone)
    category = models.category
    known = made.catalogue.at(category.store_px)
    _, features = predict(category.net, known, category.crop_px, CPU)
    task = made.task
    reference = task.catalogue.rename(columns={"image_id": "id"})[["id", "path", "category"]]
    # the search branch alone, over the catalogue itself
    made.category = dataclasses.replace(
        category,
        categories=NAMES,
        reference=reference,
        reference_features=features,
        choice=FusionChoice(50.0, 0.0),
    )
    signals = dict.fromkeys(("sales", "conversion_rate", "applause_rate", "price"), np.nan)
    sides = dict.fromkeys(("x_min", "y_min", "x_max", "y_max"), np.nan)
    made.task = task.__class__(
        task.queries, task.catalogue.assign(leaf="leaf", source="main", **signals, **sides)
    )
    shop = SimpleNamespace(dataset=Dataset("squares", folder, made.task.catalogue, task.queries))
    made.published = (None, shop)
    return made


@pytest.fixture
def published(lab, monkeypatch):
    monkeypatch.setattr(systems, "open_published", lambda run: lab.category)
    net = LocalFeatures("googlenet_4a").eval()
    whole = Whole(net, np.zeros(512, np.float32), 64, 0.5)
    locate = lambda photos: whole.boxes(photos.at(64), CPU)  # noqa: E731
    monkeypatch.setattr(systems, "goods", lambda lab: (whole, locate))
    built = []
    build = systems.vsa.build

    def noted(*arguments, **options):
        built.append(options["codes"])
        return build(*arguments, **options)

    monkeypatch.setattr(systems.vsa, "build", noted, raising=False)
    return built


def test_ebays_searches_its_category_by_its_hash(lab, published):
    search = fit_checked("visual search at eBay", lab, 0, {})
    (codes,) = published
    assert (codes.codec, codes.n_bits) == ("learned hash", lab.settings.hash_bits)
    rows = search.rank(lab.catalogue)  # each picture asks for itself
    names = lab.task.catalogue.category.to_numpy()
    for row, page in enumerate(rows):
        assert set(names[page[page >= 0]]) == {names[row]}  # nothing of another category
    assert (rows[:, :3] == np.arange(len(rows))[:, None]).any(axis=1).mean() > 0.9
    assert search.n_bytes == lab.settings.hash_bits / 8 + 256


def test_pinterests_visits_tokens_and_ranks_by_signs(lab, published):
    search = fit_checked("visual search at Pinterest", lab, 0, {"n_tokens": 16})
    (codes,) = published
    dim = systems.describer(lab).net.dim
    assert (codes.codec, codes.n_bits) == ("signs", dim)
    rows = search.rank(lab.catalogue)
    assert (rows[:, :3] == np.arange(len(rows))[:, None]).any(axis=1).mean() > 0.9
    few = fit_checked("visual search at Pinterest", lab, 0, {"n_tokens": 1}).rank(lab.catalogue)
    assert ((few >= 0).sum(axis=1) <= (rows >= 0).sum(axis=1)).all()
    assert (few >= 0).sum() < (rows >= 0).sum()
    assert search.n_bytes == dim / 8


def test_engines_describe_as_the_lab_does(lab, published):
    """Photos of a split are described once, by the lab, and not by each engine again."""
    head = systems.principal_components(lab.catalogue.pooled, 16)[0.0]
    plain = systems.describer(lab)
    small = systems.adapted(plain, head, "whole", "small")
    for by, found in (
        (plain, lab.catalogue.pooled),
        (small, systems.mapping(head)(lab.catalogue.pooled)),
    ):
        wanted = by.embedder(CPU).embed(np.array(lab.catalogue.squares))
        np.testing.assert_allclose(found, wanted, atol=5e-3)


def test_categories_are_predicted_once_for_all_engines(lab, monkeypatch):
    asked = []

    def predict(squares):
        asked.append(len(squares))
        return ["bags"] * len(squares)

    monkeypatch.setattr(lab, "_made", {})
    engine = SimpleNamespace(category=SimpleNamespace(store_px=64, predict_batch=predict))
    photos = lab.photos["val"]
    for _ in range(2):
        systems.ask(lab, engine, photos, np.zeros((len(photos), 2)), lambda *_: np.array([7]))
    assert asked == [len(photos)]


def test_signs_are_one_bit_for_each_dimension():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((50, 64)).astype(np.float32)
    assert "signs" in CODECS
    codec = make_codec("signs", features, 64, 0)
    bits = np.unpackbits(codec.encode(features), axis=1).astype(bool)
    assert np.array_equal(bits, features > features.mean(axis=0))
    with pytest.raises(UnfitBitsError, match="64 dimensions have 64 signs, not 128"):
        make_codec("signs", features, 128, 0)


def test_pages_are_filled_up_where_little_is_found(lab):
    engine = SimpleNamespace(
        category=SimpleNamespace(store_px=64, predict_batch=lambda s: ["x"] * len(s))
    )
    photos = lab.photos["val"]
    pages = systems.ask(
        lab, engine, photos, np.zeros((len(photos), 2)), lambda feature, said: np.array([7])
    )
    assert pages.shape == (len(photos), 60)
    assert (pages[:, 0] == 7).all()
    assert (pages[:, 1:] == -1).all()
