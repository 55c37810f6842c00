"""Codes keep what is near near."""

import faiss
import numpy as np
import pytest
from random_features import unit

import vsa
from vsa.index.codec import (
    CODECS,
    Codec,
    check_features,
    itq,
    learned_hash,
    make_codec,
    rabitq,
    random_rotation,
)
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


def test_rabitq_estimates_similarities_without_bias():
    rng = np.random.default_rng(0)
    centroids = np.tile(unit(rng, 1, 64), (4000, 1))
    items, query = centroids + 0.3 * unit(rng, 4000, 64), unit(rng, 1, 64)[0]
    known = query @ centroids[0]
    errors = []
    for seed in range(20):
        codec = rabitq(unit(rng, 9, 64), 64, seed)
        codes, factors = codec.encode_differences(items, centroids)
        signs = 2.0 * np.unpackbits(codes, axis=1) - 1
        f, g = factors.T
        estimates = known * (1 + g) + f * (signs @ (codec.weight @ query))
        errors.append(estimates - items @ query)
    errors = np.array(errors)
    # its error is about |r| |q − λ c| / √D (RaBitQ, theorem 3.2), and its mean goes to none
    assert 0.2 < errors.std() / (0.3 * np.sqrt(1 - known**2) / 8) < 1.2
    assert np.abs(errors.mean()) < 4 * errors.std() / np.sqrt(errors.size)


def test_a_query_like_the_centroid_is_estimated_exactly():
    rng = np.random.default_rng(0)
    centroids = np.tile(unit(rng, 1, 64), (100, 1))
    items, codec = unit(rng, 100, 64), rabitq(unit(rng, 9, 64), 64, 0)
    codes, factors = codec.encode_differences(items, centroids)
    f, g = factors.T
    signs = 2.0 * np.unpackbits(codes, axis=1) - 1
    for query in (centroids[0], -2 * centroids[0]):
        estimates = (query @ centroids[0]) * (1 + g) + f * (signs @ (codec.weight @ query))
        np.testing.assert_allclose(estimates, items @ query, atol=1e-5)


def test_what_does_not_differ_has_a_code_that_adds_nothing(features):
    for centroids in (features[:3], np.zeros_like(features[:3])):
        codes, factors = rabitq(features, 64, 0).encode_differences(centroids, centroids)
        assert (factors == 0).all()
        assert (codes == 0).all()


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


# Registered ------------------------------------------------------------------------------------


class Odd:
    """A codec that encodes as it is told."""

    def __init__(self, encode=None, n_bits=64, dim=32):
        self.n_bits, self.dim = n_bits, dim
        self.encode = encode or (lambda x: np.zeros((len(x), n_bits // 8), np.uint8))


def registered(monkeypatch, make):
    monkeypatch.setitem(CODECS._entries, "odd", make)
    monkeypatch.setitem(CODECS._versions, "odd", 1)


def test_ours_are_registered():
    assert list(CODECS)[:4] == ["rotation", "itq", "learned hash", "rabitq"]
    assert vsa.codecs is CODECS


@pytest.mark.parametrize("name", ["rotation", "itq", "learned hash", "rabitq"])
def test_a_registered_codec_is_made_by_its_name(features, labels, name):
    made = make_codec(name, features, 32, 0, labels)
    assert made.encode(features).shape == (2000, 4)
    assert (made.n_bits, made.dim) == (32, 32)


def test_somebody_elses_codec_may_be_any_object(features, monkeypatch):
    seen = []

    def encode(x):
        seen.append(x.dtype)
        return np.packbits(x[:, :8] ** 2 > 0.01, axis=1)

    registered(monkeypatch, lambda *_, **__: Odd(encode, 8))
    made = make_codec("odd", features, 8, 0)
    assert made.encode(features.astype(np.float16)).shape == (2000, 1)
    assert set(seen) == {np.dtype(np.float32)}
    registered(monkeypatch, lambda x, n, s, labels=None: Codec(np.eye(n, 32), np.zeros(n)))
    affine = make_codec("odd", features, 8, 0)
    assert type(affine) is Codec  # an index on disk can keep it
    assert affine.weight.dtype == affine.bias.dtype == np.float32


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (None, "returned NoneType, without 'encode'"),
        (Odd(n_bits=128), "makes 128 bits of 32 dimensions, where 64 of 32"),
        (Odd(dim=16), "makes 64 bits of 16 dimensions"),
        (Odd(lambda x: np.zeros((len(x), 8))), r"encodes as float64 \(3, 8\)"),
        (Odd(lambda x: np.zeros((len(x), 64), np.uint8)), r"not as uint8 \(3, 8\)"),
        (Odd(lambda x: np.zeros((1, 8), np.uint8)), r"encodes as uint8 \(1, 8\)"),
        (Odd(lambda x: x.tolist()), "encodes as <class 'list'>"),
        (Codec(np.ones((64, 32)), np.ones(63)), r"bias \(63,\)"),
        (Codec(np.ones(64), np.ones(64)), "is no"),
        (Codec(np.full((64, 32), np.nan), np.ones(64)), "not finite"),
        (Codec(np.ones((32, 64)), np.ones(32)), "makes 32 bits of 64 dimensions"),
    ],
)
def test_a_codec_that_does_not_encode_is_told_by_its_name(features, monkeypatch, made, text):
    registered(monkeypatch, lambda *_, **__: made)
    with pytest.raises(InputError, match=f"codec 'odd' {text}|codec 'odd' .*{text}") as caught:
        make_codec("odd", features, 64, 0)
    assert "Codec(weight, bias)" in caught.value.cure


def test_a_codec_that_fails_later_is_told_too(features, monkeypatch):
    broken = Odd(lambda x: np.zeros((min(len(x), 5), 8), np.uint8))
    registered(monkeypatch, lambda *_, **__: broken)
    made = make_codec("odd", features, 64, 0)
    with pytest.raises(InputError, match=r"encodes as uint8 \(5, 8\), not as uint8 \(9, 8\)"):
        made.encode(features[:9])


@pytest.mark.parametrize("entry", [3, lambda features: None, lambda f, n_bits, seed: None])
def test_what_cannot_be_called_as_a_codec_is_not_registered(entry):
    with pytest.raises(InputError, match="cannot be called"):
        CODECS.register("mine", entry)
    assert "mine" not in CODECS


def test_a_misspelt_codec_is_answered_with_the_nearest(features):
    with pytest.raises(InputError, match="Did you mean learned hash"):
        make_codec("learned-hash", features, 64, 0)


def test_a_codec_that_raises_is_named():
    def broken(features, n_bits, seed, labels=None):
        raise ValueError("boo")

    CODECS.register("broken", broken)
    try:
        with pytest.raises(InputError, match="'broken' raises ValueError: boo"):
            make_codec("broken", np.eye(64, dtype=np.float32), 64, 0)
    finally:
        del CODECS._entries["broken"]
