"""A writer tells, replicas follow: by change, by base, and only what was written."""

import threading
import time

import numpy as np
import pytest
from random_features import unit

from vsa.cluster.follower import Follower
from vsa.cluster.messages import Question, Stale
from vsa.cluster.writer import ShardWriter
from vsa.index.build import build_index
from vsa.index.index import Index
from vsa.index.request import SearchParams
from vsa.runtime.errors import InputError

N = 300
EVERYTHING = SearchParams(10**6, 10**6)


@pytest.fixture
def writer(tmp_path):
    build_index(tmp_path / "shard", unit(np.random.default_rng(0), N))
    made = ShardWriter(tmp_path / "shard")
    yield made
    made.close()


@pytest.fixture
def follower(tmp_path, writer):
    return Follower(tmp_path / "shard", lambda base, after: writer.log(base, after, 0.0))


def ids_of(follower, query, min_sequence=0, wait_s=0.0):
    asked = Question(query[None].astype(np.float16), EVERYTHING, None, min_sequence)
    return follower.find(asked, wait_s).candidates(0).ids


def test_a_replica_finds_what_the_index_finds_after_each_change(writer, follower, tmp_path):
    rng = np.random.default_rng(1)
    other = Index.open(tmp_path / "shard")
    for step in range(6):
        writer.put(unit(rng, 20), np.arange(N - 10 + 10 * step, N + 10 + 10 * step), None)
        writer.remove(np.arange(20 * step, 20 * step + 10))
        if step == 3:
            writer.compact()
        follower.follow()
        assert (follower.sequence, follower.base) == (writer.sequence, writer.base)
        query = unit(rng, 1)[0]
        expected = other.candidates(query, EVERYTHING).ids
        np.testing.assert_array_equal(ids_of(follower, query), expected)
    other.close()


def test_what_is_sent_twice_counts_once(writer):
    features = unit(np.random.default_rng(1), 5)
    for _ in range(2):
        writer.put(features, np.arange(N, N + 5), None)
    first = writer.remove(np.array([N, 10**9]))
    assert writer.remove(np.array([N, 10**9])) == first


def test_a_change_has_its_number_and_a_search_may_ask_for_it(writer, follower):
    feature = unit(np.random.default_rng(1), 1)
    number = writer.put(feature, np.array([N]), None)
    assert number == 1
    with pytest.raises(Stale, match="at change 0, not 1"):
        ids_of(follower, feature[0], number)
    assert N not in ids_of(follower, feature[0])

    def follow_later():
        time.sleep(0.1)
        follower.follow()

    thread = threading.Thread(target=follow_later)
    thread.start()
    assert ids_of(follower, feature[0], number, wait_s=5.0)[0] == N
    thread.join()


def test_numbers_go_on_after_compaction_and_after_a_restart(writer, tmp_path):
    feature = unit(np.random.default_rng(1), 1)
    assert writer.put(feature, np.array([N]), None) == 1
    assert writer.compact() == "base-00000002"
    writer.close()
    again = ShardWriter(tmp_path / "shard")
    assert again.sequence == 1
    assert again.put(feature, np.array([N + 1]), None) == 2
    again.close()


def test_the_base_before_stays_until_no_replica_maps_it(writer, follower, tmp_path):
    writer.put(unit(np.random.default_rng(1), 1), np.array([N]), None)
    follower.follow()
    writer.compact()
    bases = [tmp_path / "shard" / name for name in ("base-00000001", "base-00000002")]
    assert follower.base == "base-00000001"
    assert all(base.is_dir() for base in bases)
    follower.follow()
    assert follower.base == "base-00000002"
    writer.remove_old()
    assert [base.is_dir() for base in bases] == [False, True]


def test_a_log_waits_for_news(writer):
    def put_later():
        time.sleep(0.1)
        writer.put(unit(np.random.default_rng(1), 1), np.array([N]), None)

    thread, start = threading.Thread(target=put_later), time.monotonic()
    thread.start()
    log = writer.log("base-00000001", 0, 10.0)
    thread.join()
    assert time.monotonic() - start < 5
    assert (log.is_whole, log.changes.ids.tolist(), log.changes.last) == (False, [N], 1)


def test_a_log_that_is_asked_for_in_vain_ends_in_time(writer):
    start = time.monotonic()
    assert len(writer.log("base-00000001", 0, 0.1).changes) == 0
    assert time.monotonic() - start < 5


def test_a_shard_has_one_writer(writer, tmp_path):
    with pytest.raises(InputError, match="another writer has the index open"):
        ShardWriter(tmp_path / "shard")
