"""Notebook 08 where there is no cluster to be had."""

from __future__ import annotations

import importlib.util

import pytest

from vsa.runtime.errors import NotApplicable
from vsa.study.run import make_run
from vsa.study.scale import experiment, prepare


def test_without_ray_it_is_said_and_nothing_else_is_done(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(NotApplicable, match=r"Ray is not installed .*vsa\[cluster\]"):
        prepare.open_lab(make_run("synthetic", "smoke", 0), None)


def test_nodes_that_do_not_come_up_are_told(monkeypatch):
    def busy(n_nodes):
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(experiment, "LocalNodes", busy)
    with pytest.raises(NotApplicable, match=r"did not come up on this machine \(The current node"):
        experiment._nodes()
