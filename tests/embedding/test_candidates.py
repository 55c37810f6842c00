"""Which describer is served."""

import dataclasses

import numpy as np
import pytest

from vsa.embedding.candidates import CANDIDATES, PLAIN, Validation, choose

PRODUCTS = np.repeat(np.arange(50), 4)


def precisions(*gains: float, noise: float = 0.1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    base = rng.uniform(0, 0.5, len(PRODUCTS))
    return {
        name: base + gain + noise * rng.normal(size=len(PRODUCTS))
        for name, gain in zip(CANDIDATES, gains, strict=False)
    }


def test_a_candidate_that_is_clearly_better_is_served():
    found = choose(precisions(0, 0.1, 0.3, 0.1), PRODUCTS)
    assert found.name == CANDIDATES[2]
    assert found.table.loc[CANDIDATES[2], "behind the best"] == 0
    assert found.table.loc[PLAIN, "behind the best"] == pytest.approx(0.3, abs=0.05)


def test_what_may_be_luck_leaves_the_simplest():
    plain = np.full(len(PRODUCTS), 0.5)
    swings = np.where(PRODUCTS % 2, 0.1, -0.1)  # as many products gain as lose
    for gain, name in ((0.01, PLAIN), (0.02, "other")):  # the standard error is 0.1 / √50
        found = choose({PLAIN: plain, "other": plain + swings + gain}, PRODUCTS)
        assert found.table.loc[PLAIN, "standard error"] == pytest.approx(0.1 / 50**0.5)
        assert found.name == name


def test_the_standard_error_takes_photos_of_a_product_together():
    rng = np.random.default_rng(0)
    per_product = rng.normal(0.05, 0.2, 50)
    shared = {"plain": np.zeros(200), "other": per_product[PRODUCTS]}
    error = choose(shared, PRODUCTS).table.loc["plain", "standard error"]
    assert error == pytest.approx(per_product.std() / np.sqrt(50), rel=1e-6)
    apart = choose(shared, np.arange(200)).table.loc["plain", "standard error"]
    assert apart == pytest.approx(error / 2, rel=1e-6)


def test_without_a_photo_to_choose_by_it_is_the_plain_network():
    assert choose({name: np.empty(0) for name in CANDIDATES}, np.empty(0)).name == PLAIN


def test_a_jury_counts_identical_items_of_the_whole_catalogue(task):
    rows = task.rows("val")
    products, offered = task.products
    jury = Validation(task, rows)
    one_hot = np.eye(offered.max() + 1, dtype=np.float32)
    assert jury.score(one_hot[products[rows]], one_hot[offered]) == 1
    wrong = one_hot[(products[rows] + 1) % (offered.max() + 1)]
    assert jury.score(wrong, one_hot[offered]) < 0.5
    assert Validation(task, rows[:0]).score(one_hot[:0], one_hot[offered]) == 0


def without_products(task):
    known = task.queries.product_id.where(task.queries.split == "test")
    return dataclasses.replace(task, queries=task.queries.assign(product_id=known))


def test_where_products_are_not_known_held_out_clicks_judge(task):
    hidden = without_products(task)
    assert not hidden.knows_validation
    assert not hidden.knows_training
    assert len(hidden.rows("test")) == len(task.rows("test"))
    jury = Validation.of(hidden)
    assert jury.by_clicks
    query, image = task.clicks
    assert jury.rows.tolist() == [r for r in task.rows("val") if r in query]
    assert jury.groups.tolist() == jury.rows.tolist()
    clicked = {row: image[query == row] for row in jury.rows}
    found = np.full((len(jury.rows), 5), -1)
    for line, row in zip(found, jury.rows, strict=True):
        line[: len(clicked[row])] = clicked[row][:5]
    assert (jury.hits(found) == (found >= 0)).all()
    assert jury.n_right.tolist() == [len(clicked[row]) for row in jury.rows]
    np.testing.assert_allclose(jury.of_ranking(found), 1)


def test_clicks_can_judge_beside_products(task):
    products, clicks = Validation.of(task), Validation.of(task, by_clicks=True)
    assert (products.by_clicks, clicks.by_clicks) == (False, True)
    catalogue = np.eye(len(task.catalogue), dtype=np.float32)
    query, image = task.clicks
    photos = np.stack([catalogue[image[query == row]].sum(axis=0) for row in clicks.rows])
    photos /= np.linalg.norm(photos, axis=1, keepdims=True)
    assert clicks.score(photos, catalogue) == pytest.approx(1)
    # the stray clicks that are in the log are wrong by products
    judged = Validation(task, clicks.rows)
    assert judged.score(photos, catalogue) < 1
