"""One's own shop: a folder with ``catalogue.csv``, ``queries.csv``, images, perhaps a click log.

Every mistake is reported with file, row (the header is row 1) and cure; nothing is guessed
from a file that contradicts itself.
"""

from __future__ import annotations

import errno
import math
import warnings
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path, PurePosixPath, PureWindowsPath

import pandas as pd
from PIL import ExifTags, Image

from vsa.data.csv_table import convert, numbers, read_csv, require, require_unique, rows_of
from vsa.data.schema import BOX, CATALOGUE, PVLOG, QUALITY, QUERIES, SPLITS, Dataset, check
from vsa.data.stable import stable_hash
from vsa.runtime.errors import InputError

# column → whether it must be there
_CATALOGUE_CSV = {
    **dict.fromkeys(["image_path", "product_id", "category"], True),
    **dict.fromkeys(["leaf", "source", *QUALITY], False),
}
_QUERIES_CSV = {
    "image_path": True,
    **dict.fromkeys(["product_id", "category", *BOX, "split"], False),
}
_PVLOG_CSV = dict.fromkeys(["session_id", "query_id", "rank", "image_id", "clicked"], True)
_TRUTH = {"1": True, "true": True, "0": False, "false": False}
_TEST_SHARE, _VAL_SHARE = 0.25, 0.15  # the rest is for training
_EXIF_SIDEWAYS = (5, 6, 7, 8)  # orientations that exchange width and height


def load_folder(path: str | Path) -> Dataset:
    """Tables of the shop in folder `path`.

    ``image_path`` values are the ids. Boxes come in pixels of the image as it is seen, after
    EXIF rotation, and leave as fractions. Without a ``split`` column 60 % of the products are
    for training, 15 % for validation and 25 % for testing, by a stable hash of the product (of
    the image where the product is unknown), so that the splits are disjoint by product. The log
    has no times: each of its rows is stamped one second after the row before, from 1970-01-01.

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
    return Dataset(
        name="folder",
        root=root,
        catalogue=catalogue,
        queries=queries,
        rejected=pd.DataFrame(columns=["table", "id", "path", "reason"], dtype="str"),
        pvlog=pvlog,
        title=root.name,
        source=f"the folder {root.name}",
        licence="not stated",
        datasheet=f"Pictures and tables of one's own, from the folder `{root.name}`.",
        has_identities=bool(queries.product_id.dropna().isin(catalogue.product_id).any()),
    )


# ---------------------------------------------------------------- the three tables


def _read_catalogue(root: Path) -> pd.DataFrame:
    file = root / "catalogue.csv"
    table = read_csv(file, _CATALOGUE_CSV)
    require(table, ["image_path", "product_id", "category"], file)
    table["path"] = table["image_id"] = _image_paths(table.image_path, root, file)
    require_unique(table, ["image_id"], file)
    for column in QUALITY:
        table[column] = numbers(table[column], file)
    table["leaf"] = table.leaf.fillna(table.category)
    table["source"] = table.source.fillna("main")
    table[BOX] = math.nan
    return check(table[list(CATALOGUE.columns)], CATALOGUE, file)


def _read_queries(root: Path, categories: Collection[str]) -> pd.DataFrame:
    file = root / "queries.csv"
    table = read_csv(file, _QUERIES_CSV)
    require(table, ["image_path"], file)
    table["path"] = table["query_id"] = _image_paths(table.image_path, root, file)
    require_unique(table, ["query_id"], file)
    for row, category in rows_of(table.category):
        if category not in categories:
            raise InputError(
                f"category {category!r} does not occur in catalogue.csv",
                cure="Correct its spelling, leave it empty, or list a product of that category",
                file=file,
                row=row,
            )
    table[BOX] = _fractional_boxes(table, root, file)
    if table.split.isna().all():
        table["split"] = _assign_splits(table)
    require(table, ["split"], file)
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
    require(table, list(_PVLOG_CSV), file)
    for column, known, other in (
        ("query_id", query_ids, "queries.csv"),
        ("image_id", image_ids, "catalogue.csv"),
    ):
        table[column] = table[column].map(_tidy)
        for row, name in rows_of(table[column]):
            if name not in known:
                raise InputError(
                    f"{column} {name!r} is no image_path of {other}",
                    cure=f"Write it as in {other}, or drop the row",
                    file=file,
                    row=row,
                )
    table["rank"] = convert(table["rank"], _rank, "a whole number, 1 for the first result", file)
    table["clicked"] = convert(table.clicked, _truth, "1 or 0, true or false", file)
    require_unique(table, ["session_id", "rank"], file)
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


def _truth(cell: str) -> bool:
    if cell.lower() not in _TRUTH:
        raise ValueError(cell)
    return _TRUTH[cell.lower()]


# ---------------------------------------------------------------- paths


def _image_paths(cells: pd.Series, root: Path, file: Path) -> list[str]:
    for row, cell in rows_of(cells):
        if not _is_inside(cell, root):
            raise InputError(
                f"image_path {cell!r} is not a relative path inside the folder",
                cure="Copy the image into the folder and write its path from there, with /",
                file=file,
                row=row,
            )
    return [_tidy(cell) for cell in cells]


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


def _tidy(path: str) -> str:
    """./a//b → a/b."""
    return PurePosixPath(path).as_posix()


# ---------------------------------------------------------------- boxes


def _fractional_boxes(queries: pd.DataFrame, root: Path, file: Path) -> pd.DataFrame:
    """Boxes in pixels → fractions of width and height, NaN where there is none."""
    boxes = pd.DataFrame({side: numbers(queries[side], file) for side in BOX}, dtype=float)
    for i, sides in enumerate(boxes.itertuples(index=False)):
        if not all(math.isnan(side) for side in sides):
            problem, fractions = _as_fractions(sides, root / queries.path.iloc[i])
            if problem:
                raise InputError(
                    f"the box {', '.join(f'{side:g}' for side in sides)} {problem}",
                    cure=f"Fill {', '.join(BOX)} with pixels from the top left corner of the "
                    "upright image, or leave all four empty",
                    file=file,
                    row=i + 2,
                )
            boxes.iloc[i] = fractions
    return boxes


def _as_fractions(sides: tuple[float, ...], path: Path) -> tuple[str, list[float]]:
    """What is wrong with a box, "" if nothing; its fractions, NaN for an unreadable image."""
    none = [math.nan] * len(BOX)
    x_min, y_min, x_max, y_max = sides
    if any(math.isnan(side) for side in sides):
        return "is incomplete", none
    if x_min >= x_max or y_min >= y_max:
        return "has no area", none
    size = _upright_size(path)
    if size is None:
        return "", none
    width, height = size
    if x_min < 0 or y_min < 0 or x_max > width or y_max > height:
        return f"leaves the image of {width} × {height} pixels", none
    return "", [x_min / width, y_min / height, x_max / width, y_max / height]


def _upright_size(path: Path) -> tuple[int, int] | None:
    """Width and height in pixels after EXIF rotation, from the header; None if unreadable."""
    orientation = None
    try:
        if not path.is_file():  # opening a pipe would wait for ever
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                width, height = image.size
                with suppress(Exception):  # damaged EXIF does not spoil the size
                    orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # parsers of hostile bytes raise anything; decoding will say what
        return None
    return (height, width) if orientation in _EXIF_SIDEWAYS else (width, height)
