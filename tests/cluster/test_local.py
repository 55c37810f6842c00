"""Nodes of this machine: one that does not start is tried again, then told of."""

import pytest

from vsa.cluster.local import LocalNodes
from vsa.runtime.errors import InputError


@pytest.mark.parametrize("n_failing", [1, 2])
def test_a_node_that_does_not_start_in_time_is_tried_again_once(monkeypatch, n_failing):
    class Cluster:
        address, n_tries = "127.0.0.1:1", 0

        def __init__(self, **_):
            Cluster.n_tries += 1
            if Cluster.n_tries <= n_failing:
                raise Exception("The current node timed out during startup.\nOr so.")

    monkeypatch.setattr("ray.cluster_utils.Cluster", Cluster)
    monkeypatch.setattr("ray.init", lambda **_: None)
    if n_failing == 1:
        assert LocalNodes(1).address == "127.0.0.1:1"
    else:
        told = (
            r"a node of Ray does not start \(The current node timed out during startup.\)\. See wh"
        )
        with pytest.raises(InputError, match=told):
            LocalNodes(1)
    assert Cluster.n_tries == 2
