"""One's own shop: a folder with ``catalogue.csv``, ``queries.csv``, images, perhaps a click log.

Every mistake is reported with file, row (the header is row 1) and cure; nothing is guessed
from a file that contradicts itself.
"""

from __future__ import annotations

import errno
import math
import os
import textwrap
import unicodedata
from collections.abc import Callable, Collection, Mapping
from functools import cache
from pathlib import Path, PurePosixPath, PureWindowsPath

import pandas as pd
from pandera.pandas import DataFrameSchema

from vsa.data.boxes import fractional_boxes
from vsa.data.csv_table import (
    Value,
    convert,
    numbers,
    read_csv,
    rows_of,
)
from vsa.data.matching import match_notes, nearest
from vsa.data.schema import (
    BOX,
    CATALOGUE,
    PVLOG,
    QUALITY,
    QUERIES,
    SOURCES,
    SPLITS,
    Dataset,
    check,
)
from vsa.data.stable import stable_hash
from vsa.runtime.errors import InputError
from vsa.runtime.markup import escape_markdown

# column → whether it must be there, and filled in every row
_CATALOGUE_CSV = {
    **dict.fromkeys(["image_path", "product_id", "category"], True),
    **dict.fromkeys(["leaf", "source", *QUALITY], False),
}
_QUERIES_CSV = {
    "image_path": True,
    **dict.fromkeys(["product_id", "category", *BOX, "split"], False),
}
_PVLOG_CSV = dict.fromkeys(["session_id", "query_id", "rank", "image_id", "clicked"], True)
# words, in small letters → what they mean
_TRUTH = {**dict.fromkeys(["1", "true", "yes"], True), **dict.fromkeys(["0", "false", "no"], False)}
_SOURCE_WORDS = {source: source for source in SOURCES}
_SPLIT_WORDS = {
    **dict.fromkeys(["train", "training"], "train"),
    **dict.fromkeys(["val", "valid", "validation", "dev", "development"], "val"),
    **dict.fromkeys(["test", "testing"], "test"),
}
_TEST_SHARE, _VAL_SHARE = 0.25, 0.15  # the rest is for training


def load_folder(path: str | Path) -> Dataset:
    """Tables of the shop in folder `path`.

    ``image_path`` values are the ids. Names are compared in Unicode's form NFC and without blanks
    at their ends; those of files may be in another form. Boxes come in pixels of the image as it
    is seen, after EXIF rotation, and leave as fractions. Without a ``split`` column 60 % of the
    products are for training, 15 % for validation and 25 % for testing, by a stable hash of the
    product (of the image where the product is unknown), so that the splits are disjoint by
    product. The log has no times: each of its rows is stamped one second after the row before,
    from 1970-01-01.

    Images are not opened, except for the size of those with a box; one that cannot be read stays
    in its table, without a box, for ``reject_unreadable`` to find. Raises InputError for
    whatever the files get wrong.
    """
    root = Path(path).expanduser().resolve()
    if not root.is_dir():
        raise InputError(
            "there is no such folder", cure="Name an existing one as folder:PATH", file=path
        )
    catalogue = _read_catalogue(root)
    queries = _read_queries(root, set(catalogue.category))
    pvlog_csv = root / "pvlog.csv"
    pvlog = None
    if pvlog_csv.exists():
        pvlog = _read_pvlog(pvlog_csv, set(queries.query_id), set(catalogue.image_id))
    notes = match_notes(catalogue, queries)
    shown = "\n\n".join(textwrap.fill(note, 96) for note in notes)
    return Dataset(
        name="folder",
        root=root,
        catalogue=catalogue,
        queries=queries,
        pvlog=pvlog,
        title=root.name,
        source=f"the folder {root.name}",
        licence="not stated",
        # Indented, so as code: names may hold what Markdown takes for markup
        datasheet=f"Pictures and tables of one's own: the folder {escape_markdown(root.name)}.\n\n"
        + textwrap.indent(shown, "    "),
        has_identities=bool(queries.product_id.dropna().isin(catalogue.product_id).any()),
        notes=notes,
    )


# ---------------------------------------------------------------- the three tables


def read_catalogue(file: Path) -> pd.DataFrame:
    """A table of pictures for sale: columns as those of ``catalogue.csv``, and ``image_id``.

    Paths are relative to the file's folder, and are the ids where a row names none. Raises
    InputError for whatever the file gets wrong.
    """
    root = file.absolute().parent
    return _read_catalogue(root, file.name, {"image_id": False, **_CATALOGUE_CSV})


def _read_catalogue(
    root: Path, name: str = "catalogue.csv", columns: Mapping[str, bool] = _CATALOGUE_CSV
) -> pd.DataFrame:
    file = root / name
    table = read_csv(file, columns, verbatim=["image_path"])
    table["path"] = _image_paths(table.image_path, root, file)
    own = table.path.map(_nfc)
    table["image_id"] = table.image_id.fillna(own) if "image_id" in columns else own
    for column in QUALITY:
        table[column] = numbers(table[column], file)
    table["leaf"] = table.leaf.fillna(table.category)
    table["source"] = _meant(table.source.fillna("main"), _SOURCE_WORDS, CATALOGUE, file)
    table[BOX] = math.nan
    return check(table[list(CATALOGUE.columns)], CATALOGUE, file)


def _read_queries(root: Path, categories: Collection[str]) -> pd.DataFrame:
    file = root / "queries.csv"
    table = read_csv(file, _QUERIES_CSV, verbatim=["image_path"])
    table["path"] = _image_paths(table.image_path, root, file)
    table["query_id"] = table.path.map(_nfc)
    for row, category in rows_of(table.category):
        if category not in categories:
            raise InputError(
                f"category {category!r} does not occur in catalogue.csv"
                + nearest(category, categories),
                cure="Correct its spelling, leave it empty, or list a product of that category",
                file=file,
                row=row,
            )
    table[BOX] = fractional_boxes(
        pd.DataFrame({side: numbers(table[side], file) for side in BOX}, dtype=float),
        [root / path for path in table.path],
        file=file,
        cure=f"Fill {', '.join(BOX)} with pixels from the top left corner of the upright image, "
        "or leave all four empty",
    )
    table["split"] = _meant(table.split, _SPLIT_WORDS, QUERIES, file)
    if table.split.isna().all():
        table["split"] = _assign_splits(table)
    table = check(table[list(QUERIES.columns)], QUERIES, file)
    for split in SPLITS:
        if not (table.split == split).any():
            raise InputError(
                f"no query is in split {split!r}",
                cure="Give each of train, val and test some rows in the column 'split'; without "
                "that column, list photos of at least three products",
                file=file,
            )
    return table


def _read_pvlog(file: Path, query_ids: Collection[str], image_ids: Collection[str]) -> pd.DataFrame:
    table = read_csv(file, _PVLOG_CSV)
    for column, known, other in (
        ("query_id", query_ids, "queries.csv"),
        ("image_id", image_ids, "catalogue.csv"),
    ):
        table[column] = table[column].map(_tidy)
        for row, name in rows_of(table[column]):
            if name not in known:
                raise InputError(
                    f"{column} {name!r} is no image_path of {other}" + nearest(name, known),
                    cure=f"Write it as in {other}, or drop the row",
                    file=file,
                    row=row,
                )
    table["rank"] = convert(table["rank"], _rank, _expected(PVLOG, "rank"), file)
    table["clicked"] = _meant(table.clicked, _TRUTH, PVLOG, file)
    table["timestamp"] = pd.Timestamp(0) + pd.to_timedelta(table.index, unit="s")
    return check(table[list(PVLOG.columns)], PVLOG, file)


def _assign_splits(queries: pd.DataFrame) -> list[str]:
    """A split per row: products in the order of a hash, the first for testing."""
    groups = [
        f"image {image}" if pd.isna(product) else f"product {product}"
        for image, product in zip(queries.query_id, queries.product_id, strict=True)
    ]
    order = sorted(set(groups), key=lambda group: stable_hash("split", group))
    # Counted, not drawn, so that a small shop has some of each
    n_test = max(1, round(_TEST_SHARE * len(order)))
    n_val = max(1, round(_VAL_SHARE * len(order)))
    splits = ["test"] * n_test + ["val"] * n_val + ["train"] * len(order)
    split_of = dict(zip(order, splits, strict=False))
    return [split_of[group] for group in groups]


def _rank(cell: str) -> int:
    if int(cell) < 1:
        raise ValueError(cell)
    return int(cell)


def _meant(
    cells: pd.Series, words: Mapping[str, Value], schema: DataFrameSchema, file: Path
) -> list[Value | float]:
    """What the words in a column mean, in letters of either case; NaN where empty."""
    return convert(
        cells, lambda cell: words[cell.lower()], _expected(schema, str(cells.name)), file
    )


def _expected(schema: DataFrameSchema, column: str) -> str:
    return str(schema.columns[column].description)


# ---------------------------------------------------------------- paths


def _image_paths(cells: pd.Series, root: Path, file: Path) -> list[str]:
    """Paths from `root` as the disk has them; all cells are filled."""
    names_in = cache(_names_in)
    paths = []
    for row, cell in rows_of(cells):
        path = _on_disk(_tidy(cell), root, names_in)
        if not _is_inside(path, root):
            raise InputError(
                f"image_path {cell!r} is not a relative path inside the folder",
                cure="Copy the image into the folder and write its path from there, with /",
                file=file,
                row=row,
            )
        paths.append(path)
    return paths


def _on_disk(path: str, root: Path, names_in: Callable[[Path], dict[str, str]]) -> str:
    """`path`, or if nothing is there, the one there whose names differ in Unicode form only.

    A Mac or an archive may have made é of two characters in names where a table has one.
    """
    if path.isascii() or os.path.exists(root / path):
        return path
    found = Path()
    for name in PurePosixPath(path).parts:
        found /= names_in(root / found).get(_nfc(name), name)
    return found.as_posix()


def _names_in(folder: Path) -> dict[str, str]:
    """NFC → name of all that is in a folder; none if it cannot be listed."""
    try:
        return {_nfc(name): name for name in os.listdir(folder)}
    except (OSError, ValueError):
        return {}


def _is_inside(path: str, root: Path) -> bool:
    absolute = path.startswith("/") or PureWindowsPath(path).drive
    if absolute or ".." in path.split("/") or "\\" in path or "\0" in path:
        return False
    try:
        (root / path).stat()
    except OSError as error:  # other errors are answered where the picture is read
        if error.errno == errno.ELOOP:
            return False
    return (root / path).resolve().is_relative_to(root)


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _tidy(path: str) -> str:
    """./a//b → a/b."""
    return PurePosixPath(path).as_posix()
