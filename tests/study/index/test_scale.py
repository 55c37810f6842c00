"""A catalogue in shards, built and measured part by part."""

import numpy as np
from random_features import NAMES, unit

from vsa.study.index.peers import COARSE, ENGINE, LINEAR
from vsa.study.index.scale import compare_shards
from vsa.study.simulate.growth import make_growth


def test_shards_that_are_built_part_by_part_find_what_a_scan_of_all_does(tmp_path):
    rng = np.random.default_rng(0)
    growth = make_growth(unit(rng, 300), rng.choice(NAMES, 300), 0)
    asked, validation = growth.features[:20], growth.features[20:40]
    curve = compare_shards(tmp_path / "scale", growth, 2100, 3, asked, validation, part_size=400)
    rows = curve.set_index("method")
    assert list(rows.index) == [LINEAR, ENGINE, COARSE]
    assert rows.code_recall[LINEAR] == 1
    assert rows.recall[ENGINE] > 0.98
    assert rows.code_recall[COARSE] > 0.98
    assert rows.ndcg[ENGINE] > 0.98  # ids are those of the whole catalogue
    assert (rows.n_items == 2100).all()
    assert (rows.open_s[[ENGINE, COARSE]] > 0).all()
    assert [len(seconds) for seconds in rows.seconds] == [20, 20, 20]
    assert (rows.chosen == 1).all()
