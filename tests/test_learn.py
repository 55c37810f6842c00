from __future__ import annotations

import dataclasses
from contextlib import closing

import numpy as np
import pytest
import torch
from coloured_squares import TRAINING

import vsa
from vsa.runtime.deadline import Stopped, time_limit
from vsa.runtime.errors import InputError
from vsa.study.simulate.clicks import with_clicks

USUAL = {"backbone": "googlenet_4a", "pretrained": False, "settings": TRAINING}


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VSA_ARTIFACTS_DIR", str(tmp_path_factory.mktemp("artifacts")))
        size = {"n_products_per_category": 4, "image_px": 32}
        yield vsa.load_dataset("synthetic", settings=size)


@pytest.fixture(scope="module")
def clicked(shop):
    return with_clicks(shop)


@pytest.fixture(scope="module")
def model(clicked):
    return vsa.train(clicked, **USUAL)


def require_equal(one, two):
    assert one.category.choice == two.category.choice
    for name, value in one.network.state_dict().items():
        assert torch.equal(value, two.network.state_dict()[name]), name


def test_a_shop_is_learned_from_built_and_searched(clicked, model, tmp_path):
    assert model.image_px == 32
    assert model.category.categories == clicked.categories
    vsa.build(clicked, model, out=tmp_path / "my.engine", selection=None)
    engine = vsa.VisualSearch.open(tmp_path / "my.engine")
    found = engine.search(clicked.root / clicked.catalogue.path[0])
    assert len(found.results) > 0
    engine.close()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_models(clicked, model):
    require_equal(model, vsa.train(clicked, **USUAL))


def test_test_photos_are_not_looked_at(clicked, model):
    is_test = clicked.queries.split == "test"
    spoilt = clicked.queries.copy()
    paths = spoilt.path[is_test].to_numpy()
    spoilt.loc[is_test, "path"] = np.roll(paths, 1)
    require_equal(model, vsa.train(dataclasses.replace(clicked, queries=spoilt), **USUAL))


@pytest.mark.slow
def test_an_interrupted_training_goes_on_and_gives_the_same(clicked, model, tmp_path):
    for _ in range(20):
        try:
            with time_limit(0):
                cut = vsa.train(clicked, **USUAL, folder=tmp_path)
            break
        except Stopped:
            continue
    require_equal(model, cut)


def test_a_shop_without_clicks_is_told_of_the_simulator(shop):
    with pytest.raises(InputError, match=r"no page views.*with_clicks\(shop\)"):
        vsa.train(shop, **USUAL)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"loss": "pper"}, "unknown loss 'pper'. Did you mean paper"),
        ({"backbone": "googlenet_4b"}, "unknown backbone 'googlenet_4b'. Did you mean"),
        ({"seed": -1}, "seed -1 is not a whole number"),
        ({"settings": {"embedding.margn": 1}}, "Did you mean embedding.margin"),
        ({"settings": {"embedding.margin": -1}}, "greater than 0"),
        ({"settings": {"category.architecture": "resnet18"}}, "Pass backbone="),
    ],
)
def test_what_cannot_be_asked_for_is_told_before_any_work(clicked, changed, told):
    with pytest.raises(InputError) as failure:
        vsa.train(clicked, **(USUAL | changed))
    assert told in str(failure.value)


def test_a_shop_of_one_category_cannot_teach_it(clicked):
    one = dataclasses.replace(
        clicked,
        catalogue=clicked.catalogue.assign(category="things"),
        queries=clicked.queries.assign(category="things"),
    )
    with pytest.raises(InputError, match="there is one category only"):
        vsa.train(one, **USUAL)


def some_of(shop, photos, pictures):
    """The shop with those of its photos and catalogue pictures only, and clicks of its own."""
    few = dataclasses.replace(
        shop,
        queries=shop.queries[photos].reset_index(drop=True),
        catalogue=shop.catalogue[pictures].reset_index(drop=True),
    )
    return with_clicks(few)


def first_of(table, n):
    """Which rows are the first n of their product, bool."""
    return (table.groupby("product_id").cumcount() < n).to_numpy()


def test_a_shop_of_twenty_pictures_is_learned_from_and_built(shop, tmp_path):
    pictures = np.arange(len(shop.catalogue)) < 20
    photos = shop.queries.product_id.isin(shop.catalogue.product_id[pictures]).to_numpy()
    small = some_of(shop, photos, pictures)
    split = np.where(np.arange(len(small.queries)) % 3 == 0, "val", "train")
    small = dataclasses.replace(small, queries=small.queries.assign(split=split))
    vsa.build(small, vsa.train(small, **USUAL), out=tmp_path / "my.engine", selection=None)
    with closing(vsa.VisualSearch.open(tmp_path / "my.engine")) as engine:
        assert len(engine.search(small.root / small.queries.path[0]).results) == 20


def test_one_photo_and_one_picture_of_each_product_are_enough(shop):
    single = some_of(shop, first_of(shop.queries, 1), first_of(shop.catalogue, 1))
    assert (single.queries.product_id.value_counts() == 1).all()
    assert vsa.train(single, **USUAL).image_px == 32


def test_a_shop_without_validation_photos_is_told_so(clicked):
    photos = clicked.queries.assign(split=clicked.queries.split.replace("val", "train"))
    with pytest.raises(InputError, match="val"):
        vsa.train(dataclasses.replace(clicked, queries=photos), **USUAL)


def test_clicks_are_simulated_once_and_only_where_products_are_known(clicked, shop):
    with pytest.raises(InputError, match="page views of its own"):
        with_clicks(clicked)
    with pytest.raises(InputError, match="products on the photos are not known"):
        with_clicks(dataclasses.replace(shop, has_identities=False))


def test_a_name_is_no_shop(tmp_path):
    with pytest.raises(InputError, match=r"'synthetic' is no shop.*load_dataset"):
        vsa.train("synthetic", **USUAL)
    with pytest.raises(InputError, match="not built of a str and a NoneType"):
        vsa.build("synthetic", None, out=tmp_path / "my.engine")
