"""Work over chunks as tasks of a Ray cluster: any node takes any chunk, and a lost one is redone.

Nodes need the same version of this package, and see the same files at the same paths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from vsa.cluster.connect import join
from vsa.runtime.errors import InputError

_S = TypeVar("_S")
_T = TypeVar("_T")
_RETRIES = 3  # of a chunk whose node is lost, or has no memory left
_AHEAD = 2  # chunks that wait for each core


def in_tasks(
    work: Callable[[_S], _T],
    chunks: Sequence[_S],
    address: str,
    *,
    n_gpus: int = 0,
    variables: Mapping[str, str] | None = None,
) -> Iterator[tuple[int, _T]]:
    """Number and result of each chunk, as they are finished; a core of the cluster for each.

    Parameters
    ----------
    work : a function that pickle knows; what it holds, such as a network, is sent to a node once.
    chunks : what it is called with.
    address : of the head node, host:port; "auto" for the one on this machine.
    n_gpus : that each chunk has to itself.
    variables : of the environment of `work`.

    Raises
    ------
    InputError for an address where no Ray can be joined, for nodes that fail again and again, and
    what `work` raises of it.
    """
    import ray

    was_joined = ray.is_initialized()
    join(address, "vsa-offline")
    try:
        yield from _results(ray, work, chunks, n_gpus, dict(variables or {}))
    finally:
        if not was_joined:
            ray.shutdown()


def _results(
    ray: Any,
    work: Callable[[_S], _T],
    chunks: Sequence[_S],
    n_gpus: int,
    variables: dict[str, str],
) -> Iterator[tuple[int, _T]]:
    needs: dict[str, Any] = {"num_cpus": 1, "num_gpus": n_gpus, "max_retries": _RETRIES}
    if variables:
        needs["runtime_env"] = {"env_vars": variables}
    task = ray.remote(**needs)(_done)
    shared = ray.put(work)
    n_ahead = _AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
    waiting = list(enumerate(chunks))[::-1]
    running: dict[Any, int] = {}
    while waiting or running:
        while waiting and len(running) < n_ahead:
            number, chunk = waiting.pop()
            running[task.remote(shared, chunk)] = number
        (finished,), _ = ray.wait(list(running), num_returns=1)
        yield running.pop(finished), _result(ray, finished)


def _done(work: Callable[[_S], _T], chunk: _S) -> _T:
    return work(chunk)


def _result(ray: Any, finished: Any) -> Any:
    try:
        return ray.get(finished)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, InputError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise InputError(
            f"a chunk was tried {_RETRIES + 1} times on the cluster, and its node was lost or out "
            f"of memory each time ({type(error).__name__})",
            cure="See what Ray says (`ray status`), and call again: what is finished is kept",
        ) from error
