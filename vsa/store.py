"""What an engine's folder holds of its catalogue: rows, index and references, all of one state.

Nothing here needs a network: what changes is described before (`vsa.growing`). A change writes its
rows first, to a file that counts for nothing until the index has its items, which it takes in one
transaction. So rows, index and references change together or not at all, whatever interrupts them,
and every process sees a change with the next search.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vsa.index.index import Index
from vsa.index.view import View
from vsa.row_files import PartFile, part_files, read_part, remove_others, write_part
from vsa.rows import Part, Rows
from vsa.runtime.atomic import settled
from vsa.runtime.checked import CURE, INDEX, check_manifest
from vsa.runtime.errors import InputError

CARD, FORMAT = "card.json", 3  # of an engine's folder
INDEX_FOLDER = "index"
_ATTEMPTS = 5  # another process may put one file in the place of several between two glances


@dataclass(frozen=True)
class State:
    """The catalogue at one moment."""

    view: View  # of the index
    rows: Rows


class Store:
    """The catalogue of an engine, in its folder; any number of processes read it, one writes."""

    def __init__(self, folder: str | Path) -> None:
        """Open it; raises InputError if there is no engine, or one of another format or damaged."""
        self.folder = settled(Path(folder))
        self.card = read_card(self.folder)
        check_manifest(self.folder)
        self.index = Index.open(self.folder / INDEX_FOLDER)
        self._lock = threading.RLock()
        try:
            self._state = self._following(self.index.current(), Rows())
        except BaseException:
            self.index.close()
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the index's files."""
        self.index.close()

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.current().view)

    # Reading -------------------------------------------------------------------------------

    def current(self) -> State:
        """The state that a search which starts now must see."""
        state, view = self._state, self.index.current()
        if view is state.view:
            return state
        with self._lock:
            view = self.index.current()
            if view is not self._state.view:
                self._state = self._following(view, self._state.rows)
            return self._state

    def _following(self, view: View, rows: Rows) -> State:
        """The state of a view; `rows` are those of an earlier one."""
        for attempt in range(_ATTEMPTS):
            try:
                files = part_files(self.folder)
                return State(view, self._read(files, view, rows))
            except (FileNotFoundError, InputError):
                self.index.require_place()
                if attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    def _read(self, files: list[PartFile], view: View, rows: Rows) -> Rows:
        if any(file.first <= rows.last < file.last for file in files):
            rows = Rows()  # one file stands for several changes, some of which were read
        for file in files:
            if file.last <= rows.last:
                continue
            part = read_part(file)
            if file is files[-1] and file.first and not _has_happened(part, view):
                break
            rows = rows.after(part, file.last)
        if rows.next_item < view.next_id():
            raise InputError("rows of the newest pictures are missing", cure=CURE, file=self.folder)
        return rows

    # Changing ------------------------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[State]:
        """Hold the right to change the catalogue, whose state is given, within a ``with`` block.

        Raises InputError if somebody else has it, or if the folder was moved or replaced.
        """
        self.index.require_place()
        with self.index.writing():
            self.index.require_place()
            state = self.current()
            files = part_files(self.folder)
            # what was interrupted never happened: the next change takes its number
            remove_others(self.folder, [file for file in files if file.last <= state.rows.last])
            yield state

    def change(
        self,
        part: Part,
        features: np.ndarray | None = None,
        categories: list[str] | None = None,
    ) -> State:
        """Let rows join, and items go, all or none; on the disk once this returns.

        To be called within `writing`.

        Parameters
        ----------
        part : the rows, with the items that they take, and those that are removed.
        features : floating (n, d), of unit length; None where no row joins.
        categories : of the rows; None where the index knows none.
        """
        number = self.current().rows.last + 1
        path = write_part(self.folder, number, number, part)
        try:
            if features is None:
                self.index.remove(part.removed)
            else:
                self.index.exchange(part.removed, features, part.items, categories)
        except InputError:
            path.unlink(missing_ok=True)
            raise
        return self.current()

    def compact(self) -> None:
        """Fold all changes of index and rows into what was built; searches go on meanwhile."""
        with self.writing() as state:
            self.index.compact()
            if len(part_files(self.folder)) == 1:
                return
            last = state.rows.last
            path = write_part(self.folder, 0, last, state.rows.folded())
            whole = PartFile(0, last, path)
            fresh = Rows().after(read_part(whole), last)
            with self._lock:
                self._state = State(self.index.current(), fresh)
            remove_others(self.folder, [whole])

    # Checking ------------------------------------------------------------------------------

    def verify(self) -> None:
        """Read every byte that has a checksum, and compare rows with items.

        Raises InputError naming the first file that is missing or damaged.
        """
        self.index.require_place()
        read_card(self.folder)
        check_manifest(self.folder, check_all=True)
        self.index.verify()
        with self._lock:
            state = self._following(self.index.current(), Rows())
            for file in part_files(self.folder):
                read_part(file, check_all=True)
        known = state.rows.items
        if len(known) != len(state.view) or not state.view.contains(known).all():
            raise InputError(
                f"the index has {len(state.view)} pictures, the catalogue {len(known)} rows, and "
                "they are not the same",
                cure=CURE,
                file=self.folder,
            )

    def stats(self) -> dict[str, Any]:
        """Counts of pictures and changes, bytes on disk, and what was chosen for the index."""
        state = self.current()
        table = state.rows.table
        counts = {name: len(table[name].unique()) for name in ("product_id", "category")}
        n_bytes = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        of_index = self.index.stats()
        chosen = ("lists", "lists visited", "candidates", "bits per code")
        return {
            "pictures": len(table),
            "products": counts["product_id"],
            "categories": counts["category"],
            "changes since compaction": len(part_files(self.folder)) - 1,
            "items changed since": of_index["changes since"],
            "bytes on disk": n_bytes,
            **{name: of_index[name] for name in chosen},
        }


def read_card(folder: Path) -> Mapping[str, Any]:
    """What an engine says of itself; raises InputError where there is none that can be opened."""
    if not (folder / CARD).is_file():
        if (folder / INDEX).is_file():
            raise InputError(
                "this is an index of vectors, or of an earlier version of vsa, and no engine",
                cure="Build it again: `vsa index build INDEX PICTURES`; or open it as vsa.Index",
                file=folder,
            )
        raise InputError(
            "there is no engine here",
            cure="Build one: vsa.build(shop, model, out=...), or `vsa index build` of pictures",
            file=folder,
        )
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except ValueError:
        raise InputError("the file is damaged", cure=CURE, file=folder / CARD) from None
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise InputError(
            f"this is no engine of format {FORMAT}",
            cure="Name the folder of an engine, or build it again with this version of vsa: "
            "vsa.build(shop, vsa.TrainedModels.open(folder), out=folder) trains nothing",
            file=folder,
        )
    return card


def _has_happened(part: Part, view: View) -> bool:
    """Whether the index has taken a change, the newest of all."""
    if len(part):
        return bool(view.contains(part.items[-1:])[0])
    return not view.contains(part.removed[:1])[0]
