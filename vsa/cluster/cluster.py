"""A cluster: started, connected to, stopped (paper section 3.3)."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from vsa.cluster.client import LIMIT_S, Client, told_plainly
from vsa.cluster.connect import join, load_ray, namespace_of
from vsa.cluster.lock import running_at
from vsa.cluster.nodes import alive_nodes
from vsa.cluster.placing import require_room, resident_bytes
from vsa.cluster.supervisor import NAME, SupervisorActor
from vsa.index.hits import kernel
from vsa.index.index import Index
from vsa.index.model import read_model
from vsa.index.shards import count_shards, cut_shards, shard_name
from vsa.runtime.atomic import settled
from vsa.runtime.checked import INDEX
from vsa.runtime.errors import InputError
from vsa.store import CARD, INDEX_FOLDER, read_card

START_S = 120.0
_STOP_S = 30.0


class Cluster(Client):
    """Shards and their replicas on Ray, behind the search of one index.

    Results are those of the index that the shards were cut from, with the same changes.
    """

    @classmethod
    def start(
        cls,
        engine: str | Path,
        *,
        shards: int,
        replicas: int,
        address: str | None = None,
        folder: str | Path | None = None,
        limit_s: float = LIMIT_S,
        wait_s: float = START_S,
    ) -> Cluster:
        """Start a cluster of an engine on Ray, and wait until it is whole.

        Parameters
        ----------
        engine : folder of an engine, or of a `vsa.Index`; it is read once, to be cut into shards.
        shards, replicas : of the catalogue, and of each shard.
        address : of Ray's head node; None takes the Ray that this process is connected to, or
            starts one that ends with this process.
        folder : of the shards, which all nodes must see under this name; ``ENGINE.shards`` beside
            the engine by default. Shards that are there already are taken as they are, with every
            change that was made to them.
        limit_s : that a replica may take for a question before another is asked.
        wait_s : for the cluster to be whole.

        Raises
        ------
        InputError for numbers that cannot be, fewer items than shards, shards that were cut
        otherwise, a cluster of these shards that runs already, a Ray that cannot be joined, and
        where the cluster is not whole in time: then nothing runs on.
        """
        require_counts(shards, replicas)
        target = shards_of(engine, folder)
        if not target.is_dir():
            with Index.open(index_of(engine)) as index:
                cut_shards(index, target, shards)
        elif count_shards(target) != shards:
            raise InputError(
                f"there are {count_shards(target)} shards already, not {shards}",
                cure="Take as many, or name another folder for those to be cut: --folder",
                file=target,
            )
        kernel(read_model(target / shard_name(0))[0])  # compiled once, and not by all at once
        ray = join(address, namespace_of(target))
        folders = [target / shard_name(shard) for shard in range(shards)]
        require_room(alive_nodes(), shards * (replicas + 1), resident_bytes(folders))
        supervisor = _supervise(ray, target, replicas)
        cluster = None
        try:
            with told_plainly():
                cluster = cls(target, supervisor, limit_s)
            cluster.wait_until_whole(wait_s)
        except BaseException:
            _end(supervisor)
            if cluster is not None:
                cluster.close()
            raise
        return cluster

    @classmethod
    def connect(
        cls,
        engine: str | Path,
        *,
        address: str | None = None,
        folder: str | Path | None = None,
        limit_s: float = LIMIT_S,
    ) -> Cluster:
        """A client of a cluster that runs; by default on the Ray that it was started on.

        Raises InputError where none does.
        """
        target = shards_of(engine, folder)
        count_shards(target)
        at = address or running_at(target)
        nobody = InputError(
            "no cluster has these shards", cure="Start it: vsa cluster start", file=target
        )
        if at is None:
            raise nobody
        ray = join(at, namespace_of(target))
        try:
            supervisor = ray.get_actor(NAME, namespace=namespace_of(target))
        except ValueError:
            raise nobody from None
        with told_plainly():
            return cls(target, supervisor, limit_s)

    def wait_until_whole(self, wait_s: float = START_S) -> None:
        """Return when all replicas answer; raises InputError if they do not in time."""
        end = time.monotonic() + wait_s
        while not (status := self.status()).is_whole:
            if time.monotonic() > end:
                why = "; ".join(status.problems) or "its processes have not started"
                raise InputError(
                    f"the cluster is not whole after {wait_s:g} s: {why}",
                    cure="Give it more nodes or memory, or take fewer shards and replicas",
                    file=self.folder,
                )
            time.sleep(0.2)
        self._look()

    def stop(self) -> None:
        """End the cluster; its shards stay on the disk, with every change."""
        self.close()
        _end(self._supervisor)


def shards_of(engine: str | Path, folder: str | Path | None = None) -> Path:
    """Where the shards of an engine are, or will be."""
    if folder is not None:
        return settled(Path(folder))
    whole = settled(Path(engine))
    return whole.with_name(f"{whole.name}.shards")


def index_of(engine: str | Path) -> Path:
    """The folder of an engine's index, or of an index itself; raises InputError for neither."""
    whole = Path(engine)
    if (whole / INDEX).is_file() and not (whole / CARD).is_file():
        return whole
    read_card(whole)
    return whole / INDEX_FOLDER


def require_counts(shards: int, replicas: int) -> None:
    """Raise InputError for numbers of shards and replicas that cannot be."""
    for what, number, most in (("shards", shards, 100), ("replicas", replicas, 100)):
        if not 1 <= number <= most:
            raise InputError(
                f"{number} {what} cannot be", cure=f"Take a number of {what} from 1 to {most}"
            )


def _supervise(ray: Any, folder: Path, replicas: int) -> Any:
    """The actor that starts all others, on the head node; raises InputError if there is one."""
    made = ray.remote(SupervisorActor).options(
        name=NAME,
        namespace=namespace_of(folder),
        lifetime="detached",
        num_cpus=0,
        max_concurrency=16,
        max_restarts=-1,
        resources={"node:__internal_head__": 0.001},  # if that node is lost, so is Ray
    )
    try:
        return made.remote(str(folder), replicas, ray.get_runtime_context().gcs_address)
    except ValueError:
        raise InputError(
            "a cluster of these shards runs already",
            cure="Use it, or stop it first: vsa cluster stop",
            file=folder,
        ) from None


def _end(supervisor: Any) -> None:
    from ray.exceptions import RayError

    ray = load_ray()
    with suppress(RayError, InputError):  # it is gone already, or has never begun
        ray.get(supervisor.stop.remote(), timeout=_STOP_S)
    with suppress(RayError):
        ray.kill(supervisor, no_restart=True)
