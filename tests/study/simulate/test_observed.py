"""A shop with a click log of its own, and no product known of any photo but the test's."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from coloured_squares import TRAINING

import vsa
from vsa import learn
from vsa.data.schema import BOX
from vsa.runtime.errors import InputError
from vsa.study.run import make_run
from vsa.study.simulate.clicks import with_clicks
from vsa.study.simulate.observed import (
    build_and_search,
    learning_settings,
    write_observed_shop,
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VSA_ARTIFACTS_DIR", str(tmp_path_factory.mktemp("artifacts")))
        size = {"n_products_per_category": 4, "image_px": 32}
        yield with_clicks(vsa.load_dataset("synthetic", settings=size))


@pytest.mark.parametrize("dataset", ["synthetic", "grocery"])
def test_settings_of_a_run_are_those_that_training_takes(dataset):
    settings = make_run(dataset, "smoke", 0).settings
    taken = learn._settings("googlenet", True, learning_settings(settings))
    assert taken.category.head == settings.category.head
    assert taken.category.trains == settings.category.trains
    assert taken.embedding.n_steps == settings.embedding.n_steps


def test_what_is_written_is_read_as_it_was(shop, tmp_path):
    folder = vsa.load_dataset(f"folder:{write_observed_shop(shop, tmp_path / 'all', hide=False)}")
    assert folder.queries.product_id.tolist() == shop.queries.product_id.tolist()
    np.testing.assert_allclose(folder.queries[BOX], shop.queries[BOX], atol=1e-3)
    pairs = []
    for one in (shop, folder):
        pages = one.pvlog.merge(one.queries[["query_id", "path"]], on="query_id")
        offered = one.catalogue[["image_id", "path"]]
        pages = pages.merge(offered, on="image_id", suffixes=("_asked", "_shown"))
        columns = ["session_id", "rank", "path_asked", "path_shown", "clicked"]
        texts = pages[columns].astype(str)
        for name in ("path_asked", "path_shown"):
            texts[name] = texts[name].str.removeprefix("pictures/")
        pairs.append(texts.sort_values(columns).to_numpy().tolist())
    assert pairs[0] == pairs[1]


@pytest.mark.slow
def test_clicks_alone_are_learned_from_chosen_by_and_searched(shop, tmp_path):
    folder = vsa.load_dataset(f"folder:{write_observed_shop(shop, tmp_path / 'shop')}")
    hidden = folder.queries[folder.queries.split != "test"]
    assert hidden.product_id.isna().all()
    assert hidden[BOX].isna().all(axis=None)
    assert folder.queries.product_id.notna().sum() == (shop.queries.split == "test").sum()
    with pytest.warns(UserWarning, match="chosen by their held-out clicks"):
        model = vsa.train(folder, backbone="googlenet_4a", pretrained=False, settings=TRAINING)
    assert "no click was filtered" in model.notes[0]
    found = build_and_search(folder, model)
    assert found.served == model.describer.name
    assert found.n_photos == (shop.queries.split == "test").sum()
    assert 0 <= found.recall[1] <= found.recall[5] <= found.recall[20] <= 1
    assert found.recall[20] > 0


def test_a_shop_without_clicks_or_with_pictures_that_stay_is_refused(shop, tmp_path):
    with pytest.raises(InputError, match="no click log to write"):
        write_observed_shop(dataclasses.replace(shop, pvlog=None), tmp_path / "shop")
    with pytest.raises(InputError, match="may not be redistributed"):
        write_observed_shop(dataclasses.replace(shop, may_show_pictures=False), tmp_path / "shop")
