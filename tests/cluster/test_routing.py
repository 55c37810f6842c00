"""Replicas that fail, hang or lag are passed over; a shard of which none answers is named."""

import threading
import time
from concurrent.futures import Future

import numpy as np
import pytest
from random_features import NAMES, unit

from vsa.cluster.messages import Question, Stale
from vsa.cluster.routing import Router, latest, merged
from vsa.index.build import build_index
from vsa.index.hits import find
from vsa.index.index import Index
from vsa.index.request import SearchParams
from vsa.index.shards import cut_shards, shard_name, shard_of

N, LIMIT_S = 600, 0.4
PARAMS = SearchParams(8, 100)


class Replica:
    """Answers for an index, until it is told to fail, hang or lag; counts what it is asked."""

    def __init__(self, name, index):
        self.name, self.index, self.n_asked = name, index, 0
        self.fails = self.hangs = self.cannot_be_asked = self.lags = False
        self.takes_s = 0.0

    def ask(self, question):
        self.n_asked += 1
        future = Future()
        if self.cannot_be_asked:
            raise ConnectionError("no route to it")
        if self.fails:
            future.set_exception(OSError("the disk is gone"))
        elif self.lags:
            future.set_exception(Stale("at change 3, not 4"))
        elif not self.hangs:
            view = self.index.current()
            asked = (question.features, question.params.n_candidates, question.params)
            found = find([view], *asked, question.categories)
            threading.Timer(self.takes_s, future.set_result, [found]).start()
        return future


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("cut")
    features = unit(rng, N)
    features[100:160] = features[100]  # many ties
    build_index(folder / "one", features, rng.permutation(N), rng.choice(NAMES, N))
    index = Index.open(folder / "one", writable=True)
    index.put(unit(rng, 50), np.arange(N, N + 50), list(rng.choice(NAMES, 50)))
    index.remove(np.arange(0, 40))
    cut_shards(index, folder / "many", 3)
    yield index
    index.close()


@pytest.fixture
def router(one):
    folders = [one.folder.parent / "many" / shard_name(shard) for shard in range(3)]
    opened = [Index.open(folder) for folder in folders]
    made = Router(LIMIT_S)
    made.shards = [
        [Replica(f"{shard}-{number}", index) for number in range(2)]
        for shard, index in enumerate(opened)
    ]
    yield made
    for index in opened:
        index.close()


def ask(router, features, params=PARAMS, wanted=None):
    return router.ask([Question(features.astype(np.float16), params, wanted)] * 3)


@pytest.mark.parametrize("params", [SearchParams(3, 10), PARAMS, SearchParams(10**6, 10**6)])
@pytest.mark.parametrize("names", [None, [NAMES[1]], NAMES[:2]])
def test_shards_that_were_cut_give_what_the_index_gives_with_all_its_changes(
    one, router, params, names
):
    queries = unit(np.random.default_rng(1), 20)
    wanted = None if names is None else one.model.lists.category_codes(names)
    answers = ask(router, queries, params, wanted)
    for row, query in enumerate(queries):
        first = one.search_one(query, 10, params, names)
        second = merged(answers, row, 10, params.n_candidates)
        np.testing.assert_array_equal(first.ids, second.ids)
        np.testing.assert_array_equal(first.similarity, second.similarity)
        assert not second.is_partial


def test_codes_alone_give_the_order_of_one_index(one, router):
    for query in unit(np.random.default_rng(1), 10):
        first = one.search_one(query, 10, PARAMS, refined=False)
        answers = ask(router, query[None])
        second = merged(answers, 0, 10, PARAMS.n_candidates, refined=False)
        np.testing.assert_array_equal(first.ids, second.ids)
        np.testing.assert_array_equal(first.similarity, second.similarity)


def test_replicas_share_the_queries(router):
    for query in unit(np.random.default_rng(1), 10):
        ask(router, query[None])
    assert [[one.n_asked for one in replicas] for replicas in router.shards] == [[5, 5]] * 3


@pytest.mark.parametrize("fault", ["fails", "cannot_be_asked", "lags", "hangs"])
def test_a_replica_that_does_not_answer_is_passed_over_for_another(one, router, fault, caplog):
    setattr(router.shards[1][0], fault, True)
    start, queries = time.monotonic(), unit(np.random.default_rng(1), 10)
    for query in queries:
        hits = merged(ask(router, query[None]), 0, 5, PARAMS.n_candidates)
        np.testing.assert_array_equal(hits.ids, one.search_one(query, 5, PARAMS).ids)
        assert not hits.is_partial
    assert time.monotonic() - start < LIMIT_S + 1  # it hangs once, and rests after that
    assert router.shards[1][0].n_asked == (5 if fault == "lags" else 1)
    assert "shard 1: 1-0 is passed over" in caplog.text


def test_a_replica_that_has_recovered_is_asked_again(router, monkeypatch):
    monkeypatch.setattr("vsa.cluster.routing.REST_S", 0.0)
    router.shards[1][0].fails = True
    query = unit(np.random.default_rng(1), 1)
    for _ in range(2):
        ask(router, query)
    router.shards[1][0].fails = False
    before = router.shards[1][0].n_asked
    for _ in range(4):
        ask(router, query)
    assert router.shards[1][0].n_asked == before + 2


def test_a_shard_of_which_none_answers_is_named_and_the_others_are_searched(one, router):
    for replica, fault in zip(router.shards[2], ("fails", "hangs"), strict=True):
        setattr(replica, fault, True)
    start, everything = time.monotonic(), SearchParams(10**6, 10**6)
    query = unit(np.random.default_rng(1), 1)
    hits = merged(ask(router, query, everything), 0, N, 10**6)
    whole = one.search_one(query[0], N + 50, everything).ids
    assert time.monotonic() - start < 2 * LIMIT_S + 1
    assert hits.missing_shards == (2,)
    np.testing.assert_array_equal(hits.ids, whole[shard_of(whole, 3) != 2][:N])


def test_late_answers_count_where_nobody_is_in_time(one, router, caplog):
    for replica in router.shards[1]:
        replica.takes_s = 1.5 * LIMIT_S
    start, query = time.monotonic(), unit(np.random.default_rng(1), 1)
    hits = merged(ask(router, query), 0, 5, PARAMS.n_candidates)
    assert LIMIT_S <= time.monotonic() - start < 3 * LIMIT_S
    np.testing.assert_array_equal(hits.ids, one.search_one(query[0], 5, PARAMS).ids)
    assert not hits.is_partial
    assert "shard 1: 1-0 is passed over: TimeoutError: no answer within 0.4 s" in caplog.text


def test_without_any_replica_nothing_is_found_and_all_shards_are_named(router):
    router.shards = [[], [], []]
    hits = merged(ask(router, unit(np.random.default_rng(1), 1)), 0, 5, 10)
    assert hits.missing_shards == (0, 1, 2)
    assert len(hits.ids) == 0


def test_an_answer_that_comes_while_another_hangs_is_taken(one, router):
    """All shards are waited for at once: three that hang cost one limit, not three."""
    for replicas in router.shards:
        replicas[0].hangs = True
    start = time.monotonic()
    hits = merged(ask(router, unit(np.random.default_rng(1), 1)), 0, 5, 100)
    assert LIMIT_S <= time.monotonic() - start < 3 * LIMIT_S  # and not once for each shard
    assert not hits.is_partial


def test_several_threads_may_ask_at_once(one, router):
    queries, found = unit(np.random.default_rng(1), 40), {}

    def some(first):
        for row in range(first, 40, 4):
            found[row] = merged(ask(router, queries[row : row + 1]), 0, 5, 100).ids

    threads = [threading.Thread(target=some, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for row, query in enumerate(queries):
        np.testing.assert_array_equal(found[row], one.search_one(query, 5, PARAMS).ids)


def test_of_two_writes_the_later_one_is_asked_for():
    assert latest((3, 0, 5), (1, 2, 5)) == (3, 2, 5)
