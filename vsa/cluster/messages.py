"""What the processes of a cluster tell each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vsa.index.live import Changes
from vsa.index.request import SearchParams

Sequence = tuple[int, ...]  # of each shard the number of a change, 0 for none


@dataclass(frozen=True)
class Question:
    """What a replica is asked."""

    features: np.ndarray  # float16 (n, d)
    params: SearchParams
    categories: np.ndarray | None = None  # int64: codes of names
    min_sequence: int = 0  # the answer must know of this change


@dataclass(frozen=True)
class Log:
    """What a writer tells a replica."""

    base: str
    changes: Changes
    is_whole: bool  # the changes are all since the base; else those after what was asked for


class Stale(Exception):
    """A replica does not know yet of a change that it was asked to know of."""


@dataclass(frozen=True)
class MemberStatus:
    """A replica or a writer, as it told last."""

    name: str
    node: str  # id of its node
    pid: int | None = None  # None while it starts
    sequence: int | None = None  # of the newest change that it knows; None while it starts
    base: str = ""


@dataclass(frozen=True)
class ShardStatus:
    """A shard's writer and replicas."""

    writer: MemberStatus | None
    replicas: tuple[MemberStatus, ...]

    @property
    def sequence(self) -> int | None:
        """Number of the newest change; None while there is no writer."""
        return None if self.writer is None else self.writer.sequence


@dataclass(frozen=True)
class Status:
    """A cluster, as its supervisor knows it."""

    folder: str  # of the shards
    n_replicas: int  # wanted of each shard
    nodes: tuple[str, ...]  # ids of nodes that are alive
    shards: tuple[ShardStatus, ...]
    problems: tuple[str, ...]  # why something is missing

    @property
    def is_whole(self) -> bool:
        """Whether each shard has a writer, and all its replicas answer."""
        return all(
            shard.sequence is not None
            and sum(replica.sequence is not None for replica in shard.replicas) >= self.n_replicas
            for shard in self.shards
        )


@dataclass(frozen=True)
class Table:
    """Whom to ask: handles of Ray, by shard."""

    replicas: tuple[tuple[tuple[str, Any], ...], ...]  # name and handle of each that answers
    writers: tuple[Any, ...]  # None where there is none
