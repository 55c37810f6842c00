"""An engine on a cluster: over HTTP, and its catalogue, which grows in folder and shards alike."""

import json
import socket
import urllib.request
from types import SimpleNamespace

import pandas as pd
import pytest
from PIL import Image
from small_engine import small_shop

from vsa.cluster.catalogue import ClusterStore
from vsa.cluster.cluster import Cluster
from vsa.cluster.service import deploy, withdraw
from vsa.engine import VisualSearch
from vsa.index.index import Index
from vsa.runtime.errors import InputError
from vsa.serve.limits import Limits

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shop(nodes, tmp_path_factory):
    """A small engine, and a cluster of it."""
    made = small_shop(tmp_path_factory.mktemp("shop"))
    cluster = Cluster.start(made.folder, shards=2, replicas=1, wait_s=240)
    yield SimpleNamespace(folder=made.folder, root=made.folder.parent, cluster=cluster)
    cluster.stop()


def asked(url, photo=None):
    request = urllib.request.Request(url, photo, {"Content-Type": "image/png"} if photo else {})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def test_the_service_on_the_cluster_answers_as_the_engine_does(shop):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    deploy(shop.folder, None, host="127.0.0.1", port=port, copies=1, limits=Limits())
    url, file = f"http://127.0.0.1:{port}", shop.root / "3.png"
    assert asked(f"{url}/readyz") == {"status": "ready"}
    found = asked(f"{url}/v1/search?k=5", file.read_bytes())
    with VisualSearch.open(shop.folder) as engine:
        expected = engine.search(file, 5).results
    assert [one["image_id"] for one in found["results"]] == expected.image_id.tolist()
    assert found["missing_shards"] == []
    withdraw(shop.folder, None)
    with pytest.raises(OSError, match=r"404|refused"):
        asked(f"{url}/readyz")


def test_what_joins_or_leaves_is_found_or_gone_here_and_in_the_folder(shop):
    store = ClusterStore(shop.folder, shop.cluster)
    engine = VisualSearch.over(store, finder=store)
    Image.radial_gradient("L").convert("RGB").save(shop.root / "new.png")
    row = {"image_id": ["new"], "product_id": ["new"], "category": ["bags"], "path": ["new.png"]}
    engine.add(pd.DataFrame(row), select=False)
    whole_photo = {"box": (0, 0, 1, 1), "categories": ["bags"]}
    for _ in range(2):
        answer = engine.search(shop.root / "new.png", 5, **whole_photo)
        assert answer.results.image_id[0] == "new"
        assert answer.missing_shards == ()
        store.compact()
    engine.remove(["new"])
    assert "new" not in engine.search(shop.root / "new.png", 90, **whole_photo).results.image_id
    engine.close()


def test_what_the_shards_missed_is_made_up_for(shop):
    """The folder took changes while nobody told the cluster."""
    with VisualSearch.open(shop.folder) as alone:
        row = {"image_id": ["n"], "product_id": ["n"], "category": ["toys"], "path": ["7.png"]}
        alone.add(pd.DataFrame(row), select=False)
        alone.remove(["i5"])
    with Index.open(shop.folder / "index") as index:
        assert shop.cluster.sync(index) == (1, 1)
        assert shop.cluster.sync(index) == (0, 0)
        feature, _ = index.current().items(index.current().all_ids()[:1])
        first = shop.cluster.search_one(feature[0], 5)
        assert first.ids.tolist() == index.search_one(feature[0], 5).ids.tolist()


def test_a_change_that_the_shards_cannot_take_is_told_and_kept_in_the_folder(shop, monkeypatch):
    store = ClusterStore(shop.folder, shop.cluster)
    engine = VisualSearch.over(store, finder=store)

    def refuse(ids):
        raise InputError("shard 0 of 2 took nothing: the disk is full", cure="Free some space")

    monkeypatch.setattr(shop.cluster, "remove", refuse)
    with pytest.raises(InputError, match="the engine has the change, and its cluster has not: sh"):
        engine.remove(["i6"])
    monkeypatch.undo()
    with Index.open(shop.folder / "index") as index:
        assert shop.cluster.sync(index) == (0, 1)
    engine.close()
