"""Which node takes a replica or a writer: replicas of a shard apart, the load even."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from vsa.runtime.errors import InputError

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


def resident_bytes(shards: Sequence[Path]) -> float:
    """Memory that a process of the largest shard needs: codes and ids; features stay on disk."""

    def held(folder: Path) -> int:
        files = [*folder.glob("base-*/codes.npy"), *folder.glob("base-*/ids.npy")]
        return sum(file.stat().st_size for file in files)

    return PROCESS_BYTES + max(map(held, shards))


def require_room(nodes: Sequence[Node], n_processes: int, n_bytes: float) -> None:
    """Raise InputError unless all processes, each of so many bytes, fit the nodes' memory."""
    n_fitting = sum(int(node.room // n_bytes) for node in nodes)
    if n_fitting < n_processes:
        raise InputError(
            f"{n_processes} processes of {n_bytes / 2**20:,.0f} MiB each do not fit the memory of "
            f"{len(nodes)} nodes, which have room for {n_fitting}",
            cure="Add nodes, or take fewer replicas; more shards are smaller ones",
        )


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
