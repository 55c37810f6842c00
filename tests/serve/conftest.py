from __future__ import annotations

import shutil

import pytest
from served import TOKEN, serving
from small_engine import small_shop

from vsa.engine import VisualSearch


@pytest.fixture(scope="session")
def shop(tmp_path_factory):
    """A small engine at ``shop.folder``, which tests only read."""
    made = small_shop(tmp_path_factory.mktemp("shop"))
    made.root = made.folder.parent
    return made


@pytest.fixture(scope="session")
def engine(shop):
    with VisualSearch.open(shop.folder) as opened:
        yield opened


@pytest.fixture(scope="module")
def client(engine):
    with serving(engine) as client:
        yield client


@pytest.fixture
def own(shop, tmp_path):
    """A client that may write, of an engine of its own."""
    shutil.copytree(shop.folder, tmp_path / "my.engine")
    with VisualSearch.open(tmp_path / "my.engine") as opened, serving(opened, TOKEN) as client:
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        client.engine, client.folder = opened, tmp_path / "my.engine"
        yield client
