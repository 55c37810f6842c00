"""Copies among the pictures of a folder: image selection (paper section 3.1) by itself."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from vsa.category.selection import Prints, select_prints, take_prints
from vsa.category.settings import USUAL_SELECTION, SelectionSettings
from vsa.data.decoding import ImageError, decode
from vsa.data.descriptors import DESCRIPTOR_PX
from vsa.data.files import in_threads
from vsa.data.images import square
from vsa.data.listing import UNREADABLE, list_pictures
from vsa.runtime.atomic import atomic_file
from vsa.runtime.errors import InputError

_COLUMNS = ["group", "name", "keep", "reason", "copy_of", "width", "height"]
_CHUNK = 1024  # pictures that are in memory at a time
_CELL_PX, _GAP_PX, _LINE_PX = 128, 8, 14  # of a contact sheet
_N_COLUMNS, _MAX_GROUPS = 8, 200
_KEPT, _GONE, _PAPER, _INK = "#009E73", "#D55E00", "white", "black"


def find_copies(folder: str | Path, settings: SelectionSettings = USUAL_SELECTION) -> pd.DataFrame:
    """Groups of copies among all pictures below a folder, and which of each group to keep.

    Of a group the picture with most pixels stays; it stands for the others, which lie within both
    limits of it. Pictures that are flat, blurred or cannot be read are listed, too.

    Returns
    -------
    A row per picture, the largest group first and the one to keep first in it: ``group``, −1 for
    what has no copy; ``name`` below the folder; ``keep``; ``reason`` for those that are not;
    ``copy_of``; ``width`` and ``height`` in pixels, 0 where unreadable.

    Raises
    ------
    InputError for a folder that is not there, or without a picture that can be read.
    """
    found = list_pictures(folder)
    listed, errors = found.pictures, found.left_out[found.left_out.what == UNREADABLE]
    prints, sizes, good = [], [], np.zeros(len(listed), bool)
    bad = [(row.name, row.reason) for row in errors.itertuples(index=False)]
    for start in range(0, len(listed), _CHUNK):
        part = listed.iloc[start : start + _CHUNK]
        read = list(in_threads(_read, part.path.tolist(), "read pictures"))
        squares = [one[0] for one in read if not isinstance(one, str)]
        sizes += [one[1] for one in read if not isinstance(one, str)]
        good[start : start + len(part)] = [not isinstance(one, str) for one in read]
        pairs = zip(part.name, read, strict=True)
        bad += [(name, one) for name, one in pairs if isinstance(one, str)]
        if squares:
            prints.append(take_prints(np.stack(squares)))
    if not prints:
        raise InputError(
            f"there is no picture that can be read among {len(listed) + len(errors)}",
            cure="Name a folder of pictures",
            file=folder,
        )
    names = listed.name[good].tolist()
    pixels = [float(width * height) for width, height in sizes]
    judged = select_prints(_as_catalogue(names, pixels), Prints.joined(prints), settings)
    table = pd.DataFrame(
        {
            "group": judged.group,
            "name": judged.image_id,
            "keep": judged.kept,
            "reason": judged.reason,
            "copy_of": judged.duplicate_of,
            "width": [width for width, _ in sizes],
            "height": [height for _, height in sizes],
        }
    )
    unreadable = pd.DataFrame(
        [(-1, name, False, f"unreadable: {reason}", "", 0, 0) for name, reason in bad],
        columns=_COLUMNS,
    )
    table = pd.concat([table, unreadable.astype(table.dtypes)], ignore_index=True)
    order = table.assign(last=table.group < 0, late=~table.keep)
    order = order.sort_values(["last", "group", "late", "name"])
    return table.loc[order.index].reset_index(drop=True)


def write_sheet(folder: str | Path, table: pd.DataFrame, target: str | Path) -> int:
    """Write the groups of copies that `find_copies` found as one picture; returns how many.

    A group is a row or more, the picture to keep first, framed in green; copies are framed in
    orange. The first 200 groups are shown.
    """
    groups = [rows for number, rows in table.groupby("group") if number >= 0][:_MAX_GROUPS]
    if not groups:
        return 0
    step = _CELL_PX + _GAP_PX
    n_lines = [math.ceil(len(rows) / _N_COLUMNS) for rows in groups]
    height = sum(_LINE_PX + n * step for n in n_lines) + _GAP_PX
    sheet = Image.new("RGB", (_N_COLUMNS * step + _GAP_PX, height), _PAPER)
    pen, top = ImageDraw.Draw(sheet), _GAP_PX
    for rows, n in zip(groups, n_lines, strict=True):
        words = f"{len(rows)} pictures; keep {rows.name.iloc[0]}"
        pen.text((_GAP_PX, top), words.encode("latin-1", "replace").decode("latin-1"), _INK)
        for place, row in enumerate(rows.itertuples(index=False)):
            line, column = divmod(place, _N_COLUMNS)
            left, upper = _GAP_PX + column * step, top + _LINE_PX + line * step
            frame = (left - 3, upper - 3, left + _CELL_PX + 2, upper + _CELL_PX + 2)
            pen.rectangle(frame, fill=_KEPT if row.keep else _GONE)
            sheet.paste(_thumbnail(Path(folder) / row.name), (left, upper))
        top += _LINE_PX + n * step
    with atomic_file(Path(target)) as draft:
        sheet.save(draft, "PNG", optimize=True)
    return len(groups)


def _read(path: Path) -> tuple[np.ndarray, tuple[int, int]] | str:
    """A small square of a picture and its true size, or why there is none."""
    try:
        decoded = decode(path)
        return square(decode(path, min_px=DESCRIPTOR_PX), DESCRIPTOR_PX), decoded.size
    except ImageError as error:
        return error.reason


def _thumbnail(path: Path) -> Image.Image:
    cell = Image.new("RGB", (_CELL_PX, _CELL_PX), _PAPER)
    try:
        picture = decode(path, min_px=_CELL_PX)
    except ImageError:
        return cell  # gone since it was read, or of a name that is no text
    picture.thumbnail((_CELL_PX, _CELL_PX))
    cell.paste(picture, ((_CELL_PX - picture.width) // 2, (_CELL_PX - picture.height) // 2))
    return cell


def _as_catalogue(names: list[str], pixels: list[float]) -> pd.DataFrame:
    """What selection asks of a catalogue; the picture with most pixels sells best, as it were."""
    return pd.DataFrame(
        {
            "image_id": names,
            "product_id": names,
            "category": "picture",
            "price": np.nan,
            "sales": pixels,
        }
    )
