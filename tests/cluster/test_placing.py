"""Replicas of a shard live apart, on nodes that have the memory and have not failed lately."""

import pytest

from vsa.cluster.placing import Held, Node, doubled, place, require_room
from vsa.runtime.errors import InputError

NODES = [Node("a", 10.0), Node("b", 10.0), Node("c", 10.0)]


def put(nodes, held, shard, **more):
    return place(nodes, held, shard, is_replica=True, n_bytes=1.0, **more)


def test_replicas_spread_over_nodes_and_load_is_even():
    held = []
    for shard in range(3):
        for _ in range(2):
            held.append(Held(put(NODES, held, shard), shard, is_replica=True))
    assert [one.node for one in held] == ["a", "b", "c", "a", "b", "c"]
    assert not any(doubled(NODES, held, shard) for shard in range(3))


def test_a_node_that_failed_is_avoided_but_taken_before_replicas_of_a_shard_meet():
    held = [Held("a", 0, is_replica=True)]
    assert put(NODES, held, 0, suspects={"b"}) == "c"
    assert put(NODES[:2], held, 0, suspects={"b"}) == "b"


def test_replicas_meet_where_there_is_no_other_node_and_part_when_there_is():
    held = [Held("a", 0, is_replica=True)]
    assert put(NODES[:1], held, 0) == "a"
    held.append(Held("a", 0, is_replica=True))
    assert not doubled(NODES[:1], held, 0)
    assert doubled(NODES[:2], held, 0)
    assert put(NODES[:2], held, 0) == "b"


@pytest.mark.parametrize(("room", "node"), [(2.0, "b"), (1.0, None)])
def test_a_node_without_memory_gets_nothing(room, node):
    nodes, held = [Node("a", 1.5), Node("b", room)], [Held("b", 1, is_replica=False)]
    held.append(Held("a", 0, is_replica=False))
    assert put(nodes, held, 0) == node


def test_a_writer_may_live_beside_a_replica_of_its_shard():
    held = [Held("a", 0, True), Held("b", 1, True), Held("b", 2, True)]
    assert place(NODES[:2], held, 0, is_replica=False, n_bytes=1.0) == "a"


def test_what_does_not_fit_the_nodes_is_refused_at_once():
    require_room(NODES, 30, 1.0)
    told = "31 processes of 1 MiB each do not fit the memory of 3 nodes, which have room for 30"
    with pytest.raises(InputError, match=told):
        require_room([Node("a", 10 * 2**20)] * 3, 31, 2**20)
