"""What a client does with a cluster: it searches, changes, and looks who is there."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np

from vsa.cluster.connect import load_ray
from vsa.cluster.messages import Question, Status, Table
from vsa.cluster.routing import Router, merged
from vsa.index.codec import check_features
from vsa.index.hits import Found, Hits
from vsa.index.index import Index
from vsa.index.lists import Names
from vsa.index.model import read_model
from vsa.index.request import SearchParams, as_array, check_ids, check_request
from vsa.index.shards import count_shards, shard_name, shard_of
from vsa.runtime.errors import InputError

_LOG = logging.getLogger(__name__)
LIMIT_S = 0.5  # of one replica for one question, before another is asked
WRITE_S = 30.0  # that a writer may take, or be missing
_CHUNK = 4096  # items of a write
_LOOK_S = 0.5  # between two looks at who there is
_CALL_S = 20.0  # that the supervisor may take to answer
_PAUSE_S = 0.1  # before a write is sent again
_STALE_SHARE = 0.8  # of the limit, that a replica may wait for a change that it is to know of


@dataclass(frozen=True)
class Answers:
    """What queries found, best first."""

    scores: np.ndarray  # float32 (n, k) or (k,), inner products; −inf past the end
    ids: np.ndarray  # int64, likewise; −1 past the end
    missing_shards: tuple[int, ...]  # shards that did not answer: the result is partial


@dataclass(frozen=True)
class _Asked:
    """A replica, as the router asks it."""

    name: str
    actor: Any
    wait_s: float

    def ask(self, question: Question) -> Future[Found]:
        return self.actor.find.remote(question, self.wait_s).future()


class Client:
    """A client of a cluster; searches and writes may come from several threads."""

    def __init__(self, folder: Path, supervisor: Any, limit_s: float = LIMIT_S) -> None:
        """Learn who there is; raises InputError where the supervisor does not answer."""
        self.folder = folder
        self.n_shards = count_shards(folder)
        self.model, facts = read_model(folder / shard_name(0))
        self.params = SearchParams(**facts["params"])
        self._supervisor, self._router = supervisor, Router(limit_s)
        self._writers: Sequence[Any] = [None] * self.n_shards
        self._writing = ThreadPoolExecutor(2 * self.n_shards, thread_name_prefix="write")
        self._looking = threading.Lock()
        self._is_closed = threading.Event()
        self._look()
        threading.Thread(target=self._keep_looking, name="cluster", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it; it runs on."""
        self._is_closed.set()
        self._writing.shutdown()

    def status(self) -> Status:
        """Who there is, and how far along the log of changes."""
        return self._call("status", _CALL_S)

    def roll(self) -> None:
        """Fold all changes into new bases, shard by shard; searches and writes go on."""
        self._call("roll", None)

    # Searching -----------------------------------------------------------------------------

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the categories; one empty name where the index knows none."""
        return self.model.lists.names

    def search(
        self,
        queries: np.ndarray,
        k: int = 60,
        params: SearchParams | None = None,
        categories: Names | None = None,
        *,
        min_sequence: Sequence[int] | None = None,
    ) -> Answers:
        """As `Index.search`, and which shards did not answer.

        Parameters
        ----------
        queries : (d,) or (n, d), of any floating type.
        min_sequence : what a write returned: replicas answer that know of it, and those that do
            not in time count as having failed.
        """
        asked = as_array(queries)
        many = asked[None] if asked.ndim == 1 else asked
        params = check_request(k, params or self.params)
        found = self._find(many, params, categories, min_sequence)
        hits = [merged(found, row, k, params.n_candidates) for row in range(len(many))]
        scores = np.full((len(many), k), -np.inf, np.float32)
        ids = np.full((len(many), k), -1)
        for row, one in enumerate(hits):
            scores[row, : len(one.ids)], ids[row, : len(one.ids)] = one.similarity, one.ids
        missing = tuple(shard for shard, answer in enumerate(found) if answer is None)
        if asked.ndim == 1:
            scores, ids = scores[0], ids[0]
        return Answers(scores, ids, missing)

    def search_one(
        self,
        feature: np.ndarray,
        k: int = 60,
        params: SearchParams | None = None,
        categories: Names | None = None,
        *,
        refined: bool = True,
        min_sequence: Sequence[int] | None = None,
    ) -> Hits:
        """As `search` for one feature (d,), not padded.

        Unless `refined`, they are the nearest by code, in the order of their codes' distances.
        """
        params = check_request(k, params or self.params)
        asked = as_array(feature)[None]
        found = self._find(asked, params, categories, min_sequence)
        return merged(found, 0, k, params.n_candidates, refined=refined)

    def _find(
        self,
        features: np.ndarray,
        params: SearchParams,
        categories: Names | None,
        min_sequence: Sequence[int] | None,
    ) -> list[Found | None]:
        stored = check_features(features, self.model.codec.dim)
        wanted = None if categories is None else self.model.lists.category_codes(categories)
        least = [0] * self.n_shards if min_sequence is None else min_sequence
        if len(least) != self.n_shards:
            raise InputError(
                f"min_sequence has {len(least)} numbers for {self.n_shards} shards",
                cure="Give what put or remove has returned",
            )
        questions = [Question(stored, params, wanted, number) for number in least]
        return self._router.ask(questions)

    # Writing -------------------------------------------------------------------------------

    def put(
        self, features: np.ndarray, ids: np.ndarray, categories: Names | None = None
    ) -> tuple[int, ...]:
        """Add items, or replace those of the same ids; on the disk once this returns.

        Parameters
        ----------
        features, ids, categories : as of `Index.add`.

        Returns
        -------
        Of each shard the number of the change, 0 where it has none: `min_sequence` of a search
        that is to see it.

        Raises
        ------
        InputError as of `Index.add`; where a shard's disk is full, or it has no writer for 30 s.
        Each shard takes its part of the items or none of it; the message names those that took
        none. The same items may be sent again.
        """
        stored = check_features(as_array(features), self.model.codec.dim)
        wanted = check_ids(ids)
        names = None if categories is None else np.asarray(categories, object)
        if len(wanted) != len(stored) or (names is not None and len(names) != len(stored)):
            raise InputError(
                f"{len(wanted)} ids, {len(stored)} features "
                f"and {len(stored) if names is None else len(names)} categories",
                cure="Give as many of each",
            )
        self.model.lists.category_codes([""] if names is None else sorted(set(names)))
        return self._write(
            wanted,
            lambda mine, writer: writer.put.remote(
                stored[mine], wanted[mine], None if names is None else names[mine].tolist()
            ),
        )

    def remove(self, ids: np.ndarray) -> tuple[int, ...]:
        """Remove those of the items that are there; otherwise as `put`."""
        wanted = check_ids(ids)
        return self._write(wanted, lambda mine, writer: writer.remove.remote(wanted[mine]))

    def sync(self, index: Index) -> tuple[int, int]:
        """Give the shards the items of an index that they lack, and take those that it has not.

        It is to be that of the engine which they were cut from, whose items never change: an
        engine gives a new picture a new one. Returns how many joined and how many left; may be
        interrupted, and called again. Raises InputError as `put`.
        """
        view, names = index.current(), np.asarray(index.categories, object)
        wanted = np.sort(view.all_ids())
        known = np.concatenate(
            [
                self._of_writer(shard, lambda writer: writer.ids.remote())
                for shard in range(self.n_shards)
            ]
        )
        missing, gone = np.setdiff1d(wanted, known), np.setdiff1d(known, wanted)
        for start in range(0, len(missing), _CHUNK):
            ids = missing[start : start + _CHUNK]
            features, categories = view.items(ids)
            self.put(features, ids, names[categories])
        for start in range(0, len(gone), _CHUNK):
            self.remove(gone[start : start + _CHUNK])
        return len(missing), len(gone)

    def _write(self, ids: np.ndarray, send: Callable[[np.ndarray, Any], Any]) -> tuple[int, ...]:
        owner = shard_of(ids, self.n_shards)
        parts = {int(shard): np.flatnonzero(owner == shard) for shard in np.unique(owner)}
        sent = {
            shard: self._writing.submit(self._of_writer, shard, partial(send, mine))
            for shard, mine in parts.items()
        }
        sequence, failed = [0] * self.n_shards, {}
        for shard, writing in sent.items():
            try:
                sequence[shard] = writing.result()
            except InputError as error:
                failed[shard] = error
        if failed:
            names, first = ", ".join(map(str, failed)), next(iter(failed.values()))
            raise InputError(
                f"shard {names} of {self.n_shards} took nothing: {first.problem}",
                cure=f"{first.cure}. Then send the same items again",
            ) from first
        return tuple(sequence)

    def _of_writer(self, shard: int, send: Callable[[Any], Any]) -> Any:
        """What a shard's writer answers: this one, or the next if it dies meanwhile."""
        from ray.exceptions import RayError

        end = time.monotonic() + WRITE_S
        problem = "it has no writer"
        while (left_s := end - time.monotonic()) > 0:
            writer = self._writers[shard]
            try:
                if writer is not None:
                    with told_plainly():
                        return load_ray().get(send(writer), timeout=left_s)
            except RayError as error:  # the writer is gone: another one comes
                problem = f"its writer does not answer ({_first_line(error)})"
            time.sleep(_PAUSE_S)
            self._look()
        raise InputError(problem, cure="See `vsa cluster status`, and wait until it has one")

    # Who there is --------------------------------------------------------------------------

    def _keep_looking(self) -> None:
        while not self._is_closed.wait(_LOOK_S) and load_ray().is_initialized():
            self._look()

    def _look(self) -> None:
        """Ask the supervisor whom to ask; where it is silent, all stays as it was."""
        if not self._looking.acquire(blocking=False):
            return
        try:
            table: Table = self._call("table", _LOOK_S * 4)
        except InputError as error:
            _LOG.info("%s", error)
            return
        finally:
            self._looking.release()
        wait_s = _STALE_SHARE * self._router.limit_s
        self._writers = table.writers
        self._router.shards = [
            [_Asked(name, actor, wait_s) for name, actor in replicas] for replicas in table.replicas
        ]

    def _call(self, method: str, within_s: float | None) -> Any:
        from ray.exceptions import RayError

        try:
            with told_plainly():
                return load_ray().get(getattr(self._supervisor, method).remote(), timeout=within_s)
        except RayError as error:
            raise InputError(
                f"the cluster's supervisor does not answer ({_first_line(error)})",
                cure="See `vsa cluster status`; if the head node is gone, start the cluster anew",
                file=self.folder,
            ) from error


@contextmanager
def told_plainly() -> Iterator[None]:
    """Raise the InputError that another process has raised, without Ray's account of it."""
    from ray.exceptions import RayTaskError

    try:
        yield
    except RayTaskError as error:
        if isinstance(error.cause, InputError):
            raise error.cause from None
        raise


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__
