"""An index in memory finds what one in a folder does; one query or many, arrays or tensors."""

import doctest
import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_features import DIM, NAMES, unit

import vsa
from vsa.index import index as index_module
from vsa.index import memory
from vsa.index.build import build_index
from vsa.index.index import Index
from vsa.index.request import SearchParams
from vsa.runtime.errors import InputError

ALL = SearchParams(10**6, 10**6)
N = 400


def make(n=N, *, seed=0, names=None):
    rng = np.random.default_rng(seed)
    features = unit(rng, n)
    categories = None if names is None else rng.choice(names, n)
    index = Index(DIM, n_bits=64)
    index.train(features, categories)
    index.add(features, categories=categories)
    return index, features, categories


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


QUERIES = unit(np.random.default_rng(9), 30)
EVERY_WAY = [ALL, SearchParams(3, 20), SearchParams(1, 1), SearchParams()]


@pytest.mark.parametrize("params", EVERY_WAY)
@pytest.mark.parametrize("categories", [None, [NAMES[0]], NAMES[1:]])
def test_results_are_the_same_before_save_after_it_and_by_the_old_path(
    tmp_path, params, categories
):
    index, features, names = make(names=NAMES)
    before = index.search(QUERIES, 7, params, categories)
    index.save(tmp_path / "index")
    assert index.folder == tmp_path / "index"
    build_index(tmp_path / "built", features, categories=names, n_bits=64)
    with Index.open(tmp_path / "index") as opened, Index.open(tmp_path / "built") as built:
        for other in (index, opened, built):
            assert same(before, other.search(QUERIES, 7, params, categories))
    index.close()


@pytest.mark.parametrize("params", EVERY_WAY)
@pytest.mark.parametrize("few", [0, 50, 10**6])
def test_changes_do_the_same_in_memory_and_in_a_folder(tmp_path, monkeypatch, params, few):
    monkeypatch.setattr(memory, "_FEW", few)  # whatever of it has been folded
    index, features, _ = make(100)
    build_index(tmp_path / "index", features, n_bits=64)
    with Index.open(tmp_path / "index", writable=True) as durable:
        rng = np.random.default_rng(4)
        for step in range(8):
            fresh, ids = unit(rng, 40), np.arange(step * 1000, step * 1000 + 40) + 500
            gone = rng.choice(ids, 15, replace=False)
            other = unit(rng, 25)
            for one in (index, durable):
                one.add(fresh, ids)
                one.remove(gone)
                one.update(other, np.setdiff1d(ids, gone))
            if step == 5:
                index.compact()
                durable.compact()
            assert len(index) == len(durable) == index.ntotal
            assert same(index.search(QUERIES, 9, params), durable.search(QUERIES, 9, params))


@given(
    n=st.integers(0, 60),
    n_candidates=st.integers(1, 70),
    k=st.integers(1, 70),
    seed=st.integers(0, 2**16),
    n_gone=st.integers(0, 10),
)
@settings(max_examples=60, deadline=None)
def test_search_is_a_scan_of_codes_refined_by_features(n, n_candidates, k, seed, n_gone):
    rng = np.random.default_rng(seed)
    # eighths of small numbers: products are exact, so that ties are ties
    features = (rng.integers(-3, 4, (n, 8)) / 8).astype(np.float32)
    ids = rng.choice(np.setdiff1d(np.arange(-500, 500), [-1]), n, replace=False)  # −1: no id
    index = Index(8, codec="rotation", n_bits=64, seed=seed)
    index.train(np.concatenate([features, unit(rng, 5, 8)]))
    index.add(features, ids)
    gone = rng.choice(n, min(n, n_gone), replace=False) if n else np.empty(0, np.int64)
    index.remove(ids[gone])
    features, ids = np.delete(features, gone, axis=0), np.delete(ids, gone)
    queries = (rng.integers(-3, 4, (4, 8)) / 8).astype(np.float32)
    scores, found = index.search(queries, k, SearchParams(10**6, n_candidates, "hamming"))
    codes = index.model.codec.encode(features)
    for row, query in enumerate(queries):
        code = index.model.codec.encode(query[None])
        bits = np.unpackbits(code ^ codes, axis=1).sum(axis=1)
        near = np.lexsort((ids, bits))[: max(k, n_candidates)]
        exact = features[near] @ query
        best = np.lexsort((ids[near], -exact))[:k]
        n_found = len(best)
        assert found[row].tolist() == ids[near][best].tolist() + [-1] * (k - n_found)
        assert scores[row, :n_found].tolist() == exact[best].tolist()
        assert np.isneginf(scores[row, n_found:]).all()


def test_many_queries_are_answered_as_each_alone():
    index, _, _ = make()
    scores, ids = index.search(QUERIES, 9)
    assert (scores.dtype, ids.dtype, scores.shape) == (np.float32, np.int64, (30, 9))
    for row, query in enumerate(QUERIES):
        alone = index.search(query, 9)
        assert alone[0].shape == (9,)
        assert same(alone, (scores[row], ids[row]))
        hits = index.search_one(query, 9)
        assert same((hits.similarity, hits.ids), alone)
    assert index.search(QUERIES[:0], 9)[1].shape == (0, 9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.bfloat16])
def test_tensors_and_arrays_are_alike(dtype):
    tensor = torch.from_numpy(unit(np.random.default_rng(1), N)).to(dtype).requires_grad_()
    array = tensor.detach().double().numpy()
    first, second = Index(DIM, n_bits=64), Index(DIM, n_bits=64)
    for index, given_ in ((first, tensor), (second, array)):
        index.train(given_)
        index.add(given_, torch.arange(N) if index is first else np.arange(N))
    assert same(first.search(tensor[:9], 5), second.search(array[:9], 5))
    assert same(first.search(tensor[0], 5), second.search(array[0], 5))
    assert same(first.search(array[:9].tolist(), 5), second.search(array[:9], 5))


def test_fewer_than_k_are_padded():
    index, _, _ = make(4)
    scores, ids = index.search(QUERIES[:2], 7, ALL)
    assert np.isneginf(scores[:, 4:]).all()
    assert np.isfinite(scores[:, :4]).all()
    assert (ids[:, 4:] == -1).all()
    assert sorted(ids[0, :4]) == [0, 1, 2, 3]
    index.remove(np.arange(4))
    scores, ids = index.search(QUERIES[0], 3)
    assert ids.tolist() == [-1] * 3
    assert np.isneginf(scores).all()


def test_ids_are_the_next_free_ones_unless_given(tmp_path):
    index = Index(DIM, n_bits=64)
    features = unit(np.random.default_rng(0), 20)
    index.train(features)
    assert index.add(features[:3]).tolist() == [0, 1, 2]
    index.add(features[:1], [9])
    assert index.add(features[:2]).tolist() == [10, 11]
    index.remove([11, 10])
    assert index.add(features[:1]).tolist() == [10]
    index.save(tmp_path / "index")
    index.remove([10, 9])
    assert index.add(features[:2]).tolist() == [3, 4]
    index.compact()
    assert index.add(features[:0]).tolist() == []
    assert index.add(features[:1]).tolist() == [5]
    index.update(features[5:6], [5])
    index.add(features[:1], [2**63 - 1])
    with pytest.raises(InputError, match="does not fit"):
        index.add(features[:1])
    index.close()


def test_an_index_without_items_can_be_saved_and_filled_later(tmp_path):
    index = Index(DIM, n_bits=64)
    assert (index.is_trained, len(index), index.folder) == (False, 0, None)
    index.train(QUERIES)
    assert (index.is_trained, len(index)) == (True, 0)
    index.save(tmp_path / "index")
    assert index.search(QUERIES[0], 2)[1].tolist() == [-1, -1]
    index.add(QUERIES)
    index.verify()
    with Index.open(tmp_path / "index") as other:
        assert other.search(QUERIES, 1, ALL)[1].ravel().tolist() == list(range(30))
    index.close()


def test_after_save_another_may_take_the_right_to_write(tmp_path):
    index, _, _ = make(20)
    index.save(tmp_path / "index")
    with Index.open(tmp_path / "index", writable=True) as other:
        assert other.add(QUERIES[:2]).tolist() == [20, 21]
        assert len(index) == 22
        with pytest.raises(InputError, match="another writer"):
            index.add(QUERIES[:1])
    assert index.add(QUERIES[:1]).tolist() == [22]
    with pytest.raises(InputError, match="another writer"):
        Index.open(tmp_path / "index", writable=True)
    index.close()
    Index.open(tmp_path / "index", writable=True).close()


def test_parameters_stay_with_the_index(tmp_path):
    index = Index(DIM, n_bits=64)
    index.params = SearchParams(2, 30)
    index.train(QUERIES)
    index.add(QUERIES)
    assert index.params == SearchParams(2, 30)
    index.params = SearchParams(3, 30)
    index.save(tmp_path / "index")
    index.params = SearchParams(5, 40)
    index.close()
    with Index.open(tmp_path / "index") as opened:
        assert opened.params == SearchParams(5, 40)
        assert same(opened.search(QUERIES), opened.search(QUERIES, params=SearchParams(5, 40)))
        with pytest.raises(InputError, match="opened for reading"):
            opened.params = ALL


def test_save_replaces_an_index_and_nothing_else(tmp_path):
    index, _, _ = make(20)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").write_text("mine")
    with pytest.raises(InputError, match="mine"):
        index.save(tmp_path / "mine")
    assert (tmp_path / "mine" / "photo.jpg").read_text() == "mine"
    make(30)[0].save(tmp_path / "index")
    with (
        Index.open(tmp_path / "index", writable=True),
        pytest.raises(InputError, match="another writer"),
    ):
        index.save(tmp_path / "index")
    assert index.folder is None
    assert len(index) == 20
    index.save(tmp_path / "index")
    with Index.open(tmp_path / "index") as opened:
        assert len(opened) == 20
    with pytest.raises(InputError, match="saved already"):
        index.save(tmp_path / "other")
    index.close()


def test_an_index_that_cannot_be_written_stays_in_memory(tmp_path, monkeypatch):
    index, _, _ = make(20)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("vsa.index.base.np.save", full)
        with pytest.raises(InputError, match="space"):
            index.save(tmp_path / "index")
    assert not list(tmp_path.iterdir())
    index.add(QUERIES[:1])
    index.save(tmp_path / "index")
    assert len(index) == 21
    index.close()


def test_no_change_is_lost_while_the_index_is_saved(tmp_path, monkeypatch):
    index, features, _ = make(50)
    started, write = threading.Event(), memory.View.write

    def slowly(view, folder):
        started.set()
        time.sleep(0.2)
        write(view, folder)

    monkeypatch.setattr(memory.View, "write", slowly)
    saving = threading.Thread(target=index.save, args=(tmp_path / "index",))
    saving.start()
    started.wait()
    index.search(QUERIES)
    index.add(features[:5])
    saving.join()
    with Index.open(tmp_path / "index") as opened:
        assert len(opened) == len(index) == 55
    index.close()


def test_training_again_is_possible_until_there_are_items():
    index = Index(DIM, n_bits=64)
    index.train(QUERIES, n_items=10_000)
    assert len(index.model.lists) == 30  # one per feature: 400 are wanted
    index.train(QUERIES)
    assert len(index.model.lists) == round(4 * 30**0.5)
    index.add(QUERIES)
    with pytest.raises(InputError, match="holds items"):
        index.train(QUERIES)


def test_a_codec_that_needs_labels_gets_the_categories():
    rng = np.random.default_rng(0)
    names = rng.choice(NAMES, 30)
    index = Index(DIM, codec="learned hash", n_bits=64)
    with pytest.raises(InputError, match=r"index\.train\(features, categories\)"):
        index.train(QUERIES)
    assert not index.is_trained
    index.train(QUERIES, names)
    index.add(QUERIES, categories=names)
    assert index.search(QUERIES, 1, ALL)[1].ravel().tolist() == list(range(30))


UNTRAINED = Index(DIM, n_bits=64)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda i: i.search(np.zeros(DIM + 1, np.float32)), r"not \(n, 16\)"),
        (lambda i: i.search(np.zeros((2, DIM + 1), np.float32)), r"not \(n, 16\)"),
        (lambda i: i.search(np.zeros((2, 2, DIM), np.float32)), r"not \(n, 16\)"),
        (lambda i: i.search(np.float32(1)), r"not \(n, 16\)"),
        (lambda i: i.search(np.full((2, DIM), np.nan, np.float32)), "NaN"),
        (lambda i: i.search(torch.full((DIM,), torch.nan)), "NaN"),
        (lambda i: i.search(torch.zeros(DIM, dtype=torch.int64)), "features are int64"),
        (lambda i: i.search(QUERIES, 0), "k = 0"),
        (lambda i: i.search(QUERIES, 2.5), "k = 2.5"),
        (lambda i: i.search(QUERIES, 5, {"n_probe": 3}), "no search parameters"),
        (lambda i: i.search(QUERIES, 5, SearchParams(0)), "visits no list"),
        (lambda i: i.search(QUERIES, categories=["hats"]), "no category 'hats'"),
        (lambda i: i.add(np.zeros((2, DIM)), [1000, 1000]), "given twice"),
        (lambda i: i.add(np.zeros((2, DIM)), [1000]), "as many"),
        (lambda i: i.add(np.zeros((2, DIM)), [1000, 3]), "already has item 3"),
        (lambda i: i.add(np.full((1, DIM), np.nan)), "NaN"),
        (lambda i: i.add(np.zeros((1, DIM + 1))), r"not \(n, 16\)"),
        (lambda i: i.add(np.zeros(DIM)), r"not \(n, 16\)"),
        (lambda i: i.add(np.zeros((1, DIM)), categories=["hats"]), "no category 'hats'"),
        (lambda i: i.remove([3, 1000]), "does not have item 1000"),
        (lambda i: i.remove([3, 3]), "given twice"),
        (lambda i: i.remove([0.5]), "whole numbers"),
        (lambda i: i.update(np.zeros((1, DIM)), [1000]), "does not have item 1000"),
        (lambda i: i.verify(), "in memory"),
        (lambda i: setattr(i, "params", 3), "no search parameters"),
        (lambda _: UNTRAINED.add(QUERIES), r"not trained.*index\.train\(features\)"),
        (lambda _: UNTRAINED.search(QUERIES), r"not trained.*index\.train\(features\)"),
        (lambda _: UNTRAINED.save("nowhere"), "not trained"),
        (lambda _: UNTRAINED.train(QUERIES[:, 1:]), r"not \(n, 16\)"),
        (lambda _: UNTRAINED.train(QUERIES[:0]), "no features"),
        (lambda _: UNTRAINED.train(QUERIES, ["a"]), "as many"),
        (lambda _: Index(DIM, codec="rotatoin"), "Did you mean rotation"),
        (lambda _: Index(DIM, n_bits=100), "cannot have 100"),
        (lambda _: Index(DIM, n_bits=72), "lists cannot scan"),
        (lambda _: Index(0), "length 0"),
        (lambda _: Index("16"), "length '16'"),
    ],
)
def test_bad_requests_are_refused_and_change_nothing(call, text):
    index, features, _ = make(20)
    before = index.search(features, 5)
    with pytest.raises(InputError, match=text):
        call(index)
    assert len(index) == 20
    assert same(before, index.search(features, 5))
    assert not UNTRAINED.is_trained


class Parity:
    """A codec that is no linear map."""

    def __init__(self, dim, n_bits):
        self.dim, self.n_bits = dim, n_bits

    def encode(self, features):
        scaled = np.floor(features[:, np.arange(self.n_bits) % self.dim] * 8).astype(int)
        return np.packbits(scaled % 2 == 1, axis=1)


def test_a_codec_of_ones_own_works_in_memory_and_no_folder_keeps_it(tmp_path, monkeypatch):
    monkeypatch.setattr(vsa.codecs, "_entries", dict(vsa.codecs._entries))

    @vsa.codecs.register("parity")
    def parity(features, n_bits, seed, labels=None):
        return Parity(features.shape[1], n_bits)

    index = Index(DIM, codec="parity", n_bits=64)
    index.train(QUERIES)
    index.add(QUERIES)
    assert index.search(QUERIES, 1, ALL)[1].ravel().tolist() == list(range(30))
    with pytest.raises(InputError, match="no folder can keep"):
        index.save(tmp_path / "index")
    assert not list(tmp_path.iterdir())
    assert index.search(QUERIES, 1, ALL)[1].ravel().tolist() == list(range(30))


def test_the_example_runs():
    found = doctest.testmod(index_module)
    assert (found.attempted, found.failed) == (8, 0)


def test_many_queries_take_no_longer_than_one_after_the_other():
    index, *_ = make(3000)
    queries = unit(np.random.default_rng(2), 1500)

    def seconds(call):
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    ratios = [
        seconds(lambda: index.search(queries))
        / seconds(lambda: [index.search_one(query) for query in queries])
        for _ in range(3)
    ]
    assert min(ratios) < 1.1


def test_small_things_that_are_no_ids_bits_or_numbers_of_results():
    features = unit(np.random.default_rng(0), 90, 16)
    index = Index(16, n_bits=np.int64(64))
    index.train(features)
    with pytest.raises(InputError, match="an id is −1"):
        index.add(features[:2], np.array([4, -1]))
    index.add(features)
    with pytest.raises(InputError, match="k = True is no whole number"):
        index.search(features[0], k=True)
    with pytest.raises(InputError, match="Ask for at most 1,048,576"):
        index.search(features[0], k=10**9)


def test_a_closed_index_says_so(tmp_path):
    features = unit(np.random.default_rng(0), 90, 16)
    index = Index(16, n_bits=64)
    index.train(features)
    index.add(features)
    index.save(tmp_path / "index")
    index.close()
    for use in (lambda: index.search(features[0]), lambda: len(index), lambda: index.add(features)):
        with pytest.raises(InputError, match=r"the index was closed\. Open it again"):
            use()
