"""What the cost model rests on, measured on a small index."""

from __future__ import annotations

import numpy as np
import pytest

from vsa.index.settings import CodeSettings
from vsa.study.scale.measure import measure_shards
from vsa.study.scale.prepare import ScaleLab
from vsa.study.settings import ScaleSettings
from vsa.study.simulate.growth import make_growth

D = 16


@pytest.fixture
def lab(tmp_path):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((40, D)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    growth = make_growth(features, np.repeat(["bags", "shoes"], 20), 0)
    sizes = dict.fromkeys(("n_shards", "n_replicas", "n_rounds", "n_queries", "n_losses"), 1)
    settings = ScaleSettings(n_items=300, load_s=1.0, n_timed=3, sizes=(200, 400), **sizes)
    return ScaleLab(features[:5], growth, settings, CodeSettings(n_bits=64), 0, tmp_path)


def test_indexes_of_several_sizes_are_timed_with_as_many_lists_as_they_have(lab):
    table, held = measure_shards(lab)
    # 4 √200 = 57 lists, and 4 √400 = 80
    assert set(zip(table["items"], table.probes, strict=True)) == {
        (200, 8),
        (200, 32),
        (400, 8),
        (400, 32),
    }
    assert (table.ms > 0).all()
    assert held.code == 8 + 8 + 8 + 4  # 64 bits, two factors, an id, a place
    assert held.feature == 2 * D
    # float32 centroid, its code, where it begins: one list more begins than there are
    n_lists = table.lists.iloc[-1]
    assert held.per_list == pytest.approx(4 * D + 8 + 8 * (n_lists + 1) / n_lists)


def test_no_query_is_asked_twice_and_all_are_of_unit_length(lab):
    queries = lab.queries(12)
    assert len(np.unique(queries, axis=0)) == 12
    assert np.allclose(np.linalg.norm(queries, axis=1), 1, atol=1e-6)
    assert (queries[:5] == lab.queries(5)).all()
