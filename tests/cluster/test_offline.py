"""Work over chunks on nodes finds what this process would, and tells what is wrong."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from small_engine import N_ITEMS, small_catalogue, small_models, small_pictures

import vsa
from vsa import chunks
from vsa.cluster.offline import in_tasks
from vsa.data.decoding import ImageError
from vsa.data.schema import Dataset
from vsa.index.index import Index
from vsa.runtime.errors import InputError

pytestmark = pytest.mark.slow


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """Coloured squares, in chunks of 40."""
    monkeypatch.setattr(chunks, "CHUNK", 40)
    pictures = small_pictures(tmp_path)
    queries = pd.DataFrame(columns=["query_id", "path", "split"])
    made = Dataset("mine", tmp_path, small_catalogue(), queries, pd.DataFrame())
    return made, small_models(pictures)


def test_an_engine_that_nodes_have_looked_for_is_the_one_of_this_process(nodes, shop, tmp_path):
    made, models = shop
    vsa.build(made, models, tmp_path / "there", ray=nodes.address, cache=tmp_path / "kept")
    vsa.build(made, models, tmp_path / "here")
    queries = np.random.default_rng(0).standard_normal((5, models.embedder.dim), np.float32)
    with Index.open(tmp_path / "there/index") as there, Index.open(tmp_path / "here/index") as here:
        assert len(there) == len(here)
        for one, other in zip(there.search(queries, 9), here.search(queries, 9), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
    (features,) = (tmp_path / "kept").glob("features-*.npz")
    with np.load(features) as kept:
        assert 0 < len(kept["digests"]) <= N_ITEMS


def test_a_picture_that_no_node_can_read_is_named(nodes, shop, tmp_path):
    made, models = shop
    (tmp_path / "7.png").unlink()
    with pytest.raises(ImageError, match=r"7\.png: .*missing"):
        vsa.build(made, models, tmp_path / "engine", ray=nodes.address)
    assert not (tmp_path / "engine").exists()


def test_results_come_with_their_numbers_and_mistakes_as_they_were_raised(nodes):
    found = dict(in_tasks(abs, [-3, 4, -5], nodes.address, variables={"WHO": "me"}))
    assert found == {0: 3, 1: 4, 2: 5}
    with pytest.raises(TypeError):
        list(in_tasks(abs, ["three"], nodes.address))


def test_an_address_where_no_ray_answers_is_told(shop, tmp_path, monkeypatch):
    import ray

    made, models = shop
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(InputError, match=r"no Ray answers at '127\.0\.0\.1:9'"):
        vsa.build(made, models, tmp_path / "engine", ray="127.0.0.1:9")
