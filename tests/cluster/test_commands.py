"""`vsa cluster`: start, status, roll, stop."""

import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from random_features import unit
from typer.testing import CliRunner

from vsa.cli import app
from vsa.index.build import build_index
from vsa.runtime.errors import InputError
from vsa.runtime.paths import ROOT

pytestmark = pytest.mark.slow


def told(*arguments, status=0):
    done = CliRunner().invoke(app, ["cluster", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == status, done.output
    return done.output


def test_a_cluster_is_started_looked_at_rolled_and_stopped(nodes, tmp_path):
    engine = tmp_path / "one"
    build_index(engine, unit(np.random.default_rng(0), 50))
    counts = ("--shards", 1, "--replicas", 1)
    assert "1 shards, 1 replicas of each" in told(
        "start", engine, *counts, "--address", nodes.address
    )
    text = told("status", engine)
    assert re.search(r"shard 0  writer   node \w{12}  change 0, base-00000001", text)
    assert re.search(r"shard 0  replica  node \w{12}  change 0, base-00000001", text)
    assert "whole  the cluster" in text
    told("roll", engine)
    told("stop", engine)
    with pytest.raises(InputError, match="no cluster has these shards"):
        told("status", engine)


def test_without_an_address_it_runs_on_this_machine_until_it_is_told_to_end(tmp_path):
    engine = tmp_path / "one"
    build_index(engine, unit(np.random.default_rng(0), 50))
    command = [sys.executable, "-m", "vsa.cli", "cluster", "start", str(engine)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [*command, "--shards", "1", "--replicas", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as running:
        assert running.stdout is not None
        said = iter(running.stdout.readline, "")
        assert any("the cluster is whole" in line for line in said)
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 0, running.stderr.read()
