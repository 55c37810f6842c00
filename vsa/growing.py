"""New pictures of an engine: selected, cropped and described as `vsa.build` did with the first.

table → readable? → select (quality, copies of what is there) → extract → rows and items
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Generic, Literal, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa

from vsa.category.model import predict
from vsa.category.predictor import CategoryPredictor
from vsa.category.selection import Prints, select_prints, take_prints
from vsa.category.settings import SelectionSettings
from vsa.data.decoding import ImageError
from vsa.data.descriptors import DESCRIPTOR_PX
from vsa.data.files import absolute, in_threads
from vsa.data.images import load_image
from vsa.data.schema import BOX, CATALOGUE, check, complete
from vsa.models.embedder import Embedder
from vsa.rows import Part, Rows, make_part
from vsa.runtime.errors import InputError
from vsa.runtime.inference import one_core
from vsa.runtime.settings import make_settings
from vsa.store import State, Store

_T = TypeVar("_T")
OnError = Literal["raise", "skip"]
UNCATEGORISED = "uncategorised"  # where an engine has no category stage and a row names none
LEFT_OUT = ["image_id", "reason", "duplicate_of"]
_CHUNK = 16  # pictures that pass the networks together


@dataclass(frozen=True)
class Change:
    """What became of the rows that were given to `add` or `update`."""

    image_ids: list[str]  # those that are in the catalogue now, as they were given
    left_out: pd.DataFrame  # image_id, reason, duplicate_of: by selection, or as unreadable

    def __len__(self) -> int:
        """Number of rows that are in."""
        return len(self.image_ids)


@dataclass(frozen=True)
class Grower:
    """What describes new pictures of an engine, and where they go."""

    store: Store
    root: Path  # what paths are relative to
    embedder: Embedder  # of the engine's describer: features of whole pictures
    category: CategoryPredictor | None  # its network describes references

    def add(self, table: pd.DataFrame, *, select: bool, on_error: OnError) -> Change:
        """Let rows join; see `VisualSearch.add`."""
        return self._put(table, select, on_error, known=False)

    def update(self, table: pd.DataFrame, *, select: bool, on_error: OnError) -> Change:
        """Replace rows; see `VisualSearch.update`."""
        return self._put(table, select, on_error, known=True)

    def put(self, table: pd.DataFrame, *, select: bool, on_error: OnError) -> Change:
        """Let rows join, or replace those of their names; see `VisualSearch.put`."""
        return self._put(table, select, on_error, known=None)

    def _put(
        self, table: pd.DataFrame, select: bool, on_error: OnError, *, known: bool | None
    ) -> Change:
        if on_error not in ("raise", "skip"):
            raise InputError(f"on_error is {on_error!r}", cure="Say 'raise' or 'skip'")
        table = self._checked(table)
        with self.store.writing() as state:
            there = state.rows.find(table.image_id.tolist())
            if known is not None:
                _require_ids(table.image_id.tolist(), there, known=known)
            prints, unreadable = self._prints(table, on_error)
            left = [unreadable]
            table = table.loc[prints.index]
            if self.selection is not None and prints.of is not None and select:
                rows = _less(state.rows, there)
                judged = select_prints(table, prints.of, self.selection, rows.present())
                kept = judged.kept.to_numpy()
                left.append(judged.loc[~kept, LEFT_OUT])
                table, prints = table[kept], prints.chosen(kept)
            described = self._described(table, on_error)
            left.append(described.unreadable)
            table, prints = table[described.good], prints.chosen(described.good)
            if len(table):
                features, references = described.features, described.references
                put_rows(self.store, state, table, features, there, references, prints.of)
        return Change(table.image_id.tolist(), pd.concat(left, ignore_index=True))

    @cached_property
    def selection(self) -> SelectionSettings | None:
        """Thresholds that the engine was built with; None where nothing is selected."""
        chosen = self.store.card["selection"]
        return None if chosen is None else make_settings(SelectionSettings, chosen)

    def _checked(self, table: pd.DataFrame) -> pd.DataFrame:
        """Rows with all columns of the catalogue; raises InputError for one with a mistake."""
        own = list(self.store.card["columns"])
        more = table.reindex(columns=own, fill_value="").astype("str").reset_index(drop=True)
        table = table.drop(columns=own, errors="ignore")
        if self.category is None and "category" not in table:
            table = table.assign(category=UNCATEGORISED)
        table = check(complete(table, CATALOGUE), CATALOGUE, "rows")
        if self.category is not None:
            strange = sorted(set(table.category) - set(self.store.index.categories))
            if strange:
                raise InputError(
                    f"the engine was built without the category {strange[0]!r}",
                    cure="Build it again, of a shop that has it and models trained on that",
                )
        return pd.concat([table.drop(columns=BOX), more], axis=1)

    def _prints(self, table: pd.DataFrame, on_error: OnError) -> tuple[_Printed, pd.DataFrame]:
        """Prints of the pictures that can be read, and the others; nothing if none are needed."""
        if self.selection is None:
            return _Printed(table.index, None), _unreadable(table, [])
        looks = self._looks(
            table, [DESCRIPTOR_PX], on_error, lambda squares: take_prints(squares[DESCRIPTOR_PX])
        )
        index = pd.Index([row for look in looks for row in look.rows], dtype="int64")
        of = Prints.joined([look.seen for look in looks])
        return _Printed(index, of), _unreadable(table, [one for look in looks for one in look.bad])

    def _described(self, table: pd.DataFrame, on_error: OnError) -> _Described:
        """Features and references of the pictures, as far as they can still be read."""
        stage = self.category
        sizes = [self.embedder.image_px] + ([] if stage is None else [stage.store_px])

        def see(squares: dict[int, np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
            with one_core():
                features = self.embedder.embed(squares[self.embedder.image_px])
                if stage is None:
                    return features, None
                pictures = squares[stage.store_px]
                _, of_vote = predict(stage.net, pictures, stage.crop_px, stage.device)
                return features, of_vote

        looks = self._looks(table, sizes, on_error, see)
        good = table.index.isin([row for look in looks for row in look.rows])
        features = np.concatenate([look.seen[0] for look in looks])
        references = [look.seen[1] for look in looks if look.seen[1] is not None]
        of_vote = np.concatenate(references) if references else None
        bad = [one for look in looks for one in look.bad]
        return _Described(features, of_vote, good, _unreadable(table, bad))

    def _looks(
        self,
        table: pd.DataFrame,
        sizes: Sequence[int],
        on_error: OnError,
        see: Callable[[dict[int, np.ndarray]], _T],
    ) -> list[_Look[_T]]:
        """What is seen in the pictures of rows, a few at a time; at least one look.

        Searches go first: each thread takes one core, and that only while no search wants it.

        Parameters
        ----------
        see : is given pictures by their size S, uint8 (n, S, S, 3) each.
        """

        def look(part: pd.DataFrame) -> _Look[_T]:
            loaded: list[list[np.ndarray]] = []
            rows, bad = [], []
            for row, file in zip(part.index, absolute(self.root, part.path.tolist()), strict=True):
                try:
                    loaded.append([load_image(file, px) for px in sizes])
                    rows.append(row)
                except ImageError as error:
                    if on_error == "raise":
                        raise
                    bad.append((row, error.reason))
            squares = {
                px: np.stack([one[number] for one in loaded])
                if loaded
                else np.empty((0, px, px, 3), np.uint8)
                for number, px in enumerate(sizes)
            }
            return _Look(rows, bad, see(squares))

        parts = [table.iloc[start : start + _CHUNK] for start in range(0, len(table), _CHUNK)]
        return list(in_threads(look, parts or [table], "look at pictures", aside=True))


@dataclass(frozen=True)
class _Look(Generic[_T]):
    """Some rows at once: those whose pictures can be read, why others cannot, what is seen."""

    rows: list[int]
    bad: list[tuple[int, str]]
    seen: _T


@dataclass(frozen=True)
class _Printed:
    """Prints of rows; None where the engine selects nothing."""

    index: pd.Index  # of their rows
    of: Prints | None

    def chosen(self, rows: np.ndarray) -> _Printed:
        """Those of rows chosen by bool (n,)."""
        return _Printed(self.index[rows], None if self.of is None else self.of[rows])


@dataclass(frozen=True)
class _Described:
    """What the networks say of pictures."""

    features: np.ndarray  # float32 (n, d)
    references: np.ndarray | None  # float32 (n, d')
    good: np.ndarray  # bool (m,): which rows they are of
    unreadable: pd.DataFrame


def put_rows(
    store: Store,
    state: State,
    table: pd.DataFrame,
    features: np.ndarray,
    there: Mapping[str, int],
    references: np.ndarray | None = None,
    prints: Prints | None = None,
) -> None:
    """Let described rows join the catalogue, all or none; on the disk once this returns.

    Parameters
    ----------
    state : of the store, which is being written to.
    table : the catalogue's columns, n rows.
    features : floating (n, d), of unit length.
    there : image_id → item, of rows that these replace.
    references : of the category vote, float32 (n, d'); None where there is none.
    prints : None where nothing is selected.
    """
    schema = state.rows.parts[0].catalogue.schema
    rows = pa.Table.from_pandas(table, preserve_index=False).select(schema.names).cast(schema)
    removed = np.sort([there[name] for name in table.image_id if name in there]).astype(np.int64)
    items = state.rows.next_item + np.arange(len(table))
    part = make_part(rows, items, references, prints, removed)
    store.change(part, features, None if references is None else table.category.tolist())


def remove(store: Store, image_ids: Sequence[str]) -> None:
    """Remove pictures from an engine; see `VisualSearch.remove`."""
    wanted = [image_ids] if isinstance(image_ids, str) else list(image_ids)
    wanted = list(dict.fromkeys(str(name) for name in wanted))
    with store.writing() as state:
        there = state.rows.find(wanted)
        _require_ids(wanted, there, known=True)
        if wanted:
            gone = np.sort([there[name] for name in wanted]).astype(np.int64)
            none = state.rows.parts[0].table.slice(0, 0)
            store.change(Part(none, removed=gone))


def _less(rows: Rows, replaced: dict[str, int]) -> Rows:
    """Rows without those that are about to be replaced: nobody is a copy of what it replaces."""
    gone = np.array(sorted(replaced.values()), np.int64)
    return replace(rows, dead=np.union1d(rows.dead, gone)) if len(gone) else rows


def _require_ids(wanted: Sequence[str], there: dict[str, int], *, known: bool) -> None:
    wrong = [name for name in wanted if (name in there) != known]
    if wrong:
        problem, cure = (
            ("is not in the catalogue", "Add it first, or leave it out")
            if known
            else ("is in the catalogue already", "Update it, give it another one, or leave it out")
        )
        raise InputError(f"image_id {wrong[0]!r} {problem} ({len(wrong)} such)", cure=cure)


def _unreadable(table: pd.DataFrame, errors: Sequence[tuple[int, str]]) -> pd.DataFrame:
    rows = [row for row, _ in errors]
    return pd.DataFrame(
        {
            "image_id": table.image_id.loc[rows].to_numpy(),
            "reason": pd.Series([f"unreadable: {why}" for _, why in errors], dtype="str"),
            "duplicate_of": pd.Series([""] * len(rows), dtype="str"),
        }
    )
