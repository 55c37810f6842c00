"""One small Ray for all tests here: three nodes, two shards, two replicas of each."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from random_features import NAMES, unit

from vsa.cluster.cluster import Cluster
from vsa.cluster.local import LocalNodes
from vsa.index.build import build_index
from vsa.index.index import Index

N_ITEMS = 600


@pytest.fixture(scope="session")
def nodes():
    with LocalNodes(3) as made:
        yield made


@pytest.fixture(scope="session")
def started(nodes, tmp_path_factory):
    """A cluster, and one index that is told of the same changes."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("cluster")
    features = unit(rng, N_ITEMS)
    features[100:160] = features[100]  # many ties
    build_index(folder / "one", features, categories=rng.choice(NAMES, N_ITEMS))
    cluster = Cluster.start(folder / "one", shards=2, replicas=2, wait_s=240)
    one = Index.open(folder / "one", writable=True)
    made = SimpleNamespace(cluster=cluster, one=one, engine=folder / "one", next_id=10_000)
    yield made
    cluster.stop()
    one.close()


@pytest.fixture
def both(started):
    """As `started`, and whole."""
    started.cluster.wait_until_whole(180)
    return started
