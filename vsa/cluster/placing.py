"""Which node takes a replica or a writer: replicas of a shard apart, the load even."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

PROCESS_BYTES = 300 * 2**20  # of a process that holds no shard yet


@dataclass(frozen=True)
class Node:
    """A machine that is alive."""

    id: str
    room: float  # bytes of memory that Ray counts there


@dataclass(frozen=True)
class Held:
    """A process on a node."""

    node: str
    shard: int
    is_replica: bool


def place(
    nodes: Sequence[Node],
    held: Sequence[Held],
    shard: int,
    *,
    is_replica: bool,
    n_bytes: float,
    suspects: Collection[str] = (),
) -> str | None:
    """The node for one more process of a shard; None where none has the memory.

    First one without a replica of the same shard, then one on which nothing has failed lately,
    then the one with the fewest processes.

    Parameters
    ----------
    n_bytes : that each process takes.
    suspects : ids of nodes on which something has failed lately.
    """

    def cost(node: Node) -> tuple[bool, bool, int]:
        here = [one for one in held if one.node == node.id]
        is_double = is_replica and any(one.is_replica and one.shard == shard for one in here)
        return is_double, node.id in suspects, len(here)

    fits = [
        node
        for node in nodes
        if (sum(one.node == node.id for one in held) + 1) * n_bytes <= node.room
    ]
    return min(fits, key=cost).id if fits else None


def doubled(nodes: Sequence[Node], held: Sequence[Held], shard: int) -> bool:
    """Whether two replicas of a shard share a node although one without any is alive."""
    mine = [one.node for one in held if one.is_replica and one.shard == shard]
    return len(set(mine)) < len(mine) and bool({node.id for node in nodes} - set(mine))
