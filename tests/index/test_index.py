"""Search against a brute-force oracle, under any interleaving of changes."""

import shutil
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from random_features import DIM, NAMES, unit

from vsa.index.build import build_index
from vsa.index.index import Index
from vsa.index.request import SearchParams
from vsa.runtime.errors import InputError

ALL = SearchParams(n_probe=10**6, n_candidates=10**6)


def oracle(index, items, query, k, params, categories=None):
    """What a search must find, by definition: items are id → (feature, category)."""
    codec, lists = index.model.codec, index.model.lists
    stored = query.astype(np.float16).astype(np.float32)
    turned = codec.weight.astype(float) @ stored

    def weights_of(values):
        sizes = np.minimum(np.floor(np.abs(values) / np.abs(values).max() * 8), 7)
        return 1 + 2 * sizes if params.distance == "asymmetric" else np.ones(len(values))

    def far(code):
        values = turned + codec.bias
        return int(weights_of(values)[np.unpackbits(code) != (values > 0)].sum())

    def steps(feature, centroid):
        """The similarity that RaBitQ estimates, in 4096 steps from the query's own to none."""
        difference = feature.astype(np.float32) - centroid
        mapped = codec.weight.astype(float) @ difference
        signs = np.where(mapped > 0, 1, -1)
        factor = (mapped**2).sum() / max(np.abs(mapped).sum(), 1e-30)
        is_asymmetric = params.distance == "asymmetric"
        size = np.abs(turned).max() / 16 if is_asymmetric else np.abs(turned).mean()
        rounded = np.where(turned > 0, 1, -1) * weights_of(turned) * size
        part = float(stored @ centroid) / float(centroid @ centroid)  # of the query along it
        along = signs @ (rounded - part * (codec.weight.astype(float) @ centroid))
        estimate = float(centroid @ stored) + part * float(centroid @ difference) + factor * along
        own = float(stored @ stored)
        return int(np.clip((own - estimate) / own * 4096, 0, 4096))

    wanted = range(len(lists.names)) if categories is None else lists.category_codes(categories)
    asked = np.flatnonzero(np.isin(lists.category, list(wanted)))
    short = sorted((far(lists.codes[number]), number) for number in asked)[: 8 * params.n_probe]
    similar = sorted((-float(lists.centroids[number] @ stored), number) for _, number in short)
    probed = {number for _, number in similar[: params.n_probe]}
    passed = []
    for id_, (feature, category) in items.items():
        feature = feature.astype(np.float16)
        own = lists.assign(feature[None], lists.category_codes([category]))[0]
        if own in probed:
            if codec.of_differences:
                near = steps(feature, lists.centroids[own])
            else:
                near = far(codec.encode(feature[None])[0])
            passed.append((near, id_, float(feature.astype(np.float32) @ stored)))
    passed = sorted(passed)[: max(k, params.n_candidates)]
    return sorted(((-s, id_) for _, id_, s in passed))[:k]


def check(index, items, query, k, params, categories=None):
    hits = index.search_one(query, k, params, categories=categories)
    expected = oracle(index, items, query, k, params, categories)
    assert len(hits.ids) == len(expected)
    np.testing.assert_allclose(-hits.similarity, [s for s, _ in expected], atol=1e-6)
    assert len(set(hits.ids.tolist())) == len(hits.ids)
    # where similarities differ by rounding alone, either order will do
    gaps = np.diff([s for s, _ in expected]) if len(expected) > 1 else np.array([1.0])
    if (np.abs(gaps) > 1e-6).all():
        assert hits.ids.tolist() == [id_ for _, id_ in expected]


@pytest.fixture(params=["rotation", "rabitq"])
def codec(request):
    return request.param


@pytest.fixture
def shop(tmp_path, codec):
    rng = np.random.default_rng(0)
    features = unit(rng, 300)
    ids = rng.permutation(10_000)[:300] - 5_000
    categories = rng.choice(NAMES, 300)
    build_index(tmp_path / "index", features, ids, categories, codec=codec, n_bits=64)
    items = dict(zip(ids.tolist(), zip(features, categories.tolist(), strict=True), strict=True))
    return tmp_path / "index", items


@pytest.mark.parametrize(
    "params",
    [
        ALL,
        SearchParams(5, 10),
        SearchParams(5, 10, "hamming"),
        SearchParams(1, 1),
        SearchParams(20, 50),
    ],
)
@pytest.mark.parametrize("categories", [None, ["bags"], ["toys", "shoes"]])
def test_search_is_what_its_definition_says(shop, params, categories):
    folder, items = shop
    rng = np.random.default_rng(1)
    with Index.open(folder) as index:
        for query in unit(rng, 10):
            check(index, items, query, 7, params, categories)


@pytest.mark.parametrize("codec", ["rotation"], indirect=True)
def test_unless_refined_items_are_looked_for_in_lists_near_by_code(shop):
    folder, items = shop
    query = unit(np.random.default_rng(3), 1)[0].astype(np.float16)
    with Index.open(folder) as index:
        found = index.candidates(query, SearchParams(3, 20, "hamming"), refined=False)
        lists, codec = index.model.lists, index.model.codec

    def far(codes):
        return np.unpackbits(codes ^ codec.encode(query[None]), axis=1).sum(axis=1)

    near = np.argsort(far(lists.codes), kind="stable")[:3]
    expected = []
    for id_, (feature, category) in items.items():
        feature = feature.astype(np.float16)[None]
        if lists.assign(feature, lists.category_codes([category]))[0] in near:
            expected.append((int(far(codec.encode(feature))[0]), id_))
    expected = sorted(expected)[:20]
    assert found.ids.tolist() == [id_ for _, id_ in expected]
    assert found.similarity.tolist() == [-distance for distance, _ in expected]


def test_all_lists_and_candidates_give_the_exact_ranking(shop):
    folder, items = shop
    ids = np.array(list(items))
    features = np.stack([f for f, _ in items.values()]).astype(np.float16).astype(np.float32)
    with Index.open(folder) as index:
        for query in unit(np.random.default_rng(2), 10):
            found = index.search_one(query, 20, params=ALL)
            exact = ids[np.argsort(-features @ query.astype(np.float16).astype(np.float32))[:20]]
            assert found.ids.tolist() == exact.tolist()


def test_ties_go_to_the_lower_id(tmp_path):
    same = np.tile(unit(np.random.default_rng(0), 1), (50, 1))
    ids = np.random.default_rng(1).permutation(50)
    build_index(tmp_path / "index", same, ids, n_bits=64)
    with Index.open(tmp_path / "index", writable=True) as index:
        assert index.search_one(same[0], 5, params=SearchParams(1, 5)).ids.tolist() == [
            0,
            1,
            2,
            3,
            4,
        ]
        index.remove(np.array([1]))
        index.add(same[:1], np.array([-3]))
        assert index.search_one(same[0], 5, params=SearchParams(1, 5)).ids.tolist() == [
            -3,
            0,
            2,
            3,
            4,
        ]


class Interleavings(RuleBasedStateMachine):
    """Random adds, removals, updates, compactions and reopenings, with a search after each."""

    @initialize(n=st.integers(1, 40), seed=st.integers(0, 2**16))
    def build(self, n, seed):
        self.rng = np.random.default_rng(seed)
        self.folder = Path(tempfile.mkdtemp()) / "index"
        features = unit(self.rng, n)
        categories = self.rng.choice(NAMES, n)
        build_index(self.folder, features, np.arange(n), categories, n_bits=64, seed=seed)
        self.items = {i: (features[i], str(categories[i])) for i in range(n)}
        self.known = sorted(set(categories.tolist()))
        self.index = Index.open(self.folder, writable=True)
        self.reader = Index.open(self.folder)

    def fresh(self, ids):
        features = unit(self.rng, len(ids))
        categories = [str(c) for c in self.rng.choice(self.known, len(ids))]
        return features, categories

    def some(self, n):
        ids = sorted(self.items)
        return np.array(sorted(self.rng.choice(ids, min(n, len(ids)), replace=False)), np.int64)

    @rule(n=st.integers(0, 30))
    def add(self, n):
        ids = np.setdiff1d(self.rng.integers(0, 200, n), list(self.items))
        features, categories = self.fresh(ids)
        self.index.add(features, ids, categories)
        self.items |= dict(zip(ids.tolist(), zip(features, categories, strict=True), strict=True))

    @rule(n=st.integers(0, 20))
    def update(self, n):
        ids = self.some(n)
        features, categories = self.fresh(ids)
        self.index.update(features, ids, categories)
        self.items |= dict(zip(ids.tolist(), zip(features, categories, strict=True), strict=True))

    @rule(n=st.integers(0, 20))
    def remove(self, n):
        ids = self.some(n)
        self.index.remove(ids)
        for id_ in ids.tolist():
            del self.items[id_]

    @rule()
    def compact(self):
        self.index.compact()

    @rule()
    def reopen(self):
        self.index.close()
        self.index = Index.open(self.folder, writable=True)

    @invariant()
    def searches_agree(self):
        distance = str(self.rng.choice(["asymmetric", "hamming"]))
        n_probe, n_candidates = int(self.rng.integers(1, 20)), int(self.rng.integers(1, 60))
        params = SearchParams(n_probe, n_candidates, distance)
        query = unit(self.rng, 1)[0]
        for index in (self.index, self.reader):
            assert len(index) == len(self.items)
            check(index, self.items, query, 5, params)
            check(index, self.items, query, 5, params, self.known[:1])

    def teardown(self):
        if hasattr(self, "index"):
            self.index.verify()
            self.index.close()
            self.reader.close()
            shutil.rmtree(self.folder.parent)


Interleavings.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestInterleavings = Interleavings.TestCase


def test_searches_go_on_while_the_index_is_written_and_compacted(shop):
    folder, items = shop
    rng = np.random.default_rng(3)
    query, failures, stop = unit(rng, 1)[0], [], threading.Event()

    def ask():
        with Index.open(folder) as index:
            while not stop.is_set():
                try:
                    hits = index.search_one(query, 10, params=ALL)
                    assert len(hits.ids) == 10
                    assert (np.diff(hits.similarity) <= 0).all()
                except Exception as error:
                    failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    with Index.open(folder, writable=True) as index:
        for thread in threads:
            thread.start()
        for start in range(20_000, 20_600, 50):
            ids = np.arange(start, start + 50)
            index.add(unit(rng, 50), ids, rng.choice(NAMES, 50))
            index.remove(ids[::2])
            index.compact()
        assert len(index) == len(items) + 300
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_reader_keeps_its_state_while_the_base_is_replaced(shop):
    folder, items = shop
    with Index.open(folder) as reader, Index.open(folder, writable=True) as writer:
        view = reader.current()
        writer.remove(np.array(sorted(items)[:200]))
        writer.compact()
        assert len(view) == 300
        assert len(view.base.features) == 300  # removed from the folder, still mapped
        assert view.base.features[250].shape == (DIM,)
        assert len(reader) == 100


def test_an_index_may_become_empty_and_be_filled_again(shop):
    folder, items = shop
    with Index.open(folder, writable=True) as index:
        index.remove(np.array(list(items)))
        index.compact()
        assert len(index) == 0
        assert index.search_one(unit(np.random.default_rng(0), 1)[0], 5).ids.shape == (0,)
        index.add(unit(np.random.default_rng(0), 1), np.array([7]), ["bags"])
        assert index.search_one(
            unit(np.random.default_rng(1), 1)[0], 5, params=ALL
        ).ids.tolist() == [7]
        index.verify()


def test_a_category_without_items_gives_no_results(shop):
    folder, items = shop
    bags = [id_ for id_, (_, category) in items.items() if category == "bags"]
    with Index.open(folder, writable=True) as index:
        index.remove(np.array(bags))
        query = unit(np.random.default_rng(0), 1)[0]
        assert index.search_one(query, 5, categories=["bags"]).ids.shape == (0,)


def test_k_beyond_the_catalogue_gives_what_there_is(shop):
    folder, items = shop
    with Index.open(folder) as index:
        query = unit(np.random.default_rng(0), 1)[0]
        assert sorted(index.search_one(query, 10**4, params=ALL).ids.tolist()) == sorted(items)


QUERY = np.zeros(DIM, np.float32)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda i: i.search(QUERY, 0), "k = 0"),
        (lambda i: i.search(QUERY, 5, params=SearchParams(0, 5)), "visits no list"),
        (lambda i: i.search(QUERY, 5, n_threads=0), "n_threads = 0 asks nobody"),
        (lambda i: i.search(QUERY, 5, SearchParams(distance="cosine")), "no distance 'cosine'"),
        (lambda i: i.search(np.zeros(DIM + 1, np.float32)), r"not \(n, 16\)"),
        (lambda i: i.search(np.full(DIM, np.nan, np.float32)), "NaN or infinity"),
        (lambda i: i.search(np.full(DIM, np.inf, np.float32)), "NaN or infinity"),
        (lambda i: i.search(np.zeros(DIM, int)), "features are int"),
        (lambda i: i.search(np.full(DIM, 1e6, np.float32)), "float16"),
        (lambda i: i.search(QUERY, categories=["hats"]), "no category 'hats'"),
        (lambda i: i.add(np.zeros((2, DIM)), np.array([1, 1])), "given twice"),
        (lambda i: i.add(np.zeros((1, DIM)), np.array([1.5])), "whole numbers"),
        (lambda i: i.add(np.zeros((1, DIM)), np.array([1, 2])), "as many"),
        (lambda i: i.add(np.zeros((1, DIM)), np.array([10**6]), ["hats"]), "no category"),
        (lambda i: i.remove(np.array([10**6])), "does not have item 1000000"),
        (lambda i: i.update(np.zeros((1, DIM)), np.array([10**6]), ["bags"]), "does not have"),
    ],
)
def test_bad_requests_are_refused_and_change_nothing(shop, call, text):
    folder, items = shop
    with Index.open(folder, writable=True) as index:
        with pytest.raises(InputError, match=text):
            call(index)
        assert len(index) == len(items)


def test_an_item_cannot_be_added_twice(shop):
    folder, items = shop
    known = next(iter(items))
    with Index.open(folder, writable=True) as index:
        with pytest.raises(InputError, match="already has item"):
            index.add(np.zeros((2, DIM)), np.array([10**6, known]), ["bags", "bags"])
        assert len(index) == len(items)


@pytest.mark.parametrize(
    ("features", "ids", "categories", "text"),
    [
        (np.zeros((0, DIM)), None, None, "nothing to index"),
        (np.zeros(DIM), None, None, "nothing to index"),
        (np.full((3, DIM), np.nan), None, None, "NaN or infinity"),
        (np.zeros((3, DIM)), [1, 2, 2], None, "given twice"),
        (np.zeros((3, DIM)), [1, 2], None, "as many"),
        (np.zeros((3, DIM)), None, ["a"], "as many"),
    ],
)
def test_bad_builds_are_refused_and_leave_nothing(tmp_path, features, ids, categories, text):
    with pytest.raises(InputError, match=text):
        build_index(tmp_path / "index", features, ids, categories)
    assert not list(tmp_path.iterdir())
