"""The processes that hold shards: thin actors of Ray around `Follower` and `ShardWriter`."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Any

import numpy as np

from vsa.cluster.connect import load_ray
from vsa.cluster.follower import Follower
from vsa.cluster.messages import Log, MemberStatus, Question, Stale
from vsa.cluster.writer import ShardWriter
from vsa.index.hits import Found
from vsa.index.lists import Names

_LOG = logging.getLogger(__name__)
_LONG_POLL_S = 2.0  # that a replica waits at its writer for news
_SILENT_S = 5.0  # after which it asks again
_PAUSE_S = 0.2  # before it asks a writer again that failed
N_THREADS = 16  # of an actor: replicas that wait, beside those who write or search


class ReplicaActor:
    """Answers for a shard, and follows its writer."""

    def __init__(self, name: str, folder: str, writer: Any) -> None:
        """Begin to follow; `writer` is its actor, None where there is none yet."""
        self._name, self._folder, self._writer = name, folder, writer
        self._follower: Follower | None = None
        self._problem = ""
        threading.Thread(target=self._follow, name="follow", daemon=True).start()

    def find(self, question: Question, wait_s: float) -> Found:
        """As `Follower.find`; raises Stale before the log was read for the first time."""
        if self._follower is None:
            raise Stale("it has not read its writer's log yet")
        return self._follower.find(question, wait_s)

    def ping(self, writer: Any) -> tuple[MemberStatus, str]:
        """How far it is, and what keeps it from starting; from now on it follows `writer`."""
        self._writer = writer
        known = self._follower
        status = _status(self._name, known)
        return status, self._problem if known is None else ""

    def _follow(self) -> None:
        while True:
            try:
                if self._follower is None:
                    self._follower = Follower(self._folder, self._read)
                self._follower.follow()
            except Exception as error:  # it goes on from where it is, as soon as there is a writer
                self._problem = f"{type(error).__name__}: {error}"
                time.sleep(_PAUSE_S)

    def _read(self, base: str, after: int) -> Log:
        if self._writer is None:
            raise Stale("there is no writer")
        told = self._writer.log.remote(base, after, _LONG_POLL_S)
        return load_ray().get(told, timeout=_LONG_POLL_S + _SILENT_S)


class WriterActor:
    """Changes a shard."""

    def __init__(self, name: str, folder: str) -> None:
        """Open it; raises InputError if another writer has it."""
        self._name, self._writer = name, ShardWriter(folder)

    def ping(self) -> tuple[MemberStatus, str]:
        """How far it is."""
        return _status(self._name, self._writer), ""

    def put(self, features: np.ndarray, ids: np.ndarray, categories: Names | None) -> int:
        """As `ShardWriter.put`."""
        return self._writer.put(features, ids, categories)

    def remove(self, ids: np.ndarray) -> int:
        """As `ShardWriter.remove`."""
        return self._writer.remove(ids)

    def ids(self) -> np.ndarray:
        """As `ShardWriter.ids`."""
        return self._writer.ids()

    def log(self, base: str, after: int, wait_s: float) -> Log:
        """As `ShardWriter.log`."""
        return self._writer.log(base, after, wait_s)

    def compact(self) -> str:
        """As `ShardWriter.compact`."""
        return self._writer.compact()

    def remove_old(self) -> None:
        """As `ShardWriter.remove_old`."""
        self._writer.remove_old()


def _status(name: str, what: Follower | ShardWriter | None) -> MemberStatus:
    node = load_ray().get_runtime_context().get_node_id()
    if what is None:
        return MemberStatus(name, node, os.getpid())
    return MemberStatus(name, node, os.getpid(), what.sequence, what.base)


def start_actor(kind: type, name: str, namespace: str, node: str, *arguments: Any) -> Any:
    """Start an actor on a node, and do not wait for it; raises ValueError if the name is taken."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    made = load_ray().remote(kind)
    return made.options(
        name=name,
        namespace=namespace,
        lifetime="detached",  # it outlives the supervisor, which finds it again by its name
        num_cpus=0,
        max_concurrency=N_THREADS,
        max_restarts=0,  # the supervisor starts another one, where it is best
        scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
    ).remote(name, *arguments)
