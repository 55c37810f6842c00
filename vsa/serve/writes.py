"""Rows and pictures that join the catalogue over HTTP, and items that leave it.

A picture is kept under the digest of its bytes, in a folder beside the engine's: no name that a
client gives is opened or made. It is on the disk before its row is.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from vsa.data.decoding import ImageError
from vsa.data.schema import QUALITY
from vsa.engine import VisualSearch
from vsa.growing import Change
from vsa.runtime.atomic import atomic_file
from vsa.runtime.checked import flush
from vsa.runtime.errors import InputError
from vsa.serve.asked import require_pixels_within
from vsa.serve.limits import Limits

_LAYOUT = "Send a list of rows, each with path (the name of one of the files), product_id, category"


def kept_pictures(engine: VisualSearch) -> Path:
    """The folder beside an engine's that holds pictures which came with writes."""
    folder = engine.store.folder
    return folder.with_name(f"{folder.name}.pictures")


@dataclass(frozen=True)
class Kept:
    """Pictures that were kept for rows."""

    names: dict[str, str]  # the file's name in the folder → as the client has it
    fresh: list[Path]  # that were not there before


class Writer:
    """Changes the catalogue of an engine, one change at a time."""

    def __init__(self, engine: VisualSearch, limits: Limits) -> None:
        self.engine, self.limits = engine, limits
        self.folder = kept_pictures(engine)
        self._turn = threading.Lock()

    def put(self, table: str, files: Mapping[str, bytes], *, select: bool) -> Change:
        """Let rows join, or replace those of the same image_id, all or none.

        Parameters
        ----------
        table : rows, as a list in JSON or as CSV with a header.
        files : name → content; a row's ``path`` is such a name.

        Raises
        ------
        InputError for whatever is wrong with the rows or their pictures.
        """
        rows = read_rows(table, self.limits.max_rows)
        frame = as_table(rows)
        contents = [_content(path, files, row) for row, path in enumerate(frame.path)]
        for row, content in enumerate(contents):
            try:
                require_pixels_within(content, self.limits.max_pixels)
            except ImageError as error:
                raise _of_picture(error, frame.path[row]) from None
        with self._turn:
            before = self._paths_of(frame.image_id.tolist())
            kept = self._keep(frame.path.tolist(), contents)
            names = frame.path.tolist()
            frame["path"] = [str(self.folder / _digest(content)) for content in contents]
            try:
                change = self.engine.put(frame, select=select)
            except ImageError as error:
                name = Path(str(error.file)).name
                raise _of_picture(error, kept.names.get(name, names[0])) from None
            finally:
                self._clear([*before, *map(str, kept.fresh)])
        return change

    def remove(self, image_id: str) -> None:
        """Let an item leave; raises InputError where there is none."""
        with self._turn:
            before = self._paths_of([image_id])
            self.engine.remove([image_id])
            self._clear(before)

    def _keep(self, names: Sequence[str], contents: Sequence[bytes]) -> Kept:
        """Put pictures on the disk; those that are there already are left as they are."""
        kept, fresh = {}, []
        self.folder.mkdir(exist_ok=True)
        try:
            for name, content in zip(names, contents, strict=True):
                target = self.folder / _digest(content)
                kept[target.name] = name
                if target.is_file() and target.stat().st_size == len(content):
                    continue
                with atomic_file(target, make_parents=False) as draft:
                    draft.write_bytes(content)
                    flush(draft)
                fresh.append(target)
            flush(self.folder)
        except OSError:
            for path in fresh:
                path.unlink(missing_ok=True)
            raise
        return Kept(kept, fresh)

    def _paths_of(self, image_ids: Sequence[str]) -> list[str]:
        rows = self.engine.store.current().rows
        items = list(rows.find(image_ids).values())
        if not items:
            return []
        return [str(path) for path in rows.take(np.array(items, np.int64))["path"].to_pylist()]

    def _clear(self, paths: Iterable[str]) -> None:
        """Remove pictures of ours that no row names any more."""
        ours = [path for path in dict.fromkeys(paths) if Path(path).parent == self.folder]
        if not ours:
            return
        table = self.engine.store.current().rows.table
        asked = pa.array(ours, table["path"].type)
        named = set(table["path"].filter(pc.is_in(table["path"], value_set=asked)).to_pylist())
        for path in ours:
            if path not in named:
                with suppress(OSError):  # it takes room, and does no harm
                    Path(path).unlink()


def read_rows(text: str, max_rows: int) -> list[dict[str, Any]]:
    """Rows of a table that was sent, as JSON or CSV; raises InputError."""
    start = text.lstrip("\ufeff \t\r\n")
    rows: Any
    try:
        if start.startswith(("[", "{")):
            rows = json.loads(start, parse_constant=_refuse_constant)
        else:
            reader = csv.DictReader(io.StringIO(start), strict=True)
            rows = [dict(row) for row in reader]
    except (ValueError, RecursionError, csv.Error) as error:
        raise InputError(
            f"the table cannot be read ({type(error).__name__})", cure=_LAYOUT
        ) from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError("the table is no list of rows", cure=_LAYOUT)
    if not rows:
        raise InputError("the table has no rows", cure=_LAYOUT)
    if len(rows) > max_rows:
        raise InputError(f"the table has {len(rows):,} rows", cure=f"Send {max_rows:,} at a time")
    return rows


def as_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as `VisualSearch.put` takes them; ``image_id`` is the path where a row names none."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    for name in names:
        if not isinstance(name, str) or not name:
            raise InputError("a row has more cells than the header", cure=_LAYOUT)
    columns: dict[str, list[Any]] = {
        name: [_cell(name, row.get(name), number) for number, row in enumerate(rows, 2)]
        for name in names
    }
    if "path" not in columns:
        raise InputError("the column path is missing", cure=_LAYOUT)
    ids = columns.get("image_id", [None] * len(rows))
    columns["image_id"] = [
        path if image_id is None else image_id
        for image_id, path in zip(ids, columns["path"], strict=True)
    ]
    types = {name: "float64" if name in QUALITY else "str" for name in columns}
    return pd.DataFrame(
        {name: pd.Series(cells, dtype=types[name]) for name, cells in columns.items()}
    )


def _cell(name: str, value: Any, row: int) -> str | float | None:
    """A cell as its column has it; None where it is empty."""
    if value is None or value == "":
        return None
    if name in QUALITY:
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError):
            raise InputError(
                f"{name} is no number", cure="Write a number such as 12.5", row=row
            ) from None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InputError(f"{name} is no text", cure="Write text in quotes", row=row)
    try:
        str(value).encode()
    except ValueError:
        raise InputError(
            f"{name} is no Unicode text", cure="Leave half characters out", row=row
        ) from None
    return str(value)


def _content(path: str | None, files: Mapping[str, bytes], row: int) -> bytes:
    if not isinstance(path, str) or path not in files:
        raise InputError(
            f"no file is called {path!r}" if isinstance(path, str) else "path is empty",
            cure="Send each row's picture as a file of the form, under the name in its path",
            row=row + 2,
        )
    return files[path]


def _of_picture(error: ImageError, name: str) -> ImageError:
    """The error of a picture, by the name that the client has for it."""
    told = ImageError(error.reason)
    told.problem = f"{name}: {error.problem}"
    told.cure = error.cure
    return told


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _refuse_constant(name: str) -> float:
    raise ValueError(name)
