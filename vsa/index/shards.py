"""Shards and replicas in one process (paper section 3.3).

Each shard holds a part of the catalogue, each of its replicas answers for all of it. A shard sends
the candidates it found; merged, they are cut to as many as one index would have kept, so results
are the same, item by item, as without shards. What asks is a `Searcher`, wherever it runs; where
all are indexes of this process, their parts are searched as one.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vsa.index.build import (
    build_index,
    kept_from_writers,
    n_lists_for,
    train_model,
    write_parts,
)
from vsa.index.codec import check_features
from vsa.index.hits import Candidates, Hits, best, find
from vsa.index.index import Index
from vsa.index.lists import Names
from vsa.index.model import Model, are_equal
from vsa.index.request import SearchParams, check_ids, check_request
from vsa.index.settings import CODEC, N_BITS
from vsa.runtime.atomic import atomic_dir, require_replaceable, settled
from vsa.runtime.checked import MANIFEST, flush, read_checked_json, write_checked_json
from vsa.runtime.errors import InputError

_LOG = logging.getLogger(__name__)
_FACTS = "shards.json"
_REST_S = 5.0  # a replica that failed is not asked for so long while another can be


class Searcher(Protocol):
    """One replica of a shard."""

    def candidates(
        self,
        feature: np.ndarray,
        params: SearchParams,
        categories: Names | None = None,
    ) -> Candidates:
        """As `Index.candidates`."""
        ...


def shard_of(ids: np.ndarray, n_shards: int) -> np.ndarray:
    """The shard that holds each item, int64."""
    return np.asarray(ids, np.int64) % n_shards


def build_shards(
    folder: str | Path,
    n_shards: int,
    features: np.ndarray,
    ids: np.ndarray | None = None,
    categories: Names | None = None,
    *,
    params: SearchParams | None = None,
    codec: str = CODEC,
    n_bits: int = N_BITS,
    seed: int = 0,
) -> None:
    """Build ``folder/shard-00`` and so on: indexes that share one model, all of them or none.

    Each is an index of its own; changes go to the shard that `shard_of` names. Raises InputError
    where a shard would be empty, for a folder that holds anything else, and as `build_index` does.
    """
    ids = check_ids(np.arange(len(features)) if ids is None else ids)
    names = np.full(len(ids), "", object) if categories is None else np.asarray(categories, object)
    n_lists = n_lists_for(len(ids))
    model = train_model(features, names, n_lists=n_lists, codec=codec, n_bits=n_bits, seed=seed)
    owner = shard_of(ids, n_shards)
    with _replaced(folder) as draft:
        for shard in range(n_shards):
            mine = np.flatnonzero(owner == shard)
            build_index(
                draft / shard_name(shard),
                features[mine],
                ids[mine],
                names[mine],
                model=model,
                params=params,
            )
        write_checked_json(draft / _FACTS, {"n_shards": n_shards})


def cut_shards(index: Index, folder: str | Path, n_shards: int) -> None:
    """Cut an index, as it is now, into shards that share its model; as `build_shards`.

    Raises InputError where a shard would be empty.
    """
    view = index.current()
    counts = np.bincount(shard_of(view.all_ids(), n_shards), minlength=n_shards)
    if not counts.all():
        raise InputError(
            f"of {n_shards} shards of {len(view)} items, {np.count_nonzero(counts == 0)} are empty",
            cure="Take fewer shards",
        )
    with _replaced(folder) as draft:
        for shard in range(n_shards):
            (draft / shard_name(shard)).mkdir()
            write_parts(
                draft / shard_name(shard),
                view.model,
                index.params,
                partial(view.write_part, is_in=partial(_is_in, shard=shard, n_shards=n_shards)),
            )
            for path in (*(draft / shard_name(shard)).iterdir(), draft / shard_name(shard)):
                flush(path)
        write_checked_json(draft / _FACTS, {"n_shards": n_shards})


def _is_in(ids: np.ndarray, shard: int, n_shards: int) -> np.ndarray:
    return shard_of(ids, n_shards) == shard


@contextmanager
def _replaced(folder: str | Path) -> Iterator[Path]:
    """An empty folder for shards; it replaces those that were there, which nobody may write to."""
    target = settled(require_replaceable(Path(folder), _FACTS))
    shards = list(target.glob("shard-[0-9][0-9]"))
    if target.is_dir():
        known = {_FACTS, MANIFEST, *(path.name for path in shards)}
        if others := sorted({path.name for path in target.iterdir()} - known):
            raise InputError(
                f"the folder holds {others[0]!r} too, which would be lost with the shards",
                cure="Move it away, or name another folder",
                file=folder,
            )
    with kept_from_writers(*shards), atomic_dir(target, marker=_FACTS) as draft:
        yield draft


def shard_name(shard: int) -> str:
    """The folder of a shard, within that of all of them."""
    return f"shard-{shard:02d}"


def count_shards(folder: Path) -> int:
    """How many shards a folder holds; raises InputError if there are none, or they are damaged."""
    if not (folder / _FACTS).is_file():
        raise InputError("there are no shards here", cure="Build some first", file=folder)
    return int(read_checked_json(folder / _FACTS)["n_shards"])


class ShardedIndex:
    """Shards, each with its replicas, behind the search of one index."""

    def __init__(
        self, shards: Sequence[Sequence[Searcher]], model: Model, params: SearchParams
    ) -> None:
        self.shards = [list(replicas) for replicas in shards]
        self.model, self.params = model, params
        self._turn = itertools.count()
        self._rests_until: dict[tuple[int, int], float] = {}
        self._pool = ThreadPoolExecutor(len(self.shards), thread_name_prefix="shard")
        # then a query is one search of all: apart, each would look for as many candidates as all
        self._are_here = all(
            type(replica) is Index and replica.is_trained and are_equal(replica.model, model)
            for replica in itertools.chain(*self.shards)
        )

    @classmethod
    def open(cls, folder: str | Path, n_replicas: int = 1) -> ShardedIndex:
        """Open what `build_shards` built; raises InputError if there is nothing."""
        folder = settled(Path(folder))
        n_shards = count_shards(folder)
        with ExitStack() as opened:  # closes those that are open if another cannot be opened
            shards = [
                [
                    opened.enter_context(Index.open(folder / shard_name(shard)))
                    for _ in range(n_replicas)
                ]
                for shard in range(n_shards)
            ]
            opened.pop_all()
        return cls(shards, shards[0][0].model, shards[0][0].params)

    def close(self) -> None:
        """Let go of threads and files."""
        self._pool.shutdown()
        for searcher in itertools.chain(*self.shards):
            if isinstance(searcher, Index):
                searcher.close()

    def search_one(
        self,
        feature: np.ndarray,
        k: int = 60,
        params: SearchParams | None = None,
        categories: Names | None = None,
    ) -> Hits:
        """As `Index.search_one`, over all shards at once.

        A replica that fails is passed over for another of its shard; a shard without any is named
        in ``missing_shards`` of the result.
        """
        params = check_request(k, params or self.params)
        stored = check_features(np.asarray(feature)[None], self.model.codec.dim)
        wanted = None if categories is None else self.model.lists.category_codes(categories)

        def ask(replica: Searcher) -> Candidates:
            return replica.candidates(feature, params, categories)

        turn, shards = next(self._turn), range(len(self.shards))
        answers: list[Any]
        if self._are_here:
            answers = [self._ask(shard, turn, Index.current) for shard in shards]
        else:
            answers = list(self._pool.map(lambda shard: self._ask(shard, turn, ask), shards))
        parts = [answer for answer in answers if answer is not None]
        missing = tuple(shard for shard, answer in enumerate(answers) if answer is None)
        if not parts:
            return Hits(np.empty(0, np.int64), np.empty(0, np.float32), missing)
        if self._are_here:
            found = find(parts, stored, k, params, wanted).candidates(0)
            hits = Hits(found.ids, found.similarity)
        else:
            hits = best(parts, k, params.n_candidates)
        return Hits(hits.ids, hits.similarity, missing)

    def _ask(self, shard: int, turn: int, question: Callable[[Any], Any]) -> Any:
        """What the first replica answers that does; None if none does."""
        replicas = self.shards[shard]
        order = [(turn + step) % len(replicas) for step in range(len(replicas))]
        if self._rests_until:  # those that failed a moment ago come last
            now = time.monotonic()
            order.sort(key=lambda replica: self._rests_until.get((shard, replica), 0.0) > now)
        for replica in order:
            try:
                return question(replicas[replica])
            except Exception:  # whatever is wrong with one replica, another may answer
                _LOG.exception("shard %d: replica %d failed", shard, replica)
                self._rests_until[shard, replica] = time.monotonic() + _REST_S
        return None
