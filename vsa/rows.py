"""Rows of an engine's catalogue: what was built, and each change since (`vsa.row_files`)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from vsa.category.selection import PRINT, Present, Prints

ITEM, REFERENCE = "item", "reference"  # columns beside those of the catalogue …
PRINTS = ("pixels", "hashes", "features")  # … and what selection compares new pictures with
_OWN = (ITEM, REFERENCE, *PRINTS)
_FEW = 64  # image_ids that are looked up one by one; for more, all rows are read once


def _nothing() -> np.ndarray:
    return np.empty(0, np.int64)


@dataclass(frozen=True)
class Part:
    """Rows that were written at once, or that stand for several such parts."""

    table: pa.Table  # n rows, each column in one piece: the catalogue's, and those named above
    # int64 (m,): items of earlier parts that are gone with it
    removed: np.ndarray = field(default_factory=_nothing)
    forgotten: tuple[str, ...] = ()  # image_ids that were gone before, whose rows are not kept
    next_item: int = 0  # none has been as great, also of those that are not kept

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def items(self) -> np.ndarray:
        """Items of the rows in the index, int64 (n,), ascending."""
        return self.table[ITEM].to_numpy()

    @cached_property
    def catalogue(self) -> pa.Table:
        """The rows as the catalogue has them."""
        return self.table.select([name for name in self.table.column_names if name not in _OWN])

    def places(self, items: np.ndarray) -> np.ndarray:
        """Where some items are, int64 (m,); −1 for those that are not here."""
        if not len(self):
            return np.full(len(items), -1)
        place = np.minimum(np.searchsorted(self.items, items), len(self) - 1)
        return np.where(self.items[place] == items, place, -1)

    def find(self, image_ids: Sequence[str]) -> np.ndarray:
        """Places of the rows with these image_ids, int64, ascending."""
        if len(image_ids) <= _FEW:
            return self._look_up(image_ids)
        column = self.table["image_id"]
        there = pc.is_in(column, value_set=pa.array(image_ids, column.type))
        return np.flatnonzero(there.to_numpy())

    def _look_up(self, image_ids: Iterable[str]) -> np.ndarray:
        """As `find`, by halves of what is in order."""
        texts, places = _Texts(self.table["image_id"]), []
        for image_id in set(image_ids):
            first = bisect_left(self._by_image_id, image_id, key=texts.__getitem__)
            for place in self._by_image_id[first:]:
                if texts[place] != image_id:
                    break
                places.append(place)
        return np.sort(np.array(places, np.int64))

    @cached_property
    def _by_image_id(self) -> np.ndarray:
        """Places in the order of their image_ids, uint64 (n,)."""
        return np.asarray(pc.sort_indices(self.table["image_id"]))

    def references(self, counts: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
        """References of rows chosen by bool (n,): id, path, category; features, float32 (m, d)."""
        column = _in_one_piece(self.table[REFERENCE])
        counts = counts & column.is_valid().to_numpy(zero_copy_only=False)
        names = self.table.select(["image_id", "path", "category"]).filter(pa.array(counts))
        texts = column.filter(pa.array(counts)).to_pylist()
        dim = len(texts[0]) // np.float32().itemsize if texts else 0
        features = np.frombuffer(b"".join(texts), np.float32).reshape(len(texts), dim)
        return names.to_pandas().rename(columns={"image_id": "id"}), features

    def present(self, counts: np.ndarray) -> Present:
        """What new pictures are compared with: rows chosen by bool (n,)."""
        pixels, hashes, features = (_matrix(self.table[name]) for name in PRINTS)
        images, products = (_Texts(self.table[name]) for name in ("image_id", "product_id"))
        return Present(images, products, pixels, hashes, features, counts)


class _Texts:
    """Texts of a column, one of which is read when it is asked for."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._column = column

    def __getitem__(self, row: int) -> str:
        return self._column[int(row)].as_py()


def make_part(
    rows: pa.Table,
    items: np.ndarray,
    references: np.ndarray | None = None,
    prints: Prints | None = None,
    removed: np.ndarray | None = None,
) -> Part:
    """A part of rows of the catalogue.

    Parameters
    ----------
    rows : n, with the columns of the catalogue.
    items : their numbers in the index, int64 (n,), ascending.
    references : of the category vote, float32 (n, d); None where they are none.
    prints : of the pictures; None where nothing is selected.
    removed : items that are gone with this change.
    """
    table = rows.append_column(ITEM, pa.array(items, pa.int64()))
    if references is not None:
        texts = [one.tobytes() for one in np.ascontiguousarray(references, np.float32)]
        table = table.append_column(REFERENCE, pa.array(texts, pa.large_binary()))
    if prints is not None:
        for name, dtype in zip(PRINTS, (np.uint8, np.uint8, PRINT), strict=True):
            values = np.ascontiguousarray(getattr(prints, name), dtype)
            table = table.append_column(name, _column(values))
    return Part(
        table.combine_chunks(),
        _nothing() if removed is None else np.asarray(removed, np.int64),
        next_item=int(items[-1]) + 1 if len(items) else 0,
    )


def joined(parts: Sequence[Part]) -> Part:
    """The rows of several parts as those of one, in their order."""
    table = pa.concat_tables([part.table for part in parts], promote_options="default")
    return Part(table.combine_chunks())


def _column(values: np.ndarray) -> pa.Array:
    width = values.shape[1] * values.itemsize
    buffers = [None, pa.py_buffer(values)]
    return pa.Array.from_buffers(pa.binary(width), len(values), buffers)


def _in_one_piece(column: pa.ChunkedArray) -> pa.Array:
    """Not copied where it is, which `combine_chunks` would do."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    """The bytes of a column that `_column` made, not copied: uint8 (n, width), or float16."""
    whole = _in_one_piece(column)
    width = whole.type.byte_width
    flat = np.frombuffer(whole.buffers()[1], np.uint8, len(whole) * width, whole.offset * width)
    both = flat.reshape(len(whole), width)
    return both if width <= 16 else both.view(PRINT)


# All of them -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rows:
    """All rows of an engine after some changes. It never changes itself."""

    parts: tuple[Part, ...] = ()  # with items ascending from one to the next
    # int64, sorted: items that were removed or replaced
    dead: np.ndarray = field(default_factory=_nothing)
    forgotten: frozenset[str] = frozenset()  # image_ids whose references of the training are gone
    last: int = -1  # the newest change
    next_item: int = 0  # the number that no item has had

    def __len__(self) -> int:
        """Number of rows that count."""
        return sum(len(part) for part in self.parts) - len(self.dead)

    def after(self, part: Part, last: int) -> Rows:
        """The rows after one more part, which holds the changes up to `last`."""
        gone = self.take(part.removed)["image_id"].to_pylist() if len(part.removed) else []
        parts = [*self.parts, part]
        # so that there are few, and each row is copied now and then only
        while len(parts) > 2 and 2 * len(parts[-1]) >= len(parts[-2]):
            parts[-2:] = [joined(parts[-2:])]
        dead = np.union1d(self.dead, part.removed) if len(part.removed) else self.dead
        forgotten = self.forgotten.union(gone, part.forgotten)
        return Rows(tuple(parts), dead, forgotten, last, max(self.next_item, part.next_item))

    def counts(self, part: Part) -> np.ndarray:
        """Which rows of a part count, bool (n,)."""
        if not len(self.dead):
            return np.ones(len(part), bool)
        return ~np.isin(part.items, self.dead, assume_unique=True)

    def knows(self, items: np.ndarray) -> np.ndarray:
        """Whether each item has a row, bool (n,); also where it does not count any more."""
        found = np.zeros(len(items), bool)
        for part in self.parts:
            found |= part.places(items) >= 0
        return found

    def take(self, items: np.ndarray) -> pa.Table:
        """Rows of items, each of which has one, in their order; with the catalogue's columns."""
        tables, order = [], []
        for part in self.parts:
            places = part.places(items)
            here = np.flatnonzero(places >= 0)
            tables.append(part.catalogue.take(pa.array(places[here])))
            order.append(here)
        if len(tables) == 1:
            return tables[0]
        return pa.concat_tables(tables).take(pa.array(np.argsort(np.concatenate(order))))

    def find(self, image_ids: Sequence[str]) -> dict[str, int]:
        """image_id → item, of those that are there."""
        found: dict[str, int] = {}
        for part in self.parts:
            places = part.find(image_ids)
            names = part.table["image_id"].take(pa.array(places)).to_pylist()
            found |= dict(zip(names, part.items[places].tolist(), strict=True))
        if not len(self.dead):
            return found
        # an image_id that was replaced has several rows, the last of which counts
        dead = set(self.dead.tolist())
        return {name: item for name, item in found.items() if item not in dead}

    @property
    def table(self) -> pa.Table:
        """The rows that count, with the catalogue's columns."""
        tables = [
            part.catalogue.filter(pa.array(self.counts(part))) if len(self.dead) else part.catalogue
            for part in self.parts
        ]
        return pa.concat_tables(tables)

    @property
    def items(self) -> np.ndarray:
        """Items of the rows that count, int64 (n,), ascending, as `table` has them."""
        return np.concatenate([part.items[self.counts(part)] for part in self.parts])

    def references(self) -> tuple[pd.DataFrame, np.ndarray] | None:
        """References that joined since the engine was built, as of `Part.references`."""
        some = [part for part in self.parts if REFERENCE in part.table.column_names]
        found = [part.references(self.counts(part)) for part in some]
        found = [(names, features) for names, features in found if len(names)]
        if not found:
            return None
        names, features = zip(*found, strict=True)
        return pd.concat(names, ignore_index=True), np.concatenate(features)

    def present(self) -> list[Present]:
        """What new pictures are compared with."""
        return [part.present(self.counts(part)) for part in self.parts if len(part)]

    def folded(self) -> Part:
        """All rows that count, as one part that stands for all changes."""
        one = joined(self.parts)
        table = one.table.filter(pa.array(self.counts(one))).combine_chunks()
        return Part(table, _nothing(), tuple(sorted(self.forgotten)), self.next_item)
