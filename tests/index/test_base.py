"""A base finds its items by their ids."""

import numpy as np
import pytest

from vsa.index.base import base_in_memory


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 7, 8, 9, 31, 100])
def test_rows_are_found_by_id(n):
    rng = np.random.default_rng(n)
    ids = np.concatenate([rng.permutation(np.arange(-90, 90)), [-(2**63), 2**63 - 1]])
    ids = rng.permutation(ids)[:n]
    features = np.zeros((n, 1), np.float16)
    words = np.zeros((n, 1), np.uint64)
    base = base_in_memory(ids, rng.integers(0, 4, n), 4, lambda rows: (words[rows], features[rows]))
    asked = np.concatenate([np.arange(-100, 100), [-(2**63), 2**63 - 1], ids])
    there = {id_: row for row, id_ in enumerate(base.ids.tolist())}
    assert base.rows_of(asked).tolist() == [there.get(id_, -1) for id_ in asked.tolist()]
    assert base.rows_of(asked[:0]).tolist() == []
