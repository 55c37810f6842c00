"""The compiled search and its twin in numpy find the very same, whatever there is to find."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numba import typeof
from random_features import unit

from vsa.index import hits, kernel, plain
from vsa.index.base import base_in_memory
from vsa.index.codec import STORED, make_codec
from vsa.index.lists import train_lists
from vsa.index.live import Changes
from vsa.index.model import Model
from vsa.index.request import SearchParams
from vsa.index.view import make_view, no_changes


def made_features(rng, kind, n, d):
    """Unit features; equal ones; few different ones; or values with many zeros of either sign."""
    if kind == "equal":
        return np.tile(unit(rng, 1, d), (n, 1))
    if kind == "few":
        return unit(rng, 3, d)[rng.integers(0, 3, n)]
    if kind == "zeros":
        return rng.choice([-0.0, 0.0, 0.25, -0.25, 6e-8], (n, d)).astype(np.float32)
    return unit(rng, n, d)


def made_view(rng, kind, n, n_live, n_gone, d, n_bits, n_lists, n_names, codec="rotation"):
    features = made_features(rng, kind, n, d).astype(STORED)
    codes = rng.integers(0, n_names, max(n, 1))[:n]
    sample = features if n else made_features(rng, kind, 3, d).astype(STORED)
    codec = make_codec(codec, sample.astype(np.float32), n_bits, 0)
    names = [f"{name}" for name in range(n_names)]
    owners = codes if n else np.zeros(3, int)
    lists = train_lists(sample, owners, names, codec, n_lists, 0)
    possible = np.setdiff1d(np.arange(-n, 5 * n + 9), -1)
    model, ids = Model(codec, lists), rng.permutation(possible)[:n]
    where = lists.assign(features, codes)
    words = model.words(features, where)
    base = base_in_memory(ids, where, len(lists), lambda rows: (words[rows], features[rows]))
    view = make_view(base, no_changes(model), model)
    for _ in range(3):  # some are added, some replaced, some removed, some of these added again
        some = rng.choice(possible, min(n_live, 5 * n), replace=False)
        there = np.concatenate([ids, view.ids])
        gone = np.unique(rng.choice(there, min(n_gone, len(there)))) if n else ids
        changed = np.union1d(some, gone)
        deleted = np.isin(changed, gone) & (rng.random(len(changed)) < 0.7)
        fresh = made_features(rng, kind, len(changed), d).astype(STORED)
        into = np.where(deleted, -1, lists.assign(fresh, rng.integers(0, n_names, len(changed))))
        view = view.after(Changes(changed, deleted, into, fresh, 0))
    return view


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**16),
    kind=st.sampled_from(["unit", "equal", "few", "zeros"]),
    n=st.sampled_from([0, 1, 7, 100, 3000]),
    n_live=st.sampled_from([0, 1, 40]),
    n_gone=st.sampled_from([0, 5, 60]),
    d=st.sampled_from([1, 5, 16, 33, 128]),
    n_bits=st.sampled_from([64, 128, 256, 512]),
    n_lists=st.sampled_from([1, 3, 30, 2000]),
    codec=st.sampled_from(["rotation", "rabitq"]),
    distance=st.sampled_from(["asymmetric", "hamming"]),
    refined=st.booleans(),
)
def test_the_kernel_finds_what_numpy_does(
    seed, kind, n, n_live, n_gone, d, n_bits, n_lists, codec, distance, refined
):
    rng = np.random.default_rng(seed)
    n_names = int(rng.integers(1, 4))
    view = made_view(rng, kind, n, n_live, n_gone, d, n_bits, n_lists, n_names, codec)
    asked = made_features(rng, kind, 3, d).astype(STORED)
    wanted = None if rng.random() < 0.5 else rng.integers(0, n_names, 1)
    params = SearchParams(
        int(rng.choice([1, 2, 9, 10**6])), int(rng.choice([1, 20, 700, 10**6])), distance
    )
    k = int(rng.choice([1, 10, 10**4]))
    both = [
        find_by(search, [view], asked, k, params, wanted, refined) for search in (plain, kernel)
    ]
    for name in ("ids", "similarity", "distance"):
        first, second = (getattr(found, name) for found in both)
        np.testing.assert_array_equal(first, second, name)
    assert not np.signbit(both[1].similarity[both[1].similarity == 0]).any()


def find_by(module, views, asked, k, params, wanted, refined):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hits, "_search", module.search)
        return hits.find(views, asked, k, params, wanted, refined=refined)


def part_of(rng, model, kind, n, first_id):
    """A view of a model, of items with ids from one on."""
    features = made_features(rng, kind, n, model.codec.dim).astype(STORED)
    where = rng.integers(0, len(model.lists), n)
    words = model.words(features, where)
    base = base_in_memory(
        first_id + rng.permutation(n),
        where,
        len(model.lists),
        lambda rows: (words[rows], features[rows]),
    )
    return make_view(base, no_changes(model), model)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**16),
    kind=st.sampled_from(["unit", "equal", "few", "zeros"]),
    n=st.sampled_from([1, 7, 100, 3000]),
    n_parts=st.integers(1, 4),
    n_bits=st.sampled_from([64, 256]),
    codec=st.sampled_from(["rotation", "rabitq"]),
    distance=st.sampled_from(["asymmetric", "hamming"]),
    refined=st.booleans(),
)
def test_parts_are_searched_as_if_they_were_one(
    seed, kind, n, n_parts, n_bits, codec, distance, refined
):
    rng = np.random.default_rng(seed)
    views = [made_view(rng, kind, n, 40, 5, 16, n_bits, 30, 2, codec)]
    for part in range(1, n_parts):
        views.append(part_of(rng, views[0].model, kind, int(rng.integers(0, n)), 10**6 * part))
    asked = made_features(rng, kind, 2, 16).astype(STORED)
    params = SearchParams(int(rng.choice([1, 9, 99])), int(rng.choice([1, 20, 700])), distance)
    k, wanted = int(rng.choice([1, 10, 999])), None if rng.random() < 0.5 else np.array([1])
    both = [find_by(search, views, asked, k, params, wanted, refined) for search in (plain, kernel)]
    for name in ("ids", "similarity", "distance"):
        first, second = (getattr(found, name) for found in both)
        np.testing.assert_array_equal(first, second, name)


def test_hamming_distance_counts_the_bits_that_differ():
    codes = np.random.default_rng(0).integers(0, 256, (20, 32), np.uint8)
    expected = np.unpackbits(codes ^ codes[0], axis=1).sum(axis=1).tolist()
    assert plain.hamming(codes[0], codes).tolist() == expected
    assert plain.weighted(codes[0], codes, np.ones(256, int)).tolist() == expected


def test_a_bit_weighs_by_how_far_the_query_is_from_its_plane():
    values = np.array([0.0, 0.124, 0.126, -0.5, 0.99, 1.0, -1.0, -0.874])
    assert plain.weights_of(values).tolist() == [1, 1, 3, 9, 15, 15, 15, 13]
    assert plain.weights_of(np.zeros(3)).tolist() == [1, 1, 1]


def test_threads_find_what_one_does():
    view = made_view(np.random.default_rng(0), "unit", 3000, 40, 5, 16, 64, 30, 2)
    asked = unit(np.random.default_rng(1), 101).astype(STORED)
    one, many = (
        hits.find([view], asked, 10, SearchParams(4, 50), n_threads=n_threads)
        for n_threads in (1, 3)
    )
    np.testing.assert_array_equal(one.ids, many.ids)
    np.testing.assert_array_equal(one.similarity, many.similarity)


def test_where_numba_cannot_compile_the_search_runs_in_numpy(monkeypatch, caplog):
    view = made_view(np.random.default_rng(0), "unit", 100, 1, 0, 16, 64, 3, 1)
    asked = unit(np.random.default_rng(1), 2).astype(STORED)
    expected = hits.find([view], asked, 5, SearchParams())
    monkeypatch.setattr(hits, "_search", None)
    monkeypatch.setitem(sys.modules, "vsa.index.kernel", None)  # as if it could not be imported
    found = hits.find([view], asked, 5, SearchParams())
    assert hits._search is plain.search
    assert "runs in numpy, slowly" in caplog.text
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.similarity, expected.similarity)


def test_arrays_are_opened_as_the_types_that_they_are():
    view = made_view(np.random.default_rng(0), "unit", 100, 1, 0, 16, 64, 3, 1)
    kernel._opened(view.table[0])  # compiles it
    assert [s.return_type for s in kernel._opened.nopython_signatures] == [typeof(view.arrays)]


def test_numba_is_not_loaded_before_the_first_search():
    code = "import sys, vsa; vsa.Index; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_all_numbers_of_16_bits_are_read_exactly():
    rng = np.random.default_rng(0)
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    rows = halves[np.isfinite(halves)].reshape(-1, 64)
    codec = make_codec("rotation", unit(rng, 9, 64), 64, 0)
    lists = train_lists(unit(rng, 9, 64), np.zeros(9, int), ["a"], codec, 1, 0)
    base = base_in_memory(
        np.arange(len(rows)),
        np.zeros(len(rows), int),
        len(lists),
        lambda some: (np.zeros((len(some), 1), np.uint64), rows[some]),
    )
    model = Model(codec, lists)
    query = unit(rng, 1, 64)[0]
    found = kernel.similarities(
        make_view(base, no_changes(model), model).arrays, np.arange(len(rows)), query
    )
    np.testing.assert_array_equal(found, plain.inner_products(rows, query))


def test_a_processor_without_any_extension_reads_them_too(tmp_path):
    code = "import test_kernel; test_kernel.test_all_numbers_of_16_bits_are_read_exactly()"
    least = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    known = {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | least | known)
