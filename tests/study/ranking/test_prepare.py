"""From a catalogue and its features to pages that rankers learn from."""

import numpy as np
import pandas as pd
import pytest
from random_features import unit

from vsa.data.schema import QUALITY, Dataset
from vsa.runtime.errors import NotApplicable
from vsa.study.catalogue.prepare import Shop
from vsa.study.index.prepare import Asked, IndexTask
from vsa.study.ranking.prepare import K, rank_task
from vsa.study.simulate.shoppers import CATEGORY, ELSE, IDENTICAL, LEAF

N_PRODUCTS, N_IMAGES = 40, 160


def shop(quality: float | None) -> Shop:
    products = np.arange(N_IMAGES) % N_PRODUCTS
    catalogue = pd.DataFrame(
        {
            "image_id": [f"i{row}" for row in range(N_IMAGES)],
            "product_id": [f"p{product}" for product in products],
            "category": np.where(products < 20, "bags", "shoes"),
            "leaf": np.array(["tote", "clutch", "boot", "sandal"])[products // 10],
        }
    ).assign(**dict.fromkeys(QUALITY, np.nan if quality is None else quality))
    dataset = Dataset("shop", None, catalogue, pd.DataFrame(), pd.DataFrame())
    return Shop(dataset, pd.DataFrame(), None, True)


def index_task(n_products: int) -> IndexTask:
    rng = np.random.default_rng(0)
    products = np.arange(N_IMAGES) % N_PRODUCTS
    categories = np.where(products < 20, "bags", "shoes")
    kept = np.arange(N_IMAGES) % 5 != 0

    def asked(first: int, n: int) -> Asked:
        wanted = np.repeat(np.arange(first, first + n), 3)
        names = np.where(wanted < 20, "bags", "shoes")
        return Asked(unit(rng, len(wanted)), wanted, names, ("",) * len(wanted))

    sides = (asked(0, n_products), asked(15, 10), asked(15, 10))
    group = np.full(N_IMAGES, -1)
    return IndexTask(unit(rng, N_IMAGES), products, categories, kept, group, *sides)


def test_pages_hold_the_nearest_of_what_selection_kept():
    index, made = index_task(10), rank_task(shop(0.5), index_task(10), 0)
    page, asked = made.test, index.test
    assert page.rows.shape == (30, K)
    assert index.kept[page.rows].all()
    similarity = asked.features @ index.features[index.kept].T
    np.testing.assert_allclose(page.similarity, -np.sort(-similarity)[:, :K], atol=1e-5)
    own = (asked.features[:, None] * index.features[page.rows]).sum(axis=2)
    np.testing.assert_allclose(page.similarity, own, atol=1e-5)


def test_relevance_is_read_from_the_labels():
    made = rank_task(shop(0.5), index_task(10), 0)
    product = made.test.rows % N_PRODUCTS
    wanted = made.test.products[:, None]
    same = [product == wanted, product // 10 == wanted // 10, product // 20 == wanted // 20]
    expected = np.select(same, [IDENTICAL, LEAF, CATEGORY], ELSE)
    np.testing.assert_array_equal(made.test.relevance, expected)
    assert set(np.unique(expected)) == {ELSE, CATEGORY, LEAF, IDENTICAL}


def test_no_product_is_both_learned_from_and_chosen_on():
    made = rank_task(shop(0.5), index_task(10), 0)
    sides = [set(side.products) for side in (made.fit, made.choose)]
    assert sides[0] | sides[1] == set(range(10))
    assert not sides[0] & sides[1]
    assert len(sides[0]) == len(sides[1])


def test_signals_are_simulated_only_where_there_are_none():
    given = rank_task(shop(0.5), index_task(10), 0)
    assert not given.signals_are_simulated
    assert (given.quality[QUALITY] == 0.5).all(axis=None)
    drawn = rank_task(shop(None), index_task(10), 0)
    assert drawn.signals_are_simulated
    assert drawn.quality[QUALITY].notna().all(axis=None)


def test_one_product_cannot_be_halved():
    with pytest.raises(NotApplicable, match="too few products"):
        rank_task(shop(0.5), index_task(1), 0)
