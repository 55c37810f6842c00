"""The service of an engine as a deployment of Ray Serve: HTTP and networks here, shards elsewhere.

It is the application of `vsa serve`; in place of the engine's own index, its searches ask the
cluster. Each copy has the networks, the rows and the page, so copies share the photos. What is
written goes to the engine's folder, then to the shards.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vsa.cluster.catalogue import ClusterStore
from vsa.cluster.cluster import Cluster, index_of, shards_of
from vsa.cluster.connect import load_ray, namespace_of
from vsa.engine import VisualSearch
from vsa.index.index import Index
from vsa.runtime.device import Backend
from vsa.runtime.errors import InputError
from vsa.serve.app import make_app
from vsa.serve.limits import Limits
from vsa.serve.writes import kept_pictures

_DEPLOYMENT = "search"


def deploy(
    engine: Path,
    folder: Path | None,
    *,
    host: str,
    port: int,
    copies: int,
    limits: Limits,
    token: str | None = None,
    root: Path | None = None,
    backend: Backend = "torch",
) -> None:
    """Serve an engine over HTTP, by a cluster of it that runs; returns when it answers.

    Parameters
    ----------
    host, port : that each node with a copy listens at.
    copies : of the networks and the application.
    limits, token, root, backend : as of `vsa.serve.run.serve`.

    Raises
    ------
    InputError where a copy cannot start.
    """
    load_ray()
    from ray import serve

    whole, target = engine.absolute(), shards_of(engine, folder)
    with Cluster.connect(whole, folder=target) as cluster, Index.open(index_of(whole)) as index:
        cluster.sync(index)  # what an interrupted write has left to do

    def build_app():  # type: ignore[no-untyped-def]  # each copy runs it, in a process of its own
        store = ClusterStore(whole, Cluster.connect(whole, folder=target))
        opened = VisualSearch.over(store, root=root, backend=backend, finder=store)
        if token is not None:
            kept_pictures(opened).mkdir(exist_ok=True)
        return make_app(opened, limits=limits, token=token)

    made: Any = serve.deployment(
        serve.ingress(build_app)(),
        name=_DEPLOYMENT,
        num_replicas=copies,
        max_ongoing_requests=limits.max_open,
        ray_actor_options={"num_cpus": 0},
    )
    serve.start(http_options={"host": host, "port": port})
    try:
        serve.run(made.bind(), name=namespace_of(target), route_prefix="/")
    except RuntimeError as error:
        raise InputError(
            f"the service has not started ({' '.join(str(error).split())[:300]})",
            cure="See the logs of Ray Serve, below /tmp/ray/session_latest/logs/serve",
        ) from error


def withdraw(engine: Path, folder: Path | None) -> None:
    """End the service of an engine, if there is one; others on the same Ray stay."""
    load_ray()
    from ray import serve

    name = namespace_of(shards_of(engine, folder))
    if name in serve.status().applications:
        serve.delete(name)
