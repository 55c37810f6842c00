"""Several nodes of Ray on this machine: to try a cluster out, and to take nodes away from it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from vsa.cluster.connect import SMALL_STORE, load_ray
from vsa.runtime.errors import InputError

_N_TRIES = 2
_LOOK_EVERY_S = 0.5  # for raylets that have ended
_SYSTEM = {
    # a node is dead when it has not answered for three of these, and not only after Ray's 15 s
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 3,
    "prestart_worker_first_driver": False,  # a process for each core, which nobody needs
}


class LocalNodes:
    """A head node and others, each a raylet of its own; this process is connected to the head.

    They share this machine's cores, memory and disk, so they show what survives the loss of a
    node, and nothing about the speed of several machines.
    """

    def __init__(self, n_nodes: int, *, memory: int = 4 * 2**30) -> None:
        """Start them; `memory` is what each says that it has, in bytes."""
        ray = load_ray()
        from ray.cluster_utils import Cluster

        self._memory = memory
        head = self._settings() | {
            "include_dashboard": False,
            "include_log_monitor": False,
            "no_monitor": True,  # it would start and stop machines
            "_system_config": _SYSTEM,
        }
        self._cluster = _patiently(lambda: Cluster(initialize_head=True, head_node_args=head))
        self._nodes: dict[str, Any] = {}
        self._raylets: list[subprocess.Popen[bytes]] = []  # of all nodes ever: Ray forgets them
        self._over = threading.Event()
        threading.Thread(target=self._reap, name="reap raylets", daemon=True).start()
        self.address: str = self._cluster.address
        ray.init(address=self.address, log_to_driver=False, logging_level=logging.ERROR)
        for _ in range(n_nodes - 1):
            self.add()

    def __enter__(self) -> LocalNodes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def workers(self) -> list[str]:
        """Ids of the nodes beside the head, the oldest first."""
        return list(self._nodes)

    def add(self) -> str:
        """One more node; returns its id."""
        node = _patiently(lambda: self._cluster.add_node(**self._settings()))
        self._nodes[node.node_id] = node
        self._raylets.append(_raylet(node))
        return node.node_id

    def kill(self, node: str) -> None:
        """SIGKILL to the node's raylet, and to all that it has started."""
        for pid in reversed(self.processes(node)):
            _send(pid, signal.SIGKILL)
        self._forget(node)

    def processes(self, node: str) -> list[int]:
        """The node's raylet, and all that it has started."""
        raylet = _raylet(self._nodes[node]).pid
        return [raylet, *_children(raylet)]

    def close(self) -> None:
        """End them all."""
        self._over.set()
        load_ray().shutdown()
        self._cluster.shutdown()

    def _reap(self) -> None:
        """Let raylets go that somebody has killed.

        Until its parent, this process, has asked how it ended, a process is there as a zombie, and
        whatever that raylet had started would take it for alive, and stay.
        """
        while not self._over.wait(_LOOK_EVERY_S):
            for raylet in self._raylets:
                raylet.poll()

    def _settings(self) -> dict[str, Any]:
        return {"num_cpus": 2, "object_store_memory": SMALL_STORE, "memory": self._memory}

    def _forget(self, node: str) -> None:
        gone = self._nodes.pop(node)
        gone.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)
        self._cluster.worker_nodes.discard(gone)


def _raylet(node: Any) -> subprocess.Popen[bytes]:
    from ray._private.ray_constants import PROCESS_TYPE_RAYLET

    process: subprocess.Popen[bytes] = node.all_processes[PROCESS_TYPE_RAYLET][0].process
    return process


def _patiently(start: Callable[[], Any]) -> Any:
    """Start a node; Ray gives up after 30 s, which is little on a busy machine."""
    for _ in range(_N_TRIES):
        try:
            return start()
        except Exception as error:  # Ray's own, which has no kind
            why = str(error).splitlines()[0]
    raise InputError(
        f"a node of Ray does not start ({why})",
        cure="See whether other programs keep this machine busy, and try again",
    )


def _children(pid: int) -> list[int]:
    told = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    children = [int(line) for line in told.stdout.split()]
    return [one for child in children for one in (child, *_children(child))]


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
