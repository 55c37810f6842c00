import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vsa.category.selection import (
    REASONS,
    SelectionSettings,
    duplicate_clusters,
    select,
    selection_summary,
)
from vsa.data.descriptors import perceptual_hash
from vsa.data.images import load_image


def photos(n, px=64, seed=0):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (n, 12, 12, 3), np.uint8)
    size = (px, px)
    return np.stack(
        [np.asarray(Image.fromarray(s).resize(size, Image.Resampling.BICUBIC)) for s in small]
    )


def saved_again(image, quality):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return load_image(buffer.getvalue(), image.shape[0])


def table(n, **columns):
    ids = [f"i{i:03}" for i in range(n)]
    fixed = {"image_id": ids, "product_id": ids, "category": "toys", "sales": np.nan}
    return pd.DataFrame({**fixed, "price": np.nan, **columns})


def by_id(selection):
    return selection.set_index("image_id")


def unit_circle(*degrees):
    angles = np.radians(degrees)
    return np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)


def test_distinct_good_pictures_are_all_kept():
    selection = select(table(30), photos(30))
    assert selection.kept.all()
    assert (selection.reason == "").all()
    assert (selection.duplicate_of == "").all()
    assert (selection.group == -1).all()
    assert selection.same_product.isna().all()
    assert duplicate_clusters(selection) == []


def test_attributes_are_needed():
    catalogue = table(5, price=[np.nan, 0.0, 9.9, 1.0, 1.0])
    catalogue["category"] = ["toys", "toys", "toys", " ", None]
    reasons = select(catalogue, photos(5)).reason.tolist()
    assert reasons == ["", "missing attribute", "", "missing attribute", "missing attribute"]


def test_flat_and_blurred_pictures_go():
    images = photos(4)
    images[1] = 200
    images[2] = np.linspace(0, 255, 64).astype(np.uint8)[:, None, None]  # a gradient: no edges
    selection = select(table(4), images)
    assert selection.reason.tolist() == ["", "low quality: flat", "low quality: blurred", ""]
    assert (selection.group == -1).all()


def test_plain_pictures_count_as_flat_and_not_as_duplicates():
    assert (select(table(3), np.full((3, 8, 8, 3), 9, np.uint8)).reason == REASONS[2]).all()


def test_identical_and_near_identical_pictures_of_any_seller():
    images = photos(10)
    images[3] = images[7]
    images[5] = saved_again(images[1], quality=60)
    products = [f"p{i}" for i in range(10)]
    products[7] = products[3]
    selection = by_id(select(table(10, product_id=products), images))
    assert selection.index[~selection.kept].tolist() == ["i005", "i007"]
    assert selection.loc["i007", ["reason", "duplicate_of"]].tolist() == ["identical", "i003"]
    assert selection.loc["i005", ["reason", "duplicate_of"]].tolist() == ["near-identical", "i001"]
    assert selection.same_product.dropna().to_dict() == {"i005": False, "i007": True}
    assert selection.group[["i001", "i005"]].tolist() == [0, 0]
    assert selection.group[["i003", "i007"]].tolist() == [1, 1]


def test_the_best_seller_survives_and_unknown_sales_come_last():
    images = np.repeat(photos(2), [4, 3], axis=0)
    catalogue = table(7, sales=[5, 90, np.nan, 90, np.nan, np.nan, 0])
    selection = by_id(select(catalogue, images))
    assert selection.index[selection.kept].tolist() == ["i001", "i006"]


def test_copies_follow_their_picture_to_the_one_that_stands_for_it():
    original = photos(1)[0]
    near = saved_again(original, quality=70)
    images = np.stack([near, near, original])
    selection = by_id(select(table(3, sales=[2, 1, 3]), images))
    assert selection.reason.tolist() == ["near-identical", "identical", ""]
    assert selection.duplicate_of.tolist() == ["i002", "i002", ""]
    assert duplicate_clusters(selection.reset_index()) == [["i002", "i000", "i001"]]


def test_chains_of_small_differences_do_not_add_up():
    images = np.repeat(photos(1), 5, axis=0)
    images[np.arange(5), 0, 0] = np.arange(5)[:, None]  # the same hash, other pixels
    assert (perceptual_hash(images) == perceptual_hash(images)[0]).all()
    step = np.degrees(2 * np.arcsin(0.1))  # the angle at which the distance is 0.2
    features = unit_circle(*(np.arange(5) * step * 0.99))
    selection = select(table(5), images, features)
    assert selection.duplicate_of.tolist() == ["", "i000", "", "i002", ""]
    best_in_the_middle = select(table(5, sales=[0, 0, 9, 0, 0]), images, features)
    assert best_in_the_middle.duplicate_of.tolist() == ["", "i002", "", "i002", ""]


@pytest.mark.parametrize(("distance", "is_near"), [(0.199, True), (0.201, False)])
def test_features_confirm_what_hashes_propose(distance, is_near):
    images = np.repeat(photos(1), 2, axis=0)
    images[1, 0, 0] ^= 1
    features = unit_circle(0, np.degrees(2 * np.arcsin(distance / 2)))
    assert (select(table(2), images, features).reason[1] == "near-identical") == is_near


def test_hash_limit_is_inclusive():
    images = photos(2)
    bits = np.unpackbits(perceptual_hash(images)[0] ^ perceptual_hash(images)[1]).sum()
    same = unit_circle(0, 0)
    at, below = (SelectionSettings(max_hamming_bits=int(b)) for b in (bits, bits - 1))
    assert not select(table(2), images, same, at).kept.all()
    assert select(table(2), images, same, below).kept.all()


def brute_force(catalogue, images, features, limits):
    """The same by the definition: one picture after the other, best first."""
    hashes = np.unpackbits(perceptual_hash(images), axis=1).astype(int)
    order = catalogue.assign(row=range(len(catalogue)), known=catalogue.sales.fillna(-1))
    order = order.sort_values(["known", "image_id"], ascending=[False, True]).row
    kept, stands_for = [], {}
    for row in order:
        for other in kept:
            near = np.abs(hashes[row] - hashes[other]).sum() <= limits.max_hamming_bits
            near &= np.linalg.norm(features[row] - features[other]) <= limits.max_distance
            if (images[row] == images[other]).all() or near:
                stands_for[row] = other
                break
        else:
            kept.append(row)
    return {catalogue.image_id[a]: catalogue.image_id[b] for a, b in stands_for.items()}


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000))
def test_equals_brute_force_for_any_order_of_rows(seed):
    rng = np.random.default_rng(seed)
    images = photos(6, px=32, seed=seed)[rng.integers(0, 6, 24)]
    noise = rng.integers(-40, 41, images.shape) * (rng.random((24, 1, 1, 1)) < 0.5)
    images = np.clip(images.astype(int) + noise, 0, 255).astype(np.uint8)
    features = unit_circle(*rng.uniform(0, 40, 24))
    # Equal pixels have equal features, as from any deterministic network.
    _, first = np.unique(images.reshape(24, -1), axis=0, return_index=True)
    for i in first:
        features[(images == images[i]).all(axis=(1, 2, 3))] = features[i]
    catalogue = table(24, sales=rng.choice([np.nan, 0, 1, 2], 24))
    limits = SelectionSettings(max_hamming_bits=8)
    selection = select(catalogue, images, features, limits)
    removed = selection[~selection.kept]
    expected = brute_force(catalogue, images, features, limits)
    assert dict(zip(removed.image_id, removed.duplicate_of, strict=True)) == expected

    rows = rng.permutation(24)
    shuffled = select(catalogue.iloc[rows], images[rows], features[rows], limits)
    assert shuffled.image_id.tolist() == catalogue.image_id.iloc[rows].tolist()
    pd.testing.assert_frame_equal(by_id(shuffled).sort_index(), by_id(selection))
    assert duplicate_clusters(shuffled) == duplicate_clusters(selection)


def test_chunks_of_the_search_do_not_matter(monkeypatch):
    images = np.repeat(photos(8), 4, axis=0)
    images[:, 0, 0, 0] = np.arange(32)
    whole = select(table(32), images)
    assert whole.kept.sum() == 8
    monkeypatch.setattr("vsa.category.selection._SEARCH_ROWS", 3)
    pd.testing.assert_frame_equal(select(table(32), images), whole)


def test_catalogue_of_one_picture_many_times():
    selection = select(table(1500), np.broadcast_to(photos(1), (1500, 64, 64, 3)))
    assert selection.kept.sum() == 1
    assert (selection.duplicate_of[1:] == "i000").all()
    assert [len(cluster) for cluster in duplicate_clusters(selection)] == [1500]


@pytest.mark.parametrize("n", [0, 1])
def test_smallest_catalogues(n):
    selection, other = select(table(n), photos(n + 1)[:n]), select(table(5), photos(5))
    assert selection.kept.tolist() == [True] * n
    assert selection.dtypes.to_dict() == other.dtypes.to_dict()
    assert duplicate_clusters(selection) == []
    assert selection_summary(selection).n_images.tolist() == [n, 0, 0, 0, 0, 0]


def test_clusters_are_sorted_by_size():
    images = np.repeat(photos(4), [2, 4, 1, 3], axis=0)
    clusters = duplicate_clusters(select(table(10), images))
    assert clusters == [
        ["i002", "i003", "i004", "i005"],
        ["i007", "i008", "i009"],
        ["i000", "i001"],
    ]


def test_summary_counts_every_reason():
    images = np.concatenate([np.repeat(photos(1), 3, axis=0), photos(4, seed=1)])
    images[3] = 0
    catalogue = table(7, price=[1.0] * 6 + [0.0])
    catalogue.loc[1, "product_id"] = "i000"
    summary = selection_summary(select(catalogue, images)).set_index("reason")
    assert summary.index.tolist() == ["kept", *REASONS[1:]]
    assert summary.n_images.to_dict() == {
        "kept": 3,
        "missing attribute": 1,
        "low quality: flat": 1,
        "low quality: blurred": 0,
        "identical": 2,
        "near-identical": 0,
    }
    assert summary.n_other_product.tolist() == [0, 0, 0, 0, 1, 0]
    assert summary.share.sum() == pytest.approx(1)


def test_saved_again_pictures_are_found_and_unrelated_ones_kept():
    images = photos(40)
    copies = np.stack([saved_again(image, quality=50) for image in images])
    selection = select(table(80), np.concatenate([images, copies]))
    assert selection.kept[:40].all()
    assert selection.kept[40:].sum() <= 4
