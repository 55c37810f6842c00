"""Keeps a cluster whole: asks every process how it is, and replaces those that do not answer."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vsa.cluster.actors import ReplicaActor, WriterActor, start_actor
from vsa.cluster.connect import load_ray, namespace_of
from vsa.cluster.lock import ClusterLock
from vsa.cluster.messages import MemberStatus, ShardStatus, Status, Table
from vsa.cluster.nodes import alive_nodes
from vsa.cluster.placing import Held, Node, doubled, place, resident_bytes
from vsa.index.shards import count_shards, shard_name
from vsa.runtime.errors import InputError

NAME = "supervisor"
_LOG = logging.getLogger(__name__)
_LOOK_S = 0.25  # between two looks at all processes
_LOST_S = 1.5  # that a process may be out of reach before it is replaced
_SILENT_S = 6.0  # that one may leave a question unanswered: it hangs
_START_S = 120.0  # that one may take to start
_PAUSE_S = 2.0  # before something is started again that did not come up
_SUSPECT_S = 30.0  # that a node is avoided after something failed there
_ROLL_S = 60.0  # that replicas of a shard may take to open a new base


@dataclass
class _Member:
    """A process, as it was heard of last."""

    shard: int
    is_replica: bool
    name: str
    node: str  # of one that was taken over, empty until it answers
    actor: Any
    heard: float  # when it last answered, or was started, on the clock of `time.monotonic`
    asked: Any = None  # the answer that is waited for
    asked_at: float = 0.0
    status: MemberStatus | None = None
    has_failed: bool = False  # the last question could not be sent, or was not answered

    @property
    def is_ready(self) -> bool:
        return self.status is not None and self.status.sequence is not None

    def is_gone(self, now: float) -> bool:
        """Whether it has been silent for too long."""
        if self.status is None:
            return now - self.heard > _START_S
        return now - self.heard > (_LOST_S if self.has_failed else _SILENT_S)


class SupervisorActor:
    """The one process of a cluster that starts and ends the others."""

    def __init__(self, folder: str, n_replicas: int, address: str) -> None:
        """Take the shards of a folder, and begin; what runs of them already is taken over.

        If another cluster has them, whatever is asked of this one raises InputError.
        """
        self._folder, self._n_replicas = Path(folder), n_replicas
        self._namespace = namespace_of(self._folder)
        self._n_shards = count_shards(self._folder)
        self._n_bytes = resident_bytes([self._folder / shard_name(s) for s in self._shards()])
        self._members: list[_Member] = []
        self._nodes: list[Node] = []
        self._suspects: dict[str, float] = {}  # node → until when
        self._problems: dict[str, str] = {}  # of what → why it is missing
        self._changing = threading.RLock()
        self._rolling = threading.Lock()
        self._is_stopping = threading.Event()
        self._not_before: dict[str, float] = {}  # of what → when it is started again
        self._number = 0
        self._thread = threading.Thread(target=self._supervise, name="supervise", daemon=True)
        self._refused: InputError | None = None
        try:
            self._lock = ClusterLock(self._folder, address)
        except InputError as error:  # told when asked: an actor that fails here is told of by Ray
            self._refused = error
            return
        self._adopt()
        self._thread.start()

    # What others ask -----------------------------------------------------------------------

    def table(self) -> Table:
        """Whom to ask now."""
        self._require_begun()
        with self._changing:
            ready = [one for one in self._members if one.is_ready]
        return Table(
            tuple(
                tuple((one.name, one.actor) for one in ready if one.is_replica and one.shard == s)
                for s in self._shards()
            ),
            tuple(
                next((m.actor for m in ready if m.shard == s and not m.is_replica), None)
                for s in self._shards()
            ),
        )

    def status(self) -> Status:
        """How the cluster is."""
        self._require_begun()
        with self._changing:
            members, problems = list(self._members), tuple(self._problems.values())
        told = [(one, one.status or MemberStatus(one.name, one.node)) for one in members]
        shards = tuple(
            ShardStatus(
                next((how for one, how in told if one.shard == s and not one.is_replica), None),
                tuple(how for one, how in told if one.shard == s and one.is_replica),
            )
            for s in self._shards()
        )
        nodes = tuple(node.id for node in self._nodes)
        return Status(str(self._folder), self._n_replicas, nodes, shards, problems)

    def roll(self) -> None:
        """Fold the changes of each shard into a new base, and have its replicas open it.

        One shard after the other: the others search as they are, and replicas of this one answer
        from the old base until they have opened the new one. Raises InputError where a writer
        fails, or a replica does not follow; then the old base stays, too.
        """
        ray = load_ray()
        with self._rolling:
            for shard in self._shards():
                writer = self.table().writers[shard]
                if writer is None:
                    raise InputError(
                        f"shard {shard} has no writer", cure="Try again when the cluster is whole"
                    )
                base = ray.get(writer.compact.remote(), timeout=_ROLL_S)
                self._wait_for_base(shard, base)
                ray.get(writer.remove_old.remote(), timeout=_ROLL_S)

    def stop(self) -> None:
        """End all other processes; the shards stay as they are on the disk."""
        self._require_begun()
        self._is_stopping.set()
        self._thread.join()
        for one in self._members:
            _kill(one.actor)
        self._lock.release()

    # Supervising ---------------------------------------------------------------------------

    def _require_begun(self) -> None:
        if self._refused is not None:
            raise self._refused

    def _shards(self) -> range:
        return range(self._n_shards)

    def _adopt(self) -> None:
        ray = load_ray()
        for known in ray.util.list_named_actors(all_namespaces=True):
            if known["namespace"] != self._namespace or known["name"] == NAME:
                continue
            kind, shard, number = known["name"].split("-")
            try:
                actor = ray.get_actor(known["name"], namespace=self._namespace)
            except ValueError:  # it has died just now
                continue
            self._members.append(
                _Member(int(shard), kind == "replica", known["name"], "", actor, time.monotonic())
            )
            self._number = max(self._number, int(number))

    def _supervise(self) -> None:
        while not self._is_stopping.is_set():
            try:
                self._look()
            except Exception:  # Ray may be out of reach for a while
                _LOG.exception("the supervisor goes on")
            self._is_stopping.wait(_LOOK_S)

    def _look(self) -> None:
        ray, now = load_ray(), time.monotonic()
        self._nodes = alive_nodes()
        writers = self.table().writers
        for one in self._members:
            if one.asked is None:
                one.asked_at = now
                one.asked = _ask(one, writers)
        asked = [one.asked for one in self._members]
        answered = set(ray.wait(asked, num_returns=len(asked), timeout=0.1)[0]) if asked else set()
        for one in [one for one in self._members if one.asked in answered]:
            self._hear(one)
        now, alive = time.monotonic(), {"", *(node.id for node in self._nodes)}
        for one in [one for one in self._members if one.is_gone(now) or one.node not in alive]:
            self._drop(one, "it does not answer")
        for shard in self._shards():
            self._complete(shard)

    def _hear(self, one: _Member) -> None:
        from ray.exceptions import ActorDiedError, ActorUnschedulableError, RayError

        answer, one.asked = one.asked, None
        try:
            one.status, problem = load_ray().get(answer)
            one.node, one.heard, one.has_failed = one.status.node, time.monotonic(), False
            self._note(one.name, problem)
        except (ActorDiedError, ActorUnschedulableError) as error:
            self._drop(one, _cause(error))
        except RayError:
            one.has_failed = True

    def _drop(self, one: _Member, why: str) -> None:
        _LOG.warning("%s is replaced: %s", one.name, why)
        with self._changing:
            if one in self._members:
                self._members.remove(one)
        self._problems.pop(one.name, None)
        self._note(f"{one.is_replica}{one.shard}", f"{one.name} was lost: {why}")
        self._suspects[one.node] = time.monotonic() + _SUSPECT_S
        if not one.is_ready:
            self._not_before[f"{one.is_replica}{one.shard}"] = time.monotonic() + _PAUSE_S
        _kill(one.actor)

    def _complete(self, shard: int) -> None:
        """Start what a shard lacks, and end what it has too much of."""
        mine = [one for one in self._members if one.shard == shard]
        replicas = [one for one in mine if one.is_replica]
        if len(replicas) == len(mine):
            self._start(WriterActor, shard, replicas)
        elif all(one.is_ready for one in mine):
            self._note(f"False{shard}", "")
        held = self._held()
        if len(replicas) < self._n_replicas or (
            len(replicas) == self._n_replicas and doubled(self._nodes, held, shard)
        ):
            self._start(ReplicaActor, shard, replicas)
        elif all(one.is_ready for one in replicas):
            self._note(f"True{shard}", "")
            if len(replicas) > self._n_replicas:
                nodes = [one.node for one in replicas]
                extra = max(replicas, key=lambda one: nodes.count(one.node))
                with self._changing:
                    self._members.remove(extra)
                _kill(extra.actor)

    def _start(self, kind: type, shard: int, replicas: Sequence[_Member]) -> None:
        now, is_replica = time.monotonic(), kind is ReplicaActor
        what = f"{is_replica}{shard}"
        if now < self._not_before.get(what, 0.0):
            return
        suspects = [node for node, until in self._suspects.items() if until > now]
        node = place(
            self._nodes,
            self._held(),
            shard,
            is_replica=is_replica,
            n_bytes=self._n_bytes,
            suspects=suspects,
        )
        if node is None:
            self._note(
                what,
                f"shard {shard}: no node has {self._n_bytes / 2**20:,.0f} MiB of memory left",
            )
            return
        self._number += 1
        name = f"{'replica' if is_replica else 'writer'}-{shard}-{self._number}"
        folder = str(self._folder / shard_name(shard))
        more = [self.table().writers[shard]] if is_replica else []
        actor = start_actor(kind, name, self._namespace, node, folder, *more)
        with self._changing:
            self._members.append(_Member(shard, is_replica, name, node, actor, now))

    def _held(self) -> list[Held]:
        return [Held(one.node, one.shard, one.is_replica) for one in self._members]

    def _note(self, what: str, problem: str) -> None:
        with self._changing:
            if problem:
                self._problems[what] = problem
            else:
                self._problems.pop(what, None)

    def _wait_for_base(self, shard: int, base: str) -> None:
        end = time.monotonic() + _ROLL_S
        while True:
            replicas = self.status().shards[shard].replicas
            if replicas and all(one.base == base for one in replicas):
                return
            if time.monotonic() > end:
                raise InputError(
                    f"replicas of shard {shard} have not opened {base} in {_ROLL_S:g} s",
                    cure="Roll again when the cluster is whole; the old base is still there",
                )
            time.sleep(_LOOK_S)


def _ask(one: _Member, writers: Sequence[Any]) -> Any:
    return one.actor.ping.remote(*([writers[one.shard]] if one.is_replica else []))


def _kill(actor: Any) -> None:
    try:
        load_ray().kill(actor, no_restart=True)
    except Exception as error:  # it is gone already, or out of reach
        _LOG.info("not ended: %s", error)


def _cause(error: Exception) -> str:
    """What an actor that could not start said last, or why it died; in a line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "InputError" in line]
    return (told or lines or [type(error).__name__])[-1]
