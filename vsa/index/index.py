"""A searchable index: coarse filter, refined rank, updates (paper section 3.3)."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vsa.index.build import given_names, n_lists_for, train_model, write_saved
from vsa.index.codec import CODECS, check_features, check_n_bits
from vsa.index.durable import Durable
from vsa.index.hits import Candidates, Found, Hits, find, nearest
from vsa.index.lists import Names
from vsa.index.memory import Memory
from vsa.index.model import Model, require_storable
from vsa.index.request import SearchParams, as_array, check_ids, check_request
from vsa.index.settings import CODEC, N_BITS
from vsa.index.view import View
from vsa.runtime.errors import InputError

if TYPE_CHECKING:
    import torch

VERSION = 3  # of what a search finds: lists, coarse filter, refined rank
_NOTHING = np.empty(0, np.int64)


class Index:
    """An index of unit features; searches may come from several threads at once.

    Items are int64 ids with a feature each and, if the index knows categories, one of these. It
    lives in memory until `save`; from then on, and with `open`, it lives in a folder: each change
    is on the disk before it is acknowledged, and a search sees every change that was acknowledged
    before it began, by this process or another. Both find the very same.

    Parameters
    ----------
    dim : length of a feature.
    codec : name of what makes codes, one of `vsa.codecs`.
    n_bits : of a code, a multiple of 64.
    seed : of training.

    Raises
    ------
    InputError for a codec that nobody registered, and for numbers that cannot be.

    Examples
    --------
    >>> import numpy as np, vsa
    >>> features = np.random.default_rng(0).standard_normal((100, 16), np.float32)
    >>> features /= np.linalg.norm(features, axis=1, keepdims=True)
    >>> index = vsa.Index(16, n_bits=64)
    >>> index.train(features)
    >>> index.add(features)[:3].tolist()
    [0, 1, 2]
    >>> scores, ids = index.search(features[:2], k=5)
    >>> ids[:, 0].tolist(), scores.shape
    ([0, 1], (2, 5))
    """

    def __init__(self, dim: int, codec: str = CODEC, n_bits: int = N_BITS, seed: int = 0) -> None:
        if not isinstance(dim, Integral) or dim < 1:
            raise InputError(f"features cannot have length {dim!r}", cure="Give their length")
        CODECS[codec]  # raises for one that is not there
        check_n_bits(n_bits, of_lists=True)
        self.dim: int = int(dim)
        self._codec: str = codec
        self._n_bits: int = n_bits
        self._seed: int = seed
        self._params: SearchParams = SearchParams()
        self._store: Memory | Durable | None = None
        self._is_closed: bool = False
        self._changing: Any = threading.RLock()

    @classmethod
    def open(cls, folder: str | Path, *, writable: bool = False) -> Index:
        """Open the index of a folder: its files are mapped. One process may write to it.

        It stays the index of that folder, whatever becomes the working folder: once it has been
        moved or replaced, changes are refused. After a fork the child may search it, and only the
        parent write to it.

        Raises InputError if there is no index, if it is damaged or of another format, and if
        `writable` cannot be had.
        """
        store = Durable(folder, writable=writable)
        codec = store.model.codec
        index = cls(codec.dim, n_bits=codec.n_bits)
        index._store = store
        return index

    def close(self) -> None:
        """Let go of the files, and of the right to write."""
        if self._store is not None:
            self._store.close()
            self._is_closed = isinstance(self._store, Durable)

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What there is -------------------------------------------------------------------------

    def __len__(self) -> int:
        """Number of items."""
        return len(self.current()) if self._store is not None else 0

    @property
    def ntotal(self) -> int:
        """Number of items."""
        return len(self)

    @property
    def is_trained(self) -> bool:
        """Whether items can be added."""
        return self._store is not None

    @property
    def folder(self) -> Path | None:
        """Where it is; None in memory."""
        return self._store.folder if self._store is not None else None

    @property
    def model(self) -> Model:
        """Codec and lists; raises InputError before training."""
        return self._trained().model

    @property
    def facts(self) -> dict[str, Any]:
        """What the folder says about the index; nothing in memory."""
        return self._store.facts if isinstance(self._store, Durable) else {}

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the categories; one empty name where the index knows none."""
        return self.model.lists.names

    @property
    def params(self) -> SearchParams:
        """What a search costs unless it says otherwise; `choose_params` finds good ones."""
        return self._params if self._store is None else self._store.params

    @params.setter
    def params(self, params: SearchParams) -> None:
        check_request(1, params)
        with self._changing:
            if self._store is None:
                self._params = params
            else:
                self._store.params = params

    def current(self) -> View:
        """The state that a search which starts now must see."""
        return self._trained().current()

    def stats(self) -> dict[str, Any]:
        """Counts of items and lists, and bytes per item."""
        view, store = self.current(), self._trained()
        return {
            "items": len(view),
            "items in the base": len(view.base),
            "changes since": len(view.ids) + len(view.hidden),
            "categories": len(self.categories),
            "lists": len(self.model.lists),
            "bits per code": self.model.codec.n_bits,
            "bytes of code per item": 8 * self.model.n_words,
            "bytes on disk per item": round(store.n_bytes() / max(1, len(view)), 1),
            "distance of codes": self.params.distance,
            "lists visited": self.params.n_probe,
            "candidates": self.params.n_candidates,
        }

    # Searching -----------------------------------------------------------------------------

    def search(
        self,
        queries: np.ndarray | torch.Tensor,
        k: int = 60,
        params: SearchParams | None = None,
        categories: Names | None = None,
        *,
        n_threads: int = 1,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores and ids of the items most similar to one or many queries, best first.

        Parameters
        ----------
        queries : (d,) or (n, d), of any floating type; a tensor may be on any device.
        k : results of each query.
        params : what each may cost; `Index.params` by default.
        categories : only items of these, for all queries.
        n_threads : of this process, among which many queries are shared out.

        Returns
        -------
        scores : float32 (k,) or (n, k), inner products; −inf where fewer were found: where there
            are no more, or where the lists that were visited hold no more.
        ids : int64, likewise; −1 where fewer were found.

        Raises
        ------
        InputError for queries of another length or not finite, k or n_threads < 1, an unknown
        category, and an index that is not trained.
        """
        asked = as_array(queries)
        many = asked[None] if asked.ndim == 1 else asked
        params = check_request(k, params or self.params)
        if n_threads < 1:
            raise InputError(f"n_threads = {n_threads} asks nobody", cure="Take at least one")
        found = self._find(many, k, params, categories, n_threads=n_threads)
        scores, ids = (
            _padded(a, k, nothing) for a, nothing in ((found.similarity, -np.inf), (found.ids, -1))
        )
        return (scores[0], ids[0]) if asked.ndim == 1 else (scores, ids)

    def search_one(
        self,
        feature: np.ndarray | torch.Tensor,
        k: int = 60,
        params: SearchParams | None = None,
        categories: Names | None = None,
        *,
        refined: bool = True,
    ) -> Hits:
        """As `search` for one feature (d,), not padded: what shards answer, too.

        Unless `refined`, they are the nearest by code, in the order of their codes' distances.
        """
        params = check_request(k, params or self.params)
        if not refined:
            return nearest([self.candidates(feature, params, categories)], k)
        found = self._find(as_array(feature)[None], k, params, categories)
        hits = found.candidates(0)
        return Hits(hits.ids, hits.similarity)

    def candidates(
        self,
        feature: np.ndarray | torch.Tensor,
        params: SearchParams | None = None,
        categories: Names | None = None,
        *,
        refined: bool = True,
    ) -> Candidates:
        """All candidates of a feature (d,), best first: what a shard answers.

        The `n_candidates` items nearest by code, in the `n_probe` nearest lists; ties go to the
        lower id. Unless `refined`, no feature is read, and similarity is the negative distance.
        """
        params = check_request(1, params or self.params)
        asked, k = as_array(feature)[None], params.n_candidates
        return self._find(asked, k, params, categories, refined=refined).candidates(0)

    def _find(
        self,
        features: np.ndarray,
        k: int,
        params: SearchParams,
        categories: Names | None,
        *,
        refined: bool = True,
        n_threads: int = 1,
    ) -> Found:
        """What queries find in one state of the index."""
        stored = check_features(features, self.dim)
        wanted = None if categories is None else self.model.lists.category_codes(categories)
        return find(
            [self.current()], stored, k, params, wanted, refined=refined, n_threads=n_threads
        )

    # Writing -------------------------------------------------------------------------------

    def train(
        self,
        features: np.ndarray | torch.Tensor,
        categories: Names | None = None,
        *,
        n_items: int | None = None,
    ) -> None:
        """Find codes and lists by features (n, d) as those to come, and their categories (n,).

        Only categories that are named here can be added later. There will be 4 √`n_items` lists;
        `n_items` is the number of features by default. Raises InputError for an index that has
        items, or lives in a folder.
        """
        with self._changing:
            if isinstance(self._store, Durable) or len(self):
                raise InputError("the index is trained, and holds items", cure="Make a new one")
            given = as_array(features)
            check_features(given[:0], self.dim)
            names = given_names(categories, len(given))
            n_lists = n_lists_for(len(given) if n_items is None else n_items)
            model = train_model(
                given,
                names,
                n_lists=n_lists,
                codec=self._codec,
                n_bits=self._n_bits,
                seed=self._seed,
            )
            self._store = Memory(model, self._params)

    def add(
        self,
        features: np.ndarray | torch.Tensor,
        ids: np.ndarray | None = None,
        categories: Names | None = None,
    ) -> np.ndarray:
        """Add items, all or none: features (n, d), ids int64 (n,), names of categories (n,).

        The next search sees them. Returns the ids: by default the next ones after the greatest.
        Raises InputError for an id that the index has, or that is given twice.
        """
        return self._put(features, ids, categories, known=False)

    def update(
        self,
        features: np.ndarray | torch.Tensor,
        ids: np.ndarray,
        categories: Names | None = None,
    ) -> None:
        """Replace items, as `add`; raises InputError for an id that the index does not have."""
        self._put(features, ids, categories, known=True)

    def put(
        self,
        features: np.ndarray | torch.Tensor,
        ids: np.ndarray,
        categories: Names | None = None,
    ) -> None:
        """Add items, or replace those of the same ids, as `add`: it may be told twice."""
        self._put(features, ids, categories, known=None)

    def exchange(
        self,
        removed: np.ndarray,
        features: np.ndarray | torch.Tensor,
        ids: np.ndarray,
        categories: Names | None = None,
    ) -> None:
        """Remove items and add others, all or none; raises InputError as both do.

        Parameters
        ----------
        removed : int64 (m,), items that the index has.
        features, ids, categories : as of `add`; of items that the index does not have.
        """
        self._put(features, ids, categories, known=False, removed=check_ids(removed))

    def remove(self, ids: np.ndarray) -> None:
        """Remove items, as `add`; raises InputError for an id that the index does not have."""
        ids = check_ids(ids)
        with self._changing:
            store = self._trained()
            store.require_writable()
            with store.lock:
                self._require(ids, known=True)
                store.remove(ids)

    def compact(self) -> None:
        """Fold all changes into a new base, while searches and writes go on."""
        self._trained().compact()

    @property
    def durable(self) -> Durable:
        """Base, log and files; raises InputError for an index that has no folder."""
        store = self._trained()
        if not isinstance(store, Durable):
            raise InputError("the index has no folder", cure="Save it first: index.save(folder)")
        return store

    def save(self, folder: str | Path) -> None:
        """Write the index into a folder, complete or not at all, and live there from now on.

        The right to write to it is taken with the next change of this index, if nobody else has it
        then. An index that is in the folder is replaced; it can be searched until then. Raises
        InputError where the folder holds anything else or is being written to, for an index that
        is not trained or has a folder already, and for a codec that no folder can keep.
        """
        with self._changing:
            store = self._trained()
            if isinstance(store, Durable):
                raise InputError(
                    "the index is saved already, with every change",
                    cure="Copy its folder if you need a second one",
                    file=store.folder,
                )
            require_storable(store.model.codec)
            with store.lock:
                write_saved(folder, store.current(), store.params)
                self._store = Durable(folder, writable=False, may_claim=True)

    def writing(self) -> AbstractContextManager[None]:
        """Hold the right to write within a ``with`` block, and let others have it afterwards.

        What is opened with ``writable=True`` holds it throughout. Entering raises InputError if
        another process, or another index of this one, has it.
        """
        return self._trained().writing()

    def require_place(self) -> None:
        """Raise InputError if the folder was moved, removed or replaced since it was opened."""
        self._trained().require_place()

    def require_writable(self) -> None:
        """Raise InputError unless a change would be accepted now."""
        self._trained().require_writable()

    def verify(self) -> None:
        """Check every byte in the folder; raises InputError for what is damaged or missing."""
        self._trained().verify()

    def _put(
        self,
        features: np.ndarray | torch.Tensor,
        ids: np.ndarray | None,
        categories: Names | None,
        *,
        known: bool | None,
        removed: np.ndarray = _NOTHING,
    ) -> np.ndarray:
        lists = self.model.lists
        stored = check_features(as_array(features), self.dim)
        wanted = None if ids is None else check_ids(ids)
        n_ids = len(stored) if wanted is None else len(wanted)
        names = [""] * n_ids if categories is None else categories
        if not n_ids == len(stored) == len(names):
            raise InputError(
                f"{n_ids} ids, {len(stored)} features and {len(names)} categories",
                cure="Give as many of each",
            )
        codes = lists.category_codes(names)
        with self._changing:
            store = self._trained()
            store.require_writable()
            with store.lock:
                if wanted is None:
                    first = self.current().next_id()
                    wanted = check_ids(np.array(range(first, first + n_ids)))
                if known is not None:
                    self._require(wanted, known=known)
                self._require(removed, known=True)
                store.put(wanted, lists.assign(stored, codes), stored, removed)
        return wanted

    def _require(self, ids: np.ndarray, *, known: bool) -> None:
        wrong = ids[self.current().contains(ids) != known]
        if len(wrong):
            problem, cure = (
                ("does not have", "Add it first") if known else ("already has", "Update it instead")
            )
            raise InputError(f"the index {problem} item {wrong[0]} ({len(wrong)} such)", cure=cure)

    def _trained(self) -> Memory | Durable:
        if self._store is None:
            raise InputError(
                "the index is not trained", cure="Show it features first: index.train(features)"
            )
        if self._is_closed:
            raise InputError("the index was closed", cure="Open it again", file=self.folder)
        return self._store


def _padded(found: np.ndarray, k: int, nothing: float) -> np.ndarray:
    if found.shape[1] == k:
        return found
    return np.pad(found, ((0, 0), (0, k - found.shape[1])), constant_values=nothing)
