"""What cannot be started says why, at once: packages, versions, addresses, numbers, locks."""

import os
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from random_features import unit
from small_engine import small_shop
from typer.testing import CliRunner

from vsa.cli import app
from vsa.cluster.cluster import Cluster
from vsa.cluster.connect import join
from vsa.cluster.lock import ClusterLock, running_at
from vsa.index.build import build_index
from vsa.index.index import Index
from vsa.index.shards import cut_shards
from vsa.runtime.errors import InputError
from vsa.runtime.paths import ROOT


@pytest.fixture(scope="module")
def small_engine(tmp_path_factory):
    return small_shop(tmp_path_factory.mktemp("shop")).folder


@pytest.fixture
def engine(tmp_path):
    build_index(tmp_path / "one", unit(np.random.default_rng(0), 10))
    return tmp_path / "one"


def run(code, *arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )


def test_without_ray_the_command_says_what_to_install(engine):
    code = "import sys; sys.modules['ray'] = None; from vsa.cli import main; main()"
    done = run(code, "cluster", "start", engine)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        "needs the package ray, which is not installed. pip install 'vsa[cluster]'" in done.stderr
    )


def test_the_core_does_not_import_ray():
    done = run("import sys, vsa.cli, vsa.engine, vsa.cluster_cli; print('ray' in sys.modules)")
    assert done.stdout == "False\n", done.stderr


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("127.0.0.1:1", "no Ray answers at '127.0.0.1:1'"),
        ("nowhere", "no Ray answers at 'nowhere'"),
        ("127.0.0.1:99999", "no Ray answers at"),
    ],
)
def test_an_address_where_nothing_answers_is_told_in_time(address, told, monkeypatch):
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    start = time.monotonic()
    with pytest.raises(InputError, match=told):
        join(address, "vsa-test")
    assert time.monotonic() - start < 10


@pytest.mark.slow
def test_a_ray_of_another_version_is_told(nodes):
    code = (
        "import sys, ray; ray.__version__ = '2.1.0'\n"
        "from vsa.runtime.errors import InputError\n"
        "from vsa.cluster.connect import join\n"
        "try: join(sys.argv[1], 'vsa-test')\n"
        "except InputError as error: print(error)\n"
    )
    done = run(code, nodes.address)
    assert "Ray cannot be joined (Version mismatch" in done.stdout, done.stderr
    assert "the same versions of Ray and Python" in done.stdout


@pytest.mark.parametrize(
    ("shards", "replicas", "told"),
    [
        (0, 1, "0 shards cannot be"),
        (1, 0, "0 replicas cannot be"),
        (101, 1, "101 shards cannot be. Take a number of shards from 1 to 100"),
        (11, 1, "of 11 shards of 10 items, 1 are empty. Take fewer shards"),
    ],
)
def test_numbers_that_cannot_be_are_refused(engine, shards, replicas, told):
    with pytest.raises(InputError, match=told):
        Cluster.start(engine, shards=shards, replicas=replicas)
    assert not engine.with_name("one.shards").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--shards", "0"], "0 shards cannot be"),
        (["--port", "99999"], "there is no port 99999"),
        (["--limit", "k=none"], "k is 'none'"),
        (["--token-file", "{folder}/token"], "fewer than 16 characters"),
        (["--port", "{port}"], "cannot be had"),
    ],
)
def test_what_cannot_be_served_is_told_before_a_node_is_started(
    arguments, told, small_engine, monkeypatch, tmp_path
):
    monkeypatch.setattr("vsa.cluster.local.LocalNodes.__init__", lambda *_: pytest.fail("started"))
    (tmp_path / "token").write_text("short")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        place = {"folder": tmp_path, "port": taken.getsockname()[1]}
        asked = [argument.format(**place) for argument in arguments]
        with pytest.raises(InputError, match=told):
            CliRunner().invoke(
                app, ["cluster", "start", str(small_engine), *asked], catch_exceptions=False
            )


def test_a_folder_that_is_no_engine_is_refused(tmp_path):
    with pytest.raises(InputError, match="there is no engine here"):
        Cluster.start(tmp_path, shards=1, replicas=1)


def test_where_no_cluster_runs_nobody_can_connect(engine):
    with pytest.raises(InputError, match="there are no shards here"):
        Cluster.connect(engine)
    with Index.open(engine) as index:
        cut_shards(index, engine.with_name("one.shards"), 2)
    with pytest.raises(InputError, match=r"no cluster has these shards\. Start it: vsa cluster"):
        Cluster.connect(engine)


def test_shards_have_one_cluster_at_a_time(tmp_path):
    first = ClusterLock(tmp_path / "shards", "10.0.0.1:6379")
    told = "another cluster has these shards, on the Ray at 10.0.0.1:6379"
    with pytest.raises(InputError, match=told):
        ClusterLock(tmp_path / "shards", "10.0.0.2:6379")
    assert running_at(tmp_path / "shards") == "10.0.0.1:6379"
    first.release()
    assert running_at(tmp_path / "shards") is None
    ClusterLock(tmp_path / "shards", "10.0.0.2:6379").release()


def test_a_lock_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(InputError, match=r"shards\.lock"):
        ClusterLock(tmp_path / "nowhere" / "shards", "10.0.0.1:6379")
