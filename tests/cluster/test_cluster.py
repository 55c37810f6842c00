"""A cluster gives what one index gives, whatever happens to its processes."""

import os
import resource
import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from random_features import NAMES, unit

from vsa.cluster.cluster import Cluster
from vsa.cluster.lock import ClusterLock
from vsa.index.request import SearchParams
from vsa.runtime.errors import InputError

PARAMS = SearchParams(8, 100)


def change(both, rng, n=20):
    """The same changes for both; returns the number to ask for."""
    ids = np.arange(both.next_id, both.next_id + n)
    both.next_id += n - 5  # some of them are replaced next time
    features, names = unit(rng, n), list(rng.choice(NAMES, n))
    both.one.put(features, ids, names)
    both.cluster.put(features, ids, names)
    both.one.remove(ids[:3])
    return both.cluster.remove(ids[:3])


def differing(both, queries, sequence=None, names=None):
    """How many queries find anything else than in one index; shards that are missing count."""
    found = both.cluster.search(queries, 10, PARAMS, names, min_sequence=sequence)
    scores, ids = both.one.search(queries, 10, PARAMS, names)
    same = (found.ids == ids).all(1) & (found.scores == scores).all(1)
    return int((~same).sum()) + len(found.missing_shards)


@contextmanager
def searching(both):
    """Search all the time beside what is done within; all answers are whole and right."""
    queries = unit(np.random.default_rng(5), 50)
    _, ids = both.one.search(queries, 10, PARAMS)
    wrong, seconds, over = [], [], threading.Event()

    def search():
        row = 0
        while not over.is_set():
            start = time.monotonic()
            hits = both.cluster.search_one(queries[row], 10, PARAMS)
            seconds.append(time.monotonic() - start)
            if hits.missing_shards or hits.ids.tolist() != ids[row].tolist():
                wrong.append((hits, ids[row]))
            row = (row + 1) % len(queries)

    thread = threading.Thread(target=search)
    thread.start()
    try:
        yield seconds
    finally:
        over.set()
        thread.join()
    assert len(seconds) > 10
    assert not wrong


def members(both):
    """Replicas and writers that answer."""
    shards = both.cluster.status().shards
    return [shard.replicas for shard in shards], [shard.writer for shard in shards]


def until(is_so, within_s=120.0):
    end = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.2)


@pytest.mark.parametrize("names", [None, NAMES[:2]])
def test_results_are_those_of_one_index_with_the_same_changes(both, names):
    rng = np.random.default_rng(1)
    for _ in range(4):
        sequence = change(both, rng)
        assert differing(both, unit(rng, 50), sequence, names) == 0
    hits = both.cluster.search_one(unit(rng, 1)[0], 5, PARAMS, refined=False)
    assert len(hits.ids) == 5


def test_replicas_of_a_shard_live_on_nodes_of_their_own(both):
    for replicas in members(both)[0]:
        assert len({replica.node for replica in replicas}) == 2


def test_replicas_tell_how_far_they_are(both):
    sequence = change(both, np.random.default_rng(2))
    until(
        lambda: all(
            {replica.sequence for replica in shard.replicas} == {shard.sequence} == {number}
            for shard, number in zip(both.cluster.status().shards, sequence, strict=True)
        )
    )


def test_a_replica_that_hangs_is_passed_over_and_replaced(both):
    sequence = change(both, np.random.default_rng(3))
    differing(both, unit(np.random.default_rng(3), 5), sequence)
    (replica, _), _ = members(both)[0]
    with searching(both) as seconds:
        os.kill(replica.pid, signal.SIGSTOP)
        until(lambda: replica.pid not in [one.pid for one in members(both)[0][0]])
        until(lambda: both.cluster.status().is_whole)
    assert max(seconds) < 2.5  # one limit, and a busy machine


def test_a_writer_that_is_killed_has_lost_nothing_and_another_takes_its_place(both):
    rng = np.random.default_rng(4)
    for kill in (True, False, True):
        if kill:
            os.kill(members(both)[1][0].pid, signal.SIGKILL)
        sequence = change(both, rng)  # waits for the next writer
    assert differing(both, unit(rng, 50), sequence) == 0
    # as last heard of its writer
    until(lambda: both.cluster.status().shards[0].sequence == sequence[0])


def test_a_node_that_is_lost_is_made_up_for(both, nodes):
    rng = np.random.default_rng(6)
    sequence = change(both, rng)
    assert differing(both, unit(rng, 50), sequence) == 0
    with searching(both):
        nodes.kill(nodes.workers[0])
        until(lambda: len(both.cluster.status().nodes) == 2)
        until(lambda: both.cluster.status().is_whole)
    sequence = change(both, rng)
    assert differing(both, unit(rng, 50), sequence) == 0
    nodes.add()


def test_a_node_whose_raylet_alone_is_killed_is_made_up_for(both, nodes):
    """As somebody does by hand: what it had started has to end by itself, writers too."""
    rng = np.random.default_rng(10)
    writers = [writer.node for writer in members(both)[1]]
    node = max(nodes.workers, key=writers.count)
    raylet, *started = nodes.processes(node)
    with searching(both):
        os.kill(raylet, signal.SIGKILL)
        until(lambda: len(both.cluster.status().nodes) == 2)
        until(lambda: both.cluster.status().is_whole)
    assert differing(both, unit(rng, 50), change(both, rng)) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in started)
    nodes.add()


def test_a_new_base_comes_shard_by_shard_without_a_gap(both):
    rng = np.random.default_rng(7)
    sequence = change(both, rng)
    assert differing(both, unit(rng, 50), sequence) == 0
    before = [shard.writer.base for shard in both.cluster.status().shards]
    with searching(both):
        both.cluster.roll()
    for old, shard in zip(before, both.cluster.status().shards, strict=True):
        assert {one.base for one in shard.replicas} == {shard.writer.base}
        assert shard.writer.base > old
    assert len(list((both.cluster.folder / "shard-00").glob("base-*"))) == 1
    assert differing(both, unit(rng, 50), change(both, rng)) == 0


def test_a_full_disk_at_a_writer_is_told_and_loses_nothing(both):
    """A limit on the size of its files stands for the disk: SQLite is told the same."""
    rng = np.random.default_rng(8)
    sequence = change(both, rng)
    writer = members(both)[1][0]
    unlimited = resource.prlimit(writer.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(writer.pid, resource.RLIMIT_FSIZE, (4096, unlimited[1]))
    features, ids = unit(rng, 200), np.arange(50_000, 50_200) * 2  # all of shard 0
    names = [NAMES[0]] * 200
    start = time.monotonic()
    with pytest.raises(InputError, match="shard 0 of 2 took nothing: the change could not be"):
        both.cluster.put(features, ids, names)
    assert time.monotonic() - start < 10
    assert differing(both, unit(rng, 50), sequence) == 0
    resource.prlimit(writer.pid, resource.RLIMIT_FSIZE, unlimited)
    both.one.put(features, ids, names)
    assert differing(both, unit(rng, 50), both.cluster.put(features, ids, names)) == 0


def test_an_item_that_cannot_be_is_refused_before_anything_is_written(both):
    feature, before = unit(np.random.default_rng(9), 1), both.cluster.status().shards
    for arguments, told in (
        ((feature[:, :-1], [1]), "features have shape"),
        ((feature, [1, 2]), "2 ids, 1 features and 1 categories"),
        ((feature, [1], ["hats"]), "hats"),
        ((feature, [-1]), "an id is −1"),
    ):
        with pytest.raises(InputError, match=told):
            both.cluster.put(*arguments)
    with pytest.raises(InputError, match="min_sequence has 1 numbers for 2 shards"):
        both.cluster.search(feature, min_sequence=(1,))
    assert [one.sequence for one in both.cluster.status().shards] == [
        one.sequence for one in before
    ]


def test_a_second_cluster_of_the_same_shards_is_refused_and_the_first_goes_on(both):
    with pytest.raises(InputError, match=r"a cluster of these shards runs already"):
        Cluster.start(both.engine, shards=2, replicas=1)
    with pytest.raises(InputError, match="there are 2 shards already, not 3"):
        Cluster.start(both.engine, shards=3, replicas=1)
    assert differing(both, unit(np.random.default_rng(10), 5)) == 0


def test_shards_that_a_cluster_of_another_ray_has_are_refused(both, tmp_path):
    lock = ClusterLock(tmp_path / "shards", "10.0.0.1:6379")
    start = time.monotonic()
    with pytest.raises(InputError, match=r"another cluster has these shards, on the Ray at 10\."):
        Cluster.start(both.engine, shards=1, replicas=1, folder=tmp_path / "shards")
    assert time.monotonic() - start < 20
    lock.release()


def test_more_than_the_nodes_have_memory_for_is_refused(both, tmp_path):
    with pytest.raises(InputError, match="do not fit the memory of"):
        Cluster.start(both.engine, shards=4, replicas=40, folder=tmp_path / "shards")


def test_another_client_finds_it(both):
    with Cluster.connect(both.engine) as client:
        found = client.search(unit(np.random.default_rng(11), 1)[0], 5, PARAMS)
    assert found.ids.shape == (5,)
    assert found.missing_shards == ()
