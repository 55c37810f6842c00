"""CSV files written by people: cells as text, and errors that name file, row and cure.

Rows are counted as a spreadsheet shows them: the header is row 1, so row i of a table read here
is row i + 2 of its file.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import pandas as pd

from vsa.data.matching import nearest
from vsa.runtime.errors import InputError

Value = TypeVar("Value")

# What nobody sees at the ends of a cell: white space, no-break spaces among it, and characters
# of no width, which web pages and byte order marks leave behind
_BLANK = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\u200b\u200c\u200d\u2060\ufeff"
# 1,234.50 or 1'234,50, perhaps with a unit around
_NUMBER = re.compile(r"([+\u2212-]?)[^\d.,+\u2212-]*(\d(?:[\d\s.,'\u2019]*\d)?)[^\d]*")


def read_csv(
    file: Path, columns: Mapping[str, bool], verbatim: Collection[str] = ()
) -> pd.DataFrame:
    """Exactly `columns` (name → whether its cells must be filled) as trimmed text, NaN where empty.

    Text is in Unicode's form NFC, so that what looks alike is alike, but for the columns
    `verbatim`.

    Read by the standard library: pandas fills up rows that are too short, and cannot tell the row
    of a quote that does not match. Raises InputError for a missing or unknown column, an empty
    cell, a row of another length, no rows, such quotes, or text that is not UTF-8 (with or without
    a byte order mark).
    """
    header, *rows = _records(file)
    layout = "Columns, separated by commas: " + ", ".join(
        name if required else f"[{name}]" for name, required in columns.items()
    )
    for name in header:
        if name not in columns:
            problem = f"unknown column {name!r}{nearest(name, columns)}"
            raise InputError(problem, cure=layout, file=file, row=1)
        if header.count(name) > 1:
            raise InputError(f"column {name!r} occurs twice", cure=layout, file=file, row=1)
    for name, required in columns.items():
        if required and name not in header:
            raise InputError(f"column {name!r} is missing", cure=layout, file=file, row=1)
    if not rows:
        raise InputError("the table has no rows", cure="List at least one image", file=file)
    for number, cells in enumerate(rows, start=2):
        if len(cells) != len(header):
            raise InputError(
                f"{len(cells)} cells where the header has {len(header)}",
                cure='Put cells that hold commas in "double quotes"; leave no blank row',
                file=file,
                row=number,
            )
    cells_of = dict(zip(header, zip(*rows, strict=True), strict=True))
    absent = [""] * len(rows)
    table = pd.DataFrame(
        {
            name: pd.Series([cell or None for cell in cells_of.get(name, absent)], dtype="str")
            for name in columns
        }
    )
    for name, required in columns.items():
        if required and table[name].isna().any():
            raise InputError(
                f"column {name!r} is empty",
                cure="Fill it in every row",
                file=file,
                row=int(table[name].isna().argmax()) + 2,
            )
        if name not in verbatim:
            table[name] = table[name].str.normalize("NFC")
    return table


def rows_of(cells: pd.Series) -> Iterator[tuple[int, str]]:
    """Row number in the file and text of each cell that is not empty."""
    for row, cell in enumerate(cells, start=2):
        if not pd.isna(cell):
            yield row, cell


def convert(
    cells: pd.Series,
    parse: Callable[[str], Value],
    expected: str | Callable[[str], str],
    file: Path,
) -> list[Value | float]:
    """``parse(cell)`` of each cell, NaN where empty.

    Raises InputError naming the row of the first cell for which `parse` raises ValueError or
    KeyError, and what was `expected` (of that cell).
    """
    values: list[Value | float] = [math.nan] * len(cells)
    for row, cell in rows_of(cells):
        try:
            values[row - 2] = parse(cell)
        except (ValueError, KeyError):
            raise InputError(
                f"{cells.name} is {cell!r}",
                cure=f"Write {expected(cell) if callable(expected) else expected}",
                file=file,
                row=row,
            ) from None
    return values


def numbers(cells: pd.Series, file: Path) -> list[float]:
    """Finite numbers, NaN where empty; raises InputError naming the row."""
    return convert(cells, _finite, _plain_number, file)


def _records(file: Path) -> list[list[str]]:
    """Trimmed cells of all rows; blank rows at the end, which spreadsheets leave, are dropped."""
    if not file.is_file():
        raise InputError("there is no such file", cure="Each shop needs it", file=file)
    rows: list[list[str]] = []
    try:
        with open(file, encoding="utf-8-sig", newline="") as stream:
            for cells in csv.reader(stream, strict=True):
                rows.append([cell.strip(_BLANK) for cell in cells])
    except UnicodeDecodeError as error:
        raise InputError(
            "the file is not UTF-8 text", cure="Save it as 'CSV UTF-8'", file=file
        ) from error
    except csv.Error as error:
        raise InputError(
            f"the row cannot be read ({error})",
            cure='Check its quotes: a cell "in quotes" doubles those inside it',
            file=file,
            row=len(rows) + 1,
        ) from error
    except OSError as error:
        raise InputError(
            f"the file cannot be read ({error.strerror})", cure="Check its permissions", file=file
        ) from error
    while rows and not any(rows[-1]):
        rows.pop()
    if not rows:
        raise InputError("the file is empty", cure="Begin with a row of column names", file=file)
    return rows


def _finite(cell: str) -> float:
    value = float(cell)
    if not math.isfinite(value):
        raise ValueError(cell)
    return value


def _plain_number(cell: str) -> str:
    """What to write for a number that is not plain: 1,234.50 → 1234.50, 12 € → 12."""
    readings = []
    if match := _NUMBER.fullmatch(cell):
        sign, digits = match[1].replace("\u2212", "-"), re.sub(r"[\s'\u2019]", "", match[2])
        for comma, point in (",.", ".,"):
            if re.fullmatch(rf"(\d+|\d{{1,3}}(\{comma}\d{{3}})+)(\{point}\d+)?", digits):
                plain = sign + digits.replace(comma, "").replace(point, ".")
                readings.append(f"{float(plain) / 100:.12g}" if cell.endswith("%") else plain)
    return " or ".join(dict.fromkeys(readings)) or "a plain number such as 1234.5, or nothing"
