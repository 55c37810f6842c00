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


@pytest.fixture(scope="module")
def own(shop, tmp_path_factory):
    """A client that may write with the token, of an engine that a module's tests change."""
    folder = tmp_path_factory.mktemp("own") / "my.engine"
    shutil.copytree(shop.folder, folder)
    with VisualSearch.open(folder) as opened, serving(opened, TOKEN) as client:
        client.folder, client.kept = folder, folder.with_name("my.engine.pictures")
        yield client
