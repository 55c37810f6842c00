"""The synthetic shop: deterministic, honest about boxes and identities, cached."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops

from vsa.data.schema import BOX, CATALOGUE, QUALITY, QUERIES, Dataset, check
from vsa.study.simulate.settings import SyntheticSize
from vsa.study.simulate.signals import draw_listing
from vsa.study.simulate.synthetic import DATASHEET, load_synthetic, photos, shop
from vsa.study.simulate.synthetic.families import make_products
from vsa.study.simulate.synthetic.placing import VISIBLE, quad, tight_box, warp
from vsa.study.simulate.synthetic.products import LEAVES
from vsa.study.simulate.synthetic.sprites import draw_sprite

SIZE = SyntheticSize(n_products_per_category=5, image_px=48)
CATEGORIES = {
    *("shirt", "dress", "pants", "bags", "shoes", "accessories", "snacks", "cosmetics"),
    *("beverages", "furniture", "toys", "underdress", "digital", "others"),
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VSA_ARTIFACTS_DIR", str(tmp_path_factory.mktemp("artifacts")))
        patch.setenv("VSA_PROGRESS", "off")
        return load_synthetic(SIZE, seed=3)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def rendered(folder: Path, seed: int, n_workers: int) -> tuple[dict[str, str], pd.DataFrame]:
    folder.mkdir()
    catalogue, queries = shop.render_shop(1, 32, seed, folder, n_workers)
    return digests(folder), pd.concat([catalogue, queries], ignore_index=True)


def test_seed_alone_decides_the_bytes_whatever_the_number_of_workers(tmp_path: Path) -> None:
    alone, alone_table = rendered(tmp_path / "alone", 0, n_workers=1)
    shared, shared_table = rendered(tmp_path / "shared", 0, n_workers=3)
    assert alone == shared
    pd.testing.assert_frame_equal(alone_table, shared_table)
    another, _ = rendered(tmp_path / "another", 1, n_workers=1)
    assert not set(alone.values()) & set(another.values())


def test_tables_fit_the_schema_and_every_picture_exists(dataset: Dataset) -> None:
    check(dataset.catalogue, CATALOGUE, "catalogue")
    check(dataset.queries, QUERIES, "queries")
    for path in [*dataset.catalogue.path, *dataset.queries.path]:
        with Image.open(dataset.root / path) as image:
            assert (image.size, image.mode) == ((SIZE.image_px,) * 2, "RGB")
    assert dataset.catalogue[QUALITY + BOX].notna().all(axis=None)
    assert dataset.queries[BOX].notna().all(axis=None)
    assert dataset.rejected.empty


def test_identifiers_tell_product_and_kind(dataset: Dataset) -> None:
    expected = dataset.catalogue.product_id + "-" + dataset.catalogue.source
    assert dataset.catalogue.image_id.str.replace(r"\d+$", "", regex=True).equals(expected)
    assert (dataset.queries.query_id.str[1:5] == dataset.queries.product_id.str[1:]).all()
    assert (dataset.queries.groupby("product_id").size() == shop.N_QUERIES).all()


def test_fourteen_categories_of_three_leaves_or_more(dataset: Dataset) -> None:
    assert set(LEAVES) == set(dataset.categories) == CATEGORIES
    assert all(len(leaves) >= 3 for leaves in LEAVES.values())
    products = make_products(20, seed=0)
    for category, leaves in LEAVES.items():
        drawn = {product.leaf for product in products if product.category == category}
        assert drawn == {leaf.__name__ for leaf in leaves}


def test_splits_are_disjoint_and_stratified() -> None:
    products = pd.DataFrame(
        [(p.product_id, p.category, p.split) for p in make_products(40, seed=0)],
        columns=["product_id", "category", "split"],
    )
    assert products.product_id.is_unique
    shares = pd.crosstab(products.category, products.split)
    assert (shares[["train", "val", "test"]] == [24, 6, 10]).all(axis=None)


def test_one_product_stays_in_one_split(dataset: Dataset) -> None:
    assert dataset.products_disjoint
    assert set(dataset.queries.split) == {"train", "val", "test"}


def test_family_members_differ_in_the_picture() -> None:
    products = make_products(24, seed=0)
    n_pairs = n_alike = 0
    for first, second in itertools.pairwise(products):
        if (first.category, first.family) == (second.category, second.family):
            assert first.leaf == second.leaf
            n_pairs += 1
            n_alike += draw_sprite(first, 64).tobytes() == draw_sprite(second, 64).tobytes()
    assert n_pairs > 50
    assert n_alike == 0


def test_listings_share_the_product_and_not_the_signals(dataset: Dataset) -> None:
    mains = dataset.catalogue[dataset.catalogue.source == "main"]
    relisted = mains[mains.duplicated("product_id", keep=False)]
    assert len(relisted) > 20
    first = mains[mains.image_id.str.endswith("main0")].set_index("product_id")
    others = mains[~mains.image_id.str.endswith("main0")]
    assert (others.price.to_numpy() != first.price[others.product_id].to_numpy()).mean() > 0.9
    n_exact = 0
    for row in others.itertuples():
        original = dataset.root / first.path[row.product_id]
        n_exact += original.read_bytes() == (dataset.root / row.path).read_bytes()
        a, b = (np.asarray(Image.open(p), float) for p in (original, dataset.root / row.path))
        assert np.abs(a - b).mean() < 70  # near-duplicates, not other pictures
    assert 0 < n_exact < len(others) / 2


def test_seller_pictures_share_the_signals_of_their_listing(dataset: Dataset) -> None:
    own = dataset.catalogue[~dataset.catalogue.image_id.str.contains(r"main[1-9]")]
    assert len(own[["product_id", *QUALITY]].drop_duplicates()) == own.product_id.nunique()


def test_quality_signals_agree_with_each_other_and_have_a_heavy_tail() -> None:
    rng = np.random.default_rng(0)
    listings = pd.DataFrame([draw_listing(50.0, rng.normal(), rng) for _ in range(3000)])
    ranks = listings.rank().corr()
    assert 0.2 < ranks.loc["sales", "conversion_rate"] < 0.8
    assert 0.2 < ranks.loc["sales", "applause_rate"] < 0.8
    assert listings.sales.mean() > 2 * listings.sales.median()


@pytest.mark.parametrize("kind", ["main", "sku", "real", "relisting"])
def test_boxes_are_tight_around_the_mask(kind: str) -> None:
    rng = np.random.default_rng(0)
    products = make_products(1, seed=5)
    for product in products:
        shot = photos.main_shot(product, 64, rng)
        if kind == "sku":
            shot = photos.sku_shot(product, 64, rng)
        elif kind == "real":
            shot = photos.real_shot(product, products[:2], 64, rng)
        elif kind == "relisting":
            shot = photos.relisting(shot, rng)
        x0, y0, x1, y1 = (round(64 * side) for side in shot.box)
        inside = np.zeros((64, 64), bool)
        inside[y0:y1, x0:x1] = True
        visible = np.asarray(shot.mask) >= VISIBLE
        assert not visible[~inside].any()
        assert visible[y0].any()
        assert visible[y1 - 1].any()
        assert visible[:, x0].any()
        assert visible[:, x1 - 1].any()


def test_the_mask_is_where_the_product_is() -> None:
    """In a studio picture the product, and only it and its faint shadow, leaves the background."""
    rng = np.random.default_rng(1)
    product = make_products(1, seed=5)[0]
    for _ in range(5):
        shot = photos.main_shot(product, 96, rng)
        rows = np.asarray(shot.image, float)
        contrast = np.abs(rows - rows[:, :1]).max(2)  # the background varies from top to bottom
        solid = np.asarray(shot.mask) > 250
        far = np.asarray(shot.mask.filter(photos.ImageFilter.MaxFilter(15))) == 0
        assert np.median(contrast[solid]) > 20
        assert contrast[far].max() < 3


def test_query_boxes_have_the_announced_sizes(dataset: Dataset) -> None:
    box = dataset.queries[BOX]
    area = (box.x_max - box.x_min) * (box.y_max - box.y_min)
    assert area.min() > 0.08
    assert area.max() <= 0.75
    assert area.quantile(0.1) < 0.35 < area.median() < 0.55 < area.quantile(0.95)


def test_at_most_a_quarter_of_the_object_is_hidden() -> None:
    rng = np.random.default_rng(2)
    n_covered = 0
    for product in make_products(4, seed=1):
        layer = photos._object(product, 64, rng, 1.0, None)
        mask = layer.getchannel("A")
        before = Image.new("RGB", (64, 64), (1, 2, 3))
        after = before.copy()
        photos._occlude(after, mask, rng)
        changed = np.asarray(ImageChops.difference(before, after)).max(2) > 0
        seen = np.asarray(mask) >= VISIBLE
        n_covered += (changed & seen).any()
        assert (changed & seen).sum() <= photos.MAX_OCCLUSION * seen.sum() + 0.06 * seen.sum()
    assert n_covered > 20


@settings(max_examples=60, deadline=None)
@given(
    degrees=st.floats(-180, 180),
    side=st.floats(0.2, 0.8),
    skew_seed=st.integers(0, 1000),
    aspect=st.floats(0.3, 3),
)
def test_a_solid_sprite_fills_its_quad(
    degrees: float, side: float, skew_seed: int, aspect: float
) -> None:
    """Warping a solid rectangle gives a mask whose box is the bounding box of the corners."""
    n_px = 80
    sprite = Image.new("RGBA", (60, max(8, int(60 * aspect))), (9, 9, 9, 255))
    skew = np.random.default_rng(skew_seed).uniform(-0.1, 0.1, (4, 2))
    box_px = (side * n_px, side * n_px)
    corners = quad(sprite.size, (n_px / 2, n_px / 2), box_px, degrees, skew, 0.95 * n_px)
    box = np.array(tight_box(warp(sprite, corners, n_px, 2).getchannel("A"))) * n_px
    expected = np.concatenate([corners.min(0), corners.max(0)])
    assert np.abs(box - expected).max() <= 4.5  # a sharp corner may be thinner than a pixel


def test_an_empty_mask_has_no_box() -> None:
    with pytest.raises(ValueError, match="nothing of the object"):
        tight_box(Image.new("L", (8, 8)))


def test_second_load_reads_and_does_not_render(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VSA_ARTIFACTS_DIR", str(dataset.root.parents[1]))
    monkeypatch.setattr(shop, "render_shop", lambda *_: pytest.fail("rendered again"))
    again = load_synthetic(SIZE, seed=3)
    pd.testing.assert_frame_equal(again.catalogue, dataset.catalogue)
    pd.testing.assert_frame_equal(again.queries, dataset.queries)


def test_a_failed_rendering_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setenv("VSA_ARTIFACTS_DIR", str(tmp_path))
    monkeypatch.setattr(shop, "render_shop", fail)
    with pytest.raises(OSError, match="disk full"):
        load_synthetic(SIZE, seed=3)
    assert list((tmp_path / "synthetic").iterdir()) == []


def test_the_data_set_says_that_it_is_made_up(dataset: Dataset) -> None:
    assert "picture" in " ".join(dataset.simulated)
    assert "distrust" in DATASHEET
