"""Commands of `vsa cluster`: start one, look at it, fold its changes, stop it."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from vsa.runtime.console import tell
from vsa.serve.options import (
    BackendOption,
    HostOption,
    LimitOption,
    RootOption,
    TokenFileOption,
)

if TYPE_CHECKING:
    from vsa.cluster.cluster import Cluster
    from vsa.runtime.device import Backend

# Heavy modules are imported inside the commands that need them, so that --help is instant.
cluster_app = typer.Typer(
    help="An engine in shards and replicas on Ray (extra cluster).", no_args_is_help=True
)

_Engine = Annotated[Path, typer.Argument(help="folder of the engine, or of a vsa.Index")]
_Address = Annotated[
    str | None,
    typer.Option(help="HOST:PORT of Ray's head node; else the Ray that the cluster was started on"),
]
_Folder = Annotated[
    Path | None, typer.Option(help="of the shards, which all nodes see; ENGINE.shards by default")
]


@cluster_app.command()
def start(
    engine: _Engine,
    shards: Annotated[int, typer.Option(help="parts that the catalogue is cut into")] = 3,
    replicas: Annotated[int, typer.Option(help="of each shard, on nodes of their own")] = 2,
    address: Annotated[
        str | None,
        typer.Option(
            help="HOST:PORT of Ray's head node; without it, nodes of this machine are started, and "
            "end with this command"
        ),
    ] = None,
    local_nodes: Annotated[int, typer.Option(help="to be started, without --address")] = 1,
    folder: _Folder = None,
    http: Annotated[
        bool, typer.Option(help="serve it over HTTP, as `vsa serve` does (extra serve)")
    ] = True,
    host: HostOption = "127.0.0.1",
    port: Annotated[int, typer.Option(help="to listen at")] = 8000,  # Ray has to know which
    copies: Annotated[int, typer.Option(help="of the networks and the service")] = 1,
    token_file: TokenFileOption = None,
    root: RootOption = None,
    backend: BackendOption = "torch",
    limit: LimitOption = None,
) -> None:
    """Start shards and replicas on Ray, and the service before them; say when they answer.

    Shards that were cut before are taken as they are, with every change that was made to them.
    """
    from vsa.cluster.cluster import Cluster, index_of, require_counts
    from vsa.cluster.local import LocalNodes
    from vsa.serve.limits import make_limits

    require_counts(shards, replicas)
    is_served = http and index_of(engine) != engine  # or it is an index of vectors
    limits = make_limits(limit or [])
    if is_served:  # what cannot be is told before anything is started
        from vsa.serve.run import bound, read_token

        token = read_token(token_file)
        if address is None:
            bound(host, port).close()
    with ExitStack() as stack:
        if address is None:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and the nodes are ended, too
            nodes = stack.enter_context(LocalNodes(local_nodes))
            tell({"Ray at": nodes.address})
        cluster = Cluster.start(
            engine, shards=shards, replicas=replicas, address=address, folder=folder
        )
        stack.enter_context(cluster)
        is_over = _when_told_to_end() if address is None else None
        if is_served:
            from vsa.cluster.service import deploy

            deploy(
                engine,
                folder,
                host=host,
                port=port,
                copies=copies,
                limits=limits,
                token=token,
                root=root,
                backend=cast("Backend", backend),
            )
            print(f"vsa serves {engine} at http://{host}:{port}", flush=True)
        print(f"the cluster is whole: {shards} shards, {replicas} replicas of each", flush=True)
        if is_over is not None:
            is_over.wait()
            cluster.stop()


@cluster_app.command()
def status(engine: _Engine, address: _Address = None, folder: _Folder = None) -> None:
    """Who there is, and how far along its shard's log; exit status 1 while something is missing."""
    with _connected(engine, address, folder) as cluster:
        known = cluster.status()
    for number, shard in enumerate(known.shards):
        for role, one in (("writer", shard.writer), *(("replica", r) for r in shard.replicas)):
            if one is not None:
                at = "starts" if one.sequence is None else f"change {one.sequence}, {one.base}"
                print(f"shard {number}  {role:<7}  node {one.node[:12]}  {at}")
    for problem in known.problems:
        print(f"missing: {problem}")
    tell({"nodes": len(known.nodes), "the cluster": "whole" if known.is_whole else "not whole"})
    if not known.is_whole:
        raise typer.Exit(1)


@cluster_app.command()
def roll(engine: _Engine, address: _Address = None, folder: _Folder = None) -> None:
    """Fold all changes into new bases, shard by shard; searches and writes go on."""
    with _connected(engine, address, folder) as cluster:
        cluster.roll()


@cluster_app.command()
def sync(engine: _Engine, address: _Address = None, folder: _Folder = None) -> None:
    """Give the shards what the engine has and they have not, and take what it has not."""
    from vsa.cluster.cluster import index_of
    from vsa.index.index import Index

    with _connected(engine, address, folder) as cluster, Index.open(index_of(engine)) as index:
        n_joined, n_left = cluster.sync(index)
    tell({"joined": n_joined, "left": n_left})


@cluster_app.command()
def stop(engine: _Engine, address: _Address = None, folder: _Folder = None) -> None:
    """End the cluster and its service; its shards stay on the disk, with every change."""
    with _connected(engine, address, folder) as cluster:
        from vsa.cluster.service import withdraw

        withdraw(engine, folder)
        cluster.stop()


def _connected(engine: Path, address: str | None, folder: Path | None) -> Cluster:
    from vsa.cluster.cluster import Cluster

    return Cluster.connect(engine, address=address, folder=folder)


def _when_told_to_end() -> threading.Event:
    """Set on SIGINT or SIGTERM: from now on, since whoever is told that all is whole may send one.

    Ray has handlers of its own, which it sets when it is joined.
    """
    told = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: told.set())
    return told
