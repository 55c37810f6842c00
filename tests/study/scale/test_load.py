"""What clients note of each search, and when it began."""

from __future__ import annotations

import time

import numpy as np

from vsa.index.hits import Hits
from vsa.study.scale.load import FAILED, PARTIAL, RIGHT, WRONG, Load, as_timeline

FOUND = Hits(np.array([3, 1]), np.array([0.9, 0.5], np.float32))


def ask(number: int) -> Hits:
    """Query 0 is right, 1 has another score, 2 lacks a shard, 3 lacks all, 4 gets no answer."""
    if number == 4:
        raise TimeoutError
    if number == 3:
        return Hits(np.empty(0, np.int64), np.empty(0, np.float32), (0, 1))
    if number == 2:
        return Hits(FOUND.ids[:1], FOUND.similarity[:1], (1,))
    return FOUND if number == 0 else Hits(FOUND.ids, FOUND.similarity - 0.1)


def test_each_search_is_right_wrong_partial_or_failed():
    with Load(ask, [FOUND] * 5, n_clients=1, pause_s=0.001) as load:
        while len(load.searches) < 5:
            time.sleep(0.001)
    kinds = {search.query: search.kind for search in load.searches[:5]}
    assert kinds == {0: RIGHT, 1: WRONG, 2: PARTIAL, 3: FAILED, 4: FAILED}
    kept = {search.query: search.hits is not None for search in load.searches[:5]}
    assert kept == {0: False, 1: False, 2: True, 3: False, 4: False}


def test_clients_share_the_queries_and_keep_their_pace():
    start = time.monotonic()
    with Load(lambda number: FOUND, [FOUND] * 4, n_clients=2, pause_s=0.05) as load:
        time.sleep(0.3)
    spent = time.monotonic() - start
    assert {search.query for search in load.searches} == {0, 1, 2, 3}
    assert len(load.searches) <= 2 * (spent / 0.05 + 1)


def test_a_timeline_counts_from_a_moment():
    with Load(lambda number: FOUND, [FOUND], n_clients=1, pause_s=0.001) as load:
        time.sleep(0.02)
    table = as_timeline(load.searches, load.searches[0].at + 1.0)
    assert table.s.iloc[0] == -1.0
    assert table.s.is_monotonic_increasing
    assert set(table.kind) == {RIGHT}
