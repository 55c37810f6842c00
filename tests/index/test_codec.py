"""Codes keep what is near near."""

import faiss
import numpy as np
import pytest

from vsa.index.codec import Codec, check_features, itq, learned_hash, random_rotation
from vsa.runtime.errors import InputError


@pytest.fixture(scope="module")
def features():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 8)) @ rng.normal(size=(8, 32)) + 0.2 * rng.normal(size=(2000, 32))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def labels(features):
    """Eight classes by the signs of three directions."""
    rng = np.random.default_rng(1)
    return ((features @ rng.normal(size=(32, 3)) > 0) * [1, 2, 4]).sum(axis=1)


def overlap(codec, features):
    """Share of the ten nearest by feature that are among the ten nearest by code."""
    queries, rest = features[:200], features[200:]
    exact = faiss.knn(queries, rest, 10)[1]
    index = faiss.IndexBinaryFlat(codec.n_bits)
    index.add(codec.encode(rest))
    found = index.search(codec.encode(queries), 10)[1]
    return np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact, found, strict=True)])


def test_bits_are_the_signs_of_the_map():
    rng = np.random.default_rng(0)
    codec = Codec(rng.normal(size=(16, 4)).astype("f4"), rng.normal(size=16).astype("f4"))
    x = rng.normal(size=(50, 4)).astype("f4")
    bits = np.unpackbits(codec.encode(x, batch_size=7), axis=1)
    np.testing.assert_array_equal(bits, x @ codec.weight.T + codec.bias > 0)


@pytest.mark.parametrize("n_bits", [8, 32, 64])
def test_a_rotation_keeps_lengths_or_spreads_them_evenly(features, n_bits):
    weight = random_rotation(features, n_bits, 0).weight
    product = weight @ weight.T if n_bits <= 32 else weight.T @ weight
    np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-5)


def test_more_bits_keep_more_of_the_ranking(features):
    kept = [overlap(random_rotation(features, bits, 0), features) for bits in (16, 64, 256)]
    assert kept[0] + 0.1 < kept[1]
    assert kept[1] + 0.05 < kept[2]


def test_itq_beats_a_rotation_of_as_many_bits(features):
    assert overlap(itq(features, 16, 0), features) > overlap(
        random_rotation(features, 16, 0), features
    )


def test_a_learned_hash_tells_its_labels_apart(features, labels):
    def purity(codec):
        index = faiss.IndexBinaryFlat(codec.n_bits)
        index.add(codec.encode(features[200:]))
        found = index.search(codec.encode(features[:200]), 10)[1]
        return (labels[200:][found] == labels[:200, None]).mean()

    learned = learned_hash(features[200:], 16, 0, labels[200:])
    assert purity(learned) > purity(random_rotation(features, 16, 0)) + 0.05


@pytest.mark.parametrize("make", [random_rotation, itq])
def test_the_seed_decides(features, make):
    first, second = make(features, 16, 3), make(features, 16, 3)
    np.testing.assert_array_equal(first.weight, second.weight)
    assert not np.array_equal(first.weight, make(features, 16, 4).weight)


@pytest.mark.parametrize("n_bits", [0, 7, 12, 5000])
def test_bits_come_in_bytes(features, n_bits):
    with pytest.raises(InputError, match="cannot have"):
        random_rotation(features, n_bits, 0)


def test_itq_has_no_more_bits_than_dimensions(features):
    with pytest.raises(InputError, match="no 64 bits in 32"):
        itq(features, 64, 0)
    with pytest.raises(InputError, match="too few"):
        itq(features[:10], 16, 0)


@pytest.mark.parametrize("n", [1, 3, 17, 50])
def test_equal_features_have_equal_codes_whatever_stands_beside_them(features, n):
    same = np.tile(features[0], (n, 1))
    of_one = random_rotation(same, 64, 0)  # all lie on the mean, where a bit is decided
    assert len(np.unique(of_one.encode(same), axis=0)) == 1
    codec = random_rotation(features, 64, 0)
    together = codec.encode(features[:n])
    np.testing.assert_array_equal(together, [codec.encode(row[None])[0] for row in features[:n]])


def test_nothing_to_learn_from_is_an_error():
    with pytest.raises(InputError, match="no features"):
        random_rotation(np.empty((0, 8), np.float32), 8, 0)


def test_features_are_checked_and_rounded():
    checked = check_features(np.array([[0.1, 0.2]]), 2)
    assert checked.dtype == np.float16
    for bad, text in (
        (np.zeros(2), "shape"),
        (np.zeros((1, 3)), "shape"),
        (np.array([[0.0, np.nan]]), "feature 0 holds NaN"),
        (np.array([["a", "b"]]), "floating"),
        (np.array([[0.0, 1e5]]), "float16"),
    ):
        with pytest.raises(InputError, match=text):
            check_features(bad, 2)
