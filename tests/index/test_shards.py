"""Shards give what one index gives; replicas stand in for each other."""

import numpy as np
import pytest
from random_features import DIM, NAMES, unit

from vsa.index.build import build_index, n_lists_for, train_model
from vsa.index.index import Index
from vsa.index.request import SearchParams
from vsa.index.shards import ShardedIndex, build_shards, shard_of
from vsa.runtime.errors import InputError

N = 500


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """One index, and the same items in three shards; some features many times over."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("both")
    features = unit(rng, N)
    features[100:160] = features[100]
    ids, categories = rng.permutation(N), rng.choice(NAMES, N)
    model = train_model(features, categories, n_lists=n_lists_for(N))
    build_index(folder / "one", features, ids, categories, model=model)
    build_shards(folder / "many", 3, features, ids, categories)
    one, many = Index.open(folder / "one"), ShardedIndex.open(folder / "many", 2)
    yield one, many, features
    one.close()
    many.close()


@pytest.mark.parametrize(
    "params", [SearchParams(3, 10), SearchParams(10, 100), SearchParams(10**6, 10**6)]
)
@pytest.mark.parametrize("categories", [None, [NAMES[1]], NAMES[:2]])
def test_results_are_those_of_one_index(both, params, categories):
    one, many, features = both
    for query in (*unit(np.random.default_rng(1), 20), features[100]):
        first = one.search_one(query, 10, params, categories=categories)
        second = many.search_one(query, 10, params, categories=categories)
        np.testing.assert_array_equal(first.ids, second.ids)
        np.testing.assert_array_equal(first.similarity, second.similarity)
        assert not second.is_partial


class Replica:
    """Answers as another does, until it is told to fail; counts how often it was asked."""

    def __init__(self, searcher):
        self.searcher, self.fails, self.n_asked = searcher, False, 0

    def candidates(self, *arguments):
        self.n_asked += 1
        if self.fails:
            raise OSError("the disk is gone")
        return self.searcher.candidates(*arguments)


def test_shards_of_other_lists_are_searched_apart(tmp_path):
    rng = np.random.default_rng(0)
    features = unit(rng, N)
    halves = [slice(0, N // 2), slice(N // 2, N)]
    for number, half in enumerate(halves):
        build_index(tmp_path / f"{number}", features[half], np.arange(N)[half], seed=number)
    opened = [Index.open(tmp_path / f"{number}") for number in range(2)]
    index = ShardedIndex([[each] for each in opened], opened[0].model, SearchParams(10**6, N))
    exact = features.astype(np.float16).astype(np.float32) @ features[0]
    assert index.search_one(features[0], 10).ids.tolist() == np.argsort(-exact)[:10].tolist()
    index.close()


def test_a_replica_of_this_process_that_fails_is_passed_over(tmp_path, caplog):
    features = unit(np.random.default_rng(0), N)
    build_shards(tmp_path / "many", 2, features)
    index = ShardedIndex.open(tmp_path / "many", 2)
    expected = [index.search_one(query, 5) for query in features[:4]]
    index.shards[1][0].close()
    for query, hits in zip(features, expected, strict=False):
        found = index.search_one(query, 5)
        assert not found.is_partial
        np.testing.assert_array_equal(found.ids, hits.ids)
    assert "shard 1: replica 0 failed" in caplog.text
    index.shards[1][1].close()
    assert index.search_one(features[0], 5).missing_shards == (1,)
    index.close()


@pytest.fixture
def guarded(both):
    _, many, _ = both
    shards = [[Replica(searcher) for searcher in replicas] for replicas in many.shards]
    index = ShardedIndex(shards, many.model, many.params)
    yield index
    index.close()


def test_replicas_share_the_traffic(guarded):
    for query in unit(np.random.default_rng(1), 10):
        guarded.search_one(query, 5)
    assert [[r.n_asked for r in replicas] for replicas in guarded.shards] == [[5, 5]] * 3


def test_a_failing_replica_is_passed_over(both, guarded, caplog):
    one, _, _ = both
    guarded.shards[1][0].fails = True
    for query in unit(np.random.default_rng(1), 10):
        hits = guarded.search_one(query, 5, params=SearchParams(3, 50))
        assert (
            hits.ids.tolist() == one.search_one(query, 5, params=SearchParams(3, 50)).ids.tolist()
        )
        assert not hits.is_partial
    assert guarded.shards[1][0].n_asked == 1  # it rests after that
    assert "shard 1: replica 0 failed" in caplog.text


def test_a_replica_that_has_recovered_is_asked_again(guarded, monkeypatch):
    monkeypatch.setattr("vsa.index.shards._REST_S", 0.0)
    guarded.shards[1][0].fails = True
    query = unit(np.random.default_rng(1), 1)[0]
    for _ in range(2):
        guarded.search_one(query, 5)
    guarded.shards[1][0].fails = False
    before = guarded.shards[1][0].n_asked
    for _ in range(4):
        guarded.search_one(query, 5)
    assert guarded.shards[1][0].n_asked == before + 2


def test_a_dead_shard_gives_a_partial_answer_that_says_so(both, guarded):
    one, _, _ = both
    for replica in guarded.shards[2]:
        replica.fails = True
    query, everything = unit(np.random.default_rng(1), 1)[0], SearchParams(10**6, 10**6)
    hits = guarded.search_one(query, N, params=everything)
    whole = one.search_one(query, N, params=everything).ids
    assert hits.missing_shards == (2,)
    assert hits.ids.tolist() == whole[shard_of(whole, 3) != 2].tolist()


def test_no_shard_left_gives_nothing_and_says_so(guarded):
    for replica in (r for replicas in guarded.shards for r in replicas):
        replica.fails = True
    hits = guarded.search_one(unit(np.random.default_rng(1), 1)[0], 5)
    assert hits.missing_shards == (0, 1, 2)
    assert len(hits.ids) == 0


def test_a_bad_request_is_nobodys_failure(guarded):
    for arguments, text in (
        ({"feature": np.zeros(DIM + 1, np.float32)}, "features have shape"),
        ({"feature": np.zeros(DIM, np.float32), "k": 0}, "k = 0"),
        ({"feature": np.zeros(DIM, np.float32), "categories": ["hats"]}, "no category"),
    ):
        with pytest.raises(InputError, match=text):
            guarded.search_one(**arguments)
    assert sum(r.n_asked for replicas in guarded.shards for r in replicas) == 0


def test_no_shards_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no shards here"):
        ShardedIndex.open(tmp_path)
