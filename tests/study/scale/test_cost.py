"""The cost model against values worked out by hand."""

from __future__ import annotations

from math import isclose

import numpy as np
import pytest

from vsa.study.scale.cost import (
    Demand,
    ItemBytes,
    Machine,
    RouterCost,
    ShardCost,
    fit_router,
    fit_shard,
    layout,
    share_of_slow,
)

SHARD = ShardCost(base_ms=1.0, per_list_ms=0.001, per_scanned_ms=0.0005)
ROUTER = RouterCost(base_ms=2.0, per_shard_ms=0.5, per_byte_ms=0.0001)
HELD = ItemBytes(code=40, feature=160, per_list=500)
MACHINE = Machine(memory_bytes=1e6, n_cores=4, share_used=0.5)


def test_a_shard_compares_all_lists_and_scans_its_share_of_those_visited():
    # 1 + 0.001 × 400 + 0.0005 × 16 × 10,000 / 400
    assert isclose(SHARD.ms(10_000, 400, 16), 1 + 0.4 + 0.2)


def test_a_router_pays_for_each_shard_and_each_byte():
    assert isclose(ROUTER.ms(3, 1000), 2 + 3 * (0.5 + 0.1))


def test_shards_are_as_many_as_memory_asks_for_and_replicas_as_the_load_does():
    # 10,000 items have 400 lists, 200 kB of each machine's 500 kB: 300 kB for items of 200 bytes,
    # 2 MB in all, so 7 shards of 1,428.6 items. A shard takes 1 + 0.4 + 0.0005 × 16 × 1428.6 / 400
    # = 1.4286 ms; 2,900 queries a second take 4.14 cores: three machines, with half of four cores
    # each. An answer has 100 candidates, 1,600 bytes; a router's query takes 2 + 7 × (0.5 + 0.16)
    # = 6.62 ms, and 2,900 of them 19.2 cores: ten machines.
    found = layout(SHARD, ROUTER, HELD, MACHINE, Demand(10_000, 2900.0, 16, 100))
    assert (found.n_shards, found.n_replicas, found.n_routers) == (7, 3, 10)
    assert found.n_machines == 31
    assert isclose(found.memory_bytes, 2e6 / 7 + 200_000)
    assert isclose(found.shard_ms, 1.4 + 0.0005 * 16 * 10_000 / 7 / 400)
    assert isclose(found.latency_ms, found.shard_ms + 6.62)
    assert found.answer_bytes == 7 * 1600


def test_features_on_a_disk_need_fewer_machines_and_a_replica_may_fail():
    demand = Demand(10_000, 1.0, 16, 100, features_in_memory=False)
    found = layout(SHARD, ROUTER, HELD, MACHINE, demand)
    # 400 kB over 300 kB
    assert (found.n_shards, found.n_replicas, found.n_routers) == (2, 2, 2)


def test_a_shard_does_not_answer_more_than_it_holds():
    found = layout(SHARD, ROUTER, HELD, Machine(), Demand(50, 1.0, 1, 1000))
    assert found.answer_bytes == 16 * 50


def test_lists_that_fill_a_machine_are_an_error():
    with pytest.raises(ValueError, match="400 lists do not fit"):
        layout(SHARD, ROUTER, HELD, Machine(memory_bytes=1e5), Demand(10_000))


def test_many_shards_have_a_slow_one_among_them():
    assert isclose(share_of_slow(1), 0.01)
    assert isclose(share_of_slow(100), 1 - 0.99**100)


def test_costs_are_found_again_in_times_that_follow_them():
    n_lists = np.array([100.0, 100, 400, 400, 1000])
    n_items = np.array([600.0, 200, 10_000, 3_000, 60_000])
    n_probe = np.array([8.0, 16, 16, 4, 16])
    ms = np.array([SHARD.ms(*row) for row in zip(n_items, n_lists, n_probe, strict=True)])
    found = fit_shard(n_items, n_lists, n_probe, ms)
    assert np.allclose(
        [found.base_ms, found.per_list_ms, found.per_scanned_ms], [1.0, 0.001, 0.0005]
    )
    n_shards, size = np.array([1.0, 3, 6, 1, 3]), np.array([0.0, 0, 0, 16_000, 16_000])
    ms = np.array([ROUTER.ms(*row) for row in zip(n_shards, size, strict=True)])
    asked = fit_router(n_shards, size, ms)
    assert np.allclose([asked.base_ms, asked.per_shard_ms, asked.per_byte_ms], [2, 0.5, 1e-4])


def test_no_cost_is_below_zero_where_times_fall_by_chance():
    found = fit_router(np.array([1.0, 2, 3]), np.zeros(3), np.array([3.0, 2.9, 2.8]))
    assert found.per_shard_ms == 0
    assert found.base_ms > 2.8
