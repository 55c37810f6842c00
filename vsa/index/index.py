"""A searchable index in one folder: coarse filter, refined rank, updates (paper section 3.3)."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vsa.index.base import Base, open_base
from vsa.index.codec import check_features
from vsa.index.lists import Names, nearest
from vsa.index.live import Changes, Place, Reader, Writer
from vsa.index.model import read_model
from vsa.index.view import View, make_view
from vsa.runtime.checked_table import read_checked_table
from vsa.runtime.errors import InputError

VERSION = 1  # of what a search finds: lists, coarse filter, refined rank
_OPENING_ATTEMPTS = 5  # another process may replace the base between two glances


@dataclass(frozen=True)
class Knobs:
    """What a query may cost: lists visited, and candidates kept by Hamming distance (R)."""

    n_probe: int = 16
    n_candidates: int = 1000


@dataclass(frozen=True)
class Candidates:
    """Items that passed the coarse filter, in no order."""

    ids: np.ndarray  # int64 (n,)
    hamming: np.ndarray  # int32 (n,), to the query's code
    similarity: np.ndarray  # float32 (n,), inner products with the query


@dataclass(frozen=True)
class Hits:
    """What was found, best first."""

    ids: np.ndarray  # int64 (n,), n ≤ k
    similarity: np.ndarray  # float32 (n,)
    missing_shards: tuple[int, ...] = ()  # shards that did not answer: the result is partial

    @property
    def is_partial(self) -> bool:
        """Whether a part of the catalogue was not searched."""
        return bool(self.missing_shards)


def best(parts: Sequence[Candidates], k: int, n_candidates: int) -> Hits:
    """The `k` most similar of the `n_candidates` nearest by Hamming distance.

    Ties, of either, go to the lower id, so the result depends neither on how the catalogue is cut
    into `parts` nor on how much of it is in a base.
    """
    ids = np.concatenate([part.ids for part in parts])
    similarity = np.concatenate([part.similarity for part in parts])
    if len(ids) > n_candidates:
        distances = np.concatenate([part.hamming for part in parts])
        last = np.partition(distances, n_candidates - 1)[n_candidates - 1]
        inside, ties = np.flatnonzero(distances < last), np.flatnonzero(distances == last)
        ties = ties[np.argsort(ids[ties])[: n_candidates - len(inside)]]
        chosen = np.concatenate([inside, ties])
        ids, similarity = ids[chosen], similarity[chosen]
    if len(ids) > k:
        chosen = np.flatnonzero(similarity >= np.partition(similarity, -k)[-k])
        ids, similarity = ids[chosen], similarity[chosen]
    order = np.lexsort((ids, -similarity))[:k]
    return Hits(ids[order], similarity[order])


class BinaryIndex:
    """An index that is open; searches may come from several threads at once.

    Items are int64 ids with a feature each and, if the index knows categories, one of these. A
    search sees every change that was acknowledged before it began, by this process or another.
    """

    def __init__(self, folder: str | Path, *, writable: bool = False) -> None:
        """Open an index: its files are mapped. One process may have it open for writing.

        It stays the index of that folder, whatever becomes the working folder: once it has been
        moved or replaced, changes are refused. After a fork the child may search it, and only the
        parent write to it.

        Raises InputError if there is no index, if it is damaged or of another format, and if
        `writable` cannot be had.
        """
        self._place = Place(folder)
        self.folder = self._place.folder
        self._lock = threading.Lock()  # of the reader and the view
        self._compacting = threading.Lock()
        self._writer: Writer | None = None
        try:
            self.model, self.facts = read_model(self.folder)
            self._reader = Reader(self._place, self.model.codec.dim)
        except BaseException:
            self._place.close()
            raise
        try:
            self._version = self._reader.version()
            self._view, self._last = self._load()
            if writable:
                self._writer = Writer(self._place)
                self._remove_others(self.current().base.folder)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the files, and of the right to write."""
        # the writer last: whoever is last folds SQLite's log into its file, if it may
        self._reader.close()
        if self._writer is not None:
            self._writer.close()
        self._place.close()

    def __enter__(self) -> BinaryIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Searching -----------------------------------------------------------------------------

    def __len__(self) -> int:
        """Number of items."""
        return len(self.current())

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the categories; one empty name where the index knows none."""
        return self.model.lists.names

    @property
    def knobs(self) -> Knobs:
        """What was chosen for this index when it was built."""
        return Knobs(**self.facts["knobs"])

    def search(
        self,
        feature: np.ndarray,
        k: int = 60,
        *,
        knobs: Knobs | None = None,
        categories: Names | None = None,
    ) -> Hits:
        """The items most similar to a feature, of any floating type and shape (d,).

        With `categories`, only items of these. Returns fewer than `k` where there are no more, or
        where the lists that were visited hold no more. Raises InputError for a feature of another
        length or not finite, for k < 1, and for an unknown category.
        """
        knobs = knobs or self.knobs
        n_candidates = check_request(k, knobs)
        found = self.candidates(feature, n_candidates, knobs.n_probe, categories)
        return best([found], k, n_candidates)

    def candidates(
        self,
        feature: np.ndarray,
        n_candidates: int,
        n_probe: int,
        categories: Names | None = None,
    ) -> Candidates:
        """The coarse filter, and exact similarities of what passes it: what a shard answers.

        Returns the `n_candidates` items nearest by Hamming distance in the `n_probe` nearest
        lists, and those as near as the last.
        """
        codec, lists = self.model.codec, self.model.lists
        stored = check_features(np.asarray(feature)[None], codec.dim)
        code = codec.encode(stored)[0]
        wanted = None if categories is None else lists.category_codes(categories)
        query = stored[0].astype(np.float32)
        scan = self.current().scan(code, lists.probe(query, code, n_probe, wanted))
        chosen = nearest(scan.distances, n_candidates)
        ids, features = scan.items(chosen)
        # torch converts float16 eight times as fast as numpy
        exact = torch.from_numpy(features).float().numpy()
        # einsum: unlike BLAS, a row's sum does not depend on the rows beside it
        similarity = np.einsum("nd,d->n", exact, query)
        return Candidates(ids, scan.distances[chosen], similarity)

    def current(self) -> View:
        """The state that a search which starts now must see."""
        with self._lock:
            version = self._reader.version()
            if version != self._version:
                base, changes = self._reader.read(self._last)
                if base == self._view.base.folder.name:
                    self._view, self._last = self._view.after(changes), changes.last
                else:
                    self._view, self._last = self._load()
                self._version = version
            return self._view

    # Writing -------------------------------------------------------------------------------

    def add(self, ids: np.ndarray, features: np.ndarray, categories: Names | None = None) -> None:
        """Add items, all or none: ids int64 (n,), features (n, d), names of categories (n,).

        Durable, and seen by the next search, once this returns. Raises InputError for an id that
        the index has, or that is given twice.
        """
        self._put(ids, features, categories, known=False)

    def update(
        self, ids: np.ndarray, features: np.ndarray, categories: Names | None = None
    ) -> None:
        """Replace items, as `add`; raises InputError for an id that the index does not have."""
        self._put(ids, features, categories, known=True)

    def delete(self, ids: np.ndarray) -> None:
        """Remove items, as `add`; raises InputError for an id that the index does not have."""
        ids = check_ids(ids)
        writer = self._require_writer()
        with writer.lock:
            self._require(ids, known=True)
            writer.remove(ids)

    def compact(self) -> None:
        """Fold all changes into a new base, while searches and writes go on."""
        writer = self._require_writer()
        writer.require()
        with self._compacting:
            with self._lock:
                name, changes = self._reader.read()
                base = self._view.base
            if name != base.folder.name:  # nobody else writes
                raise AssertionError("the base was replaced by somebody who may not write")
            if not len(changes):
                return
            target = self.folder / f"base-{int(name.removeprefix('base-')) + 1:08d}"
            make_view(base, changes, self.model).write(target, len(self.model.lists))
            try:
                fresh = open_base(target)
                with writer.lock:
                    writer.fold(target.name, changes.last)
            except InputError:
                if self._current_base() != target.name:
                    shutil.rmtree(target, ignore_errors=True)
                raise
            with self._lock:
                self._version = self._reader.version()
                self._view, self._last = self._load(fresh)
            self._remove_others(target)

    def require_place(self) -> None:
        """Raise InputError if the index was moved, removed or replaced since it was opened."""
        self._place.require()

    def require_writable(self) -> None:
        """Raise InputError unless a change would be accepted now."""
        self._require_writer().require()

    def _put(
        self,
        ids: np.ndarray,
        features: np.ndarray,
        categories: Names | None,
        *,
        known: bool,
    ) -> None:
        ids, lists = check_ids(ids), self.model.lists
        if categories is None:
            categories = [""] * len(ids)
        stored = check_features(features, self.model.codec.dim)
        if not len(ids) == len(stored) == len(categories):
            raise InputError(
                f"{len(ids)} ids, {len(stored)} features and {len(categories)} categories",
                cure="Give as many of each",
            )
        codes, writer = lists.category_codes(categories), self._require_writer()
        with writer.lock:
            self._require(ids, known=known)
            writer.put(ids, lists.assign(stored, codes), stored)

    def _require(self, ids: np.ndarray, *, known: bool) -> None:
        wrong = ids[self.current().contains(ids) != known]
        if len(wrong):
            problem, cure = (
                ("does not have", "Add it first") if known else ("already has", "Update it instead")
            )
            raise InputError(f"the index {problem} item {wrong[0]} ({len(wrong)} such)", cure=cure)

    def _require_writer(self) -> Writer:
        if self._writer is None:
            raise InputError("the index was opened for reading", cure="Open it with writable=True")
        return self._writer

    # Files ---------------------------------------------------------------------------------

    def verify(self) -> None:
        """Check every byte of the index; raises InputError for what is damaged or missing."""
        self._place.require()
        _, facts = read_model(self.folder)
        for name in facts.get("tables", ()):
            read_checked_table(self.folder / name)
        with self._lock:
            self._reader.check()
        self._open_base(None, check_all=True)

    def stats(self) -> dict[str, Any]:
        """Counts of items and lists, and bytes per item."""
        view = self.current()
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        on_disk = sum(path.stat().st_size for path in files)
        return {
            "items": len(view),
            "items in the base": len(view.base),
            "changes since": len(view.ids) + len(view.hidden),
            "categories": len(self.categories),
            "lists": len(self.model.lists),
            "bits per code": self.model.codec.n_bits,
            "bytes of code per item": self.model.codec.n_bits // 8,
            "bytes on disk per item": round(on_disk / max(1, len(view)), 1),
            "lists visited": self.knobs.n_probe,
            "candidates": self.knobs.n_candidates,
        }

    def _load(self, base: Base | None = None) -> tuple[View, int]:
        base, changes = self._open_base(base)
        return make_view(base, changes, self.model), changes.last

    def _open_base(self, base: Base | None, *, check_all: bool = False) -> tuple[Base, Changes]:
        """The current base, `base` if that is it; another process may replace it meanwhile."""
        name, changes = self._reader.read()
        for _ in range(_OPENING_ATTEMPTS):
            try:
                if base is None or base.folder.name != name:
                    base = open_base(self.folder / name, check_all=check_all)
                self._place.require()  # or it is a base of another index
                return base, changes
            except (InputError, OSError):
                before = name
                name, changes = self._reader.read()
                if name == before:
                    raise
        raise InputError(
            "the base is replaced faster than it can be opened", cure="Try again", file=self.folder
        )

    def _current_base(self) -> str:
        with self._lock:
            return self._reader.read()[0]

    def _remove_others(self, base: Path) -> None:
        """Remove drafts and bases that nobody will open any more."""
        for path in (*self.folder.glob("base-*"), *self.folder.glob(".vsa-base-*")):
            if path != base:
                shutil.rmtree(path, ignore_errors=True)


def check_request(k: int, knobs: Knobs) -> int:
    """The number of candidates for `k` results; raises InputError if that asks for nothing."""
    if k < 1:
        raise InputError(f"k = {k} asks for no results", cure="Ask for at least one")
    if knobs.n_probe < 1:
        raise InputError(f"n_probe = {knobs.n_probe} visits no list", cure="Visit at least one")
    return max(k, knobs.n_candidates)


def check_ids(ids: np.ndarray) -> np.ndarray:
    """Ids as int64 (n,); raises InputError unless they are whole numbers, each given once."""
    ids = np.asarray(ids)
    if ids.ndim != 1 or (len(ids) and not np.issubdtype(ids.dtype, np.integer)):
        raise InputError(f"ids are {ids.dtype} {ids.shape}", cure="Give whole numbers, one each")
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise InputError(f"id {values[counts.argmax()]} is given twice", cure="Give it once")
    if len(ids) and ids.max() > np.iinfo(np.int64).max:
        raise InputError(f"id {ids.max()} does not fit", cure="Ids are 64-bit and signed")
    return ids.astype(np.int64)
