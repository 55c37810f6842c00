"""``vpr2023``: shoppers' photos with boxes against sellers' pictures.

The development set of AIcrowd's *Visual Product Recognition Challenge 2023*, in the challenge's own
layout: ``gallery.csv``, ``queries.csv`` and the pictures that they list. Who has the archive can
use it; nothing here downloads it, and its pictures may not be shown.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from vsa.data.boxes import fractional_boxes
from vsa.data.csv_table import convert, numbers, read_csv, rows_of
from vsa.data.files import in_threads
from vsa.data.git_tree import LITTER
from vsa.data.schema import BOX, CATALOGUE, QUERIES, Dataset, check, complete
from vsa.data.stable import stable_position, stable_share
from vsa.runtime.errors import InputError
from vsa.runtime.paths import data_dir

NAME = "vpr2023"
FOLDER = "development_test_data"  # as the archive names it
CHALLENGE = "Visual Product Recognition Challenge 2023"
SOURCE = "https://www.aicrowd.com/challenges/visual-product-recognition-challenge-2023"
LICENCE = "none found: for measurement only, no picture may be redistributed"

_GALLERY_CSV = ("seller_img_id", "img_path", "product_id")
_SHARED = ["path", "product_id", "category"]  # columns that both tables get
_PIXELS = ("bbox_x", "bbox_y", "bbox_w", "bbox_h")
_QUERIES_CSV = ("user_img_id", "img_path", *_PIXELS, "product_id")
_UNPACK = "Unpack the archive anew"
_TEST_SHARE, _VAL_SHARE = 0.25, 0.15  # of the products; the rest is for training


@dataclass(frozen=True)
class Edition:
    """A copy of the archive that is known, by its numbers of pictures, photos and products."""

    what: str
    counts: tuple[int, int, int]
    sha256: str = ""  # as of `checksum`, where it is known
    caveat: str = ""  # what a sceptic should know of it

    def __str__(self) -> str:
        n_pictures, n_photos, n_products = self.counts
        return (
            f"{self.what} ({n_pictures:,} pictures, {n_photos:,} photos, {n_products:,} products)"
        )


WHOLE = Edition("the whole development set", (1067, 1935, 609))
PART = Edition(
    "a part of the development set",
    (894, 1610, 510),
    "e83acd2e04174ebc09d3b863507e02948dd86d35c59586d3fcbf45704e8d6a58",
    """\
- It is a part of the challenge's set, and its pictures were made smaller, to at most 400 pixels a
  side: there are fewer wrong products to find, and less of each to see.
""",
)
EDITIONS = (WHOLE, PART)
_UNKNOWN_CAVEAT = """\
- This is neither the whole set nor the part of it that is known: numbers measured on it compare
  with no others.
"""

_DATASHEET = """\
Photos by shoppers, each with a box around the product, against the pictures that sellers list: the
paper's very situation. Here are {n_pictures:,} sellers' pictures and {n_photos:,} photos;
{n_asked:,} of {n_products:,} products for sale are in photos, and a box covers {box_share:.0%} of
its photo on average. It is {what} of the {challenge}; {verified}.

Products are parted into training, validation and test by a hash of their ids, about 60, 15 and 25
of 100, so that a product is in the same split in every copy of the set.

**What a sceptic should distrust.**
- No licence was found. The set is here for measuring only: its pictures may not be redistributed,
  so no figure of a notebook or a report shows one.
- Categories were guessed from product ids: below 1000 balls and pumps, below 4500 sunglasses, all
  others women's shoes. That was seen on samples; nobody has labelled the pictures.
- mAP with the box given is the challenge's measure. It is the same measure, not the same test: the
  challenge was judged on other, hidden pictures, and here only test products are asked for.
- Products are few, and alike: the intervals say how few.
- There are no clicks and no quality signals; both are simulated.
{caveat}"""


def load_vpr2023(max_images_per_table: int | None = None) -> Dataset:
    """Tables of the archive in ``$VSA_DATA_DIR/vpr2023``; no picture is decoded yet.

    ``gallery.csv`` is the catalogue, ``queries.csv`` are the queries, with their boxes; ids are
    those of the archive. ``title``, ``datasheet`` and ``notes`` say which edition of the archive it
    is, the challenge's whole set or a part, and whether its checksum was verified.

    Parameters
    ----------
    max_images_per_table : of more, whole products are sampled, always the same, with every category
        in every split; each query's product stays for sale.

    Raises
    ------
    InputError, naming file and row, for an archive that is not there, not complete, or altered.
    """
    root = data_dir() / NAME / FOLDER
    _require(root)
    catalogue, queries = _read_gallery(root), _read_queries(root)
    _require_for_sale(catalogue, queries, root / "queries.csv")
    edition, verified = _which(root, catalogue, queries)
    warning = "" if edition in EDITIONS else "warning: "
    datasheet = _datasheet(queries, edition, verified)
    if max_images_per_table is not None:
        kept = _sampled_products(catalogue, queries, max_images_per_table)
        catalogue, queries = (_of(table, kept) for table in (catalogue, queries))
    return Dataset(
        name=NAME,
        root=root,
        catalogue=catalogue,
        queries=queries,
        title=f"{CHALLENGE}, {edition}",
        source=SOURCE,
        licence=LICENCE,
        datasheet=datasheet,
        notes=[f"{warning}{NAME} is here {edition}; {verified}"],
        may_show_pictures=False,
    )


def category_of(product_id: str) -> str:
    """The category of a product, guessed from its number."""
    number = int(product_id)
    if number < 1000:
        return "balls and pumps"
    return "sunglasses" if number < 4500 else "women's shoes"


def split_of(product_id: str) -> str:
    """The split of a product, by a hash of its id: whichever others there are, it is the same."""
    share = stable_share("split", product_id)
    return "test" if share < _TEST_SHARE else "val" if share < _TEST_SHARE + _VAL_SHARE else "train"


# ---------------------------------------------------------------- the archive


def _require(root: Path) -> None:
    """Raise InputError unless both tables are there."""
    if not root.is_dir():
        raise InputError(
            f"the data set {NAME!r} is not there, and cannot be downloaded from here",
            cure=f"Get the development set of AIcrowd's {CHALLENGE} ({SOURCE}), and unpack it so "
            "that gallery.csv and queries.csv lie here, or set VSA_DATA_DIR to the folder that has "
            f"{NAME}/{FOLDER}",
            file=root,
        )
    for name in ("gallery.csv", "queries.csv"):
        if not (root / name).is_file():
            raise InputError("the archive lacks this table", cure=_UNPACK, file=root / name)


def _read_gallery(root: Path) -> pd.DataFrame:
    file = root / "gallery.csv"
    table = _read(file, _GALLERY_CSV)
    table["image_id"] = "seller-" + table.seller_img_id
    return check(complete(table[["image_id", *_SHARED]], CATALOGUE), CATALOGUE, file)


def _read_queries(root: Path) -> pd.DataFrame:
    file = root / "queries.csv"
    table = _read(file, _QUERIES_CSV)
    x, y, width, height = (pd.Series(numbers(table[side], file), dtype=float) for side in _PIXELS)
    corners = pd.concat([x, y, x + width, y + height], axis=1, keys=BOX)
    pictures = [root / path for path in table.path]
    table[BOX] = fractional_boxes(corners, pictures, file=file, cure=_UNPACK)
    table["query_id"] = "user-" + table.user_img_id
    table["split"] = table.product_id.map(split_of)
    return check(table[list(QUERIES.columns)], QUERIES, file)


def _read(file: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """A table of the archive, with `_SHARED`; raises InputError for a picture that is not there."""
    table = read_csv(file, dict.fromkeys(columns, True), verbatim=["img_path"])
    table["path"] = table.img_path
    products = convert(table.product_id, int, "a whole number", file)
    table["product_id"] = pd.Series(products).astype(str)
    table["category"] = table.product_id.map(category_of)
    is_there = [(file.parent / path).is_file() for path in table.path]
    if not all(is_there):
        row = is_there.index(False)
        raise InputError(
            f"{table.path[row]} is not there; of {len(table):,} pictures listed, "
            f"{len(table) - sum(is_there):,} are missing",
            cure=f"The archive is incomplete. {_UNPACK}",
            file=file,
            row=row + 2,
        )
    return table


def _require_for_sale(catalogue: pd.DataFrame, queries: pd.DataFrame, file: Path) -> None:
    offered = set(catalogue.product_id)
    for row, product in rows_of(queries.product_id):
        if product not in offered:
            raise InputError(
                f"product_id {product} is not in gallery.csv", cure=_UNPACK, file=file, row=row
            )


# ---------------------------------------------------------------- which one it is


def _which(root: Path, catalogue: pd.DataFrame, queries: pd.DataFrame) -> tuple[Edition, str]:
    """The edition of an archive, and in words whether its bytes were verified.

    Raises InputError if they are not those of the edition that has these counts.
    """
    counts = len(catalogue), len(queries), catalogue.product_id.nunique()
    edition = next((known for known in EDITIONS if known.counts == counts), None)
    if edition is None:
        edition = Edition("an unknown copy of the development set", counts, caveat=_UNKNOWN_CAVEAT)
    if not edition.sha256:
        return edition, "not verified, for no checksum of it is known"
    if root not in _verified:
        if (found := checksum(root)) != edition.sha256:
            raise InputError(
                f"the archive has as many pictures and photos as {edition.what} that is known, but "
                f"was altered: its checksum is {found}, not {edition.sha256}",
                cure=_UNPACK,
                file=root,
            )
        _verified.add(root)
    return edition, "its checksum was verified"


_verified: set[Path] = set()  # folders that this process need not read again


def checksum(root: Path) -> str:
    """SHA-256 of the names and bytes of all files in the archive's folder, 64 hex digits.

    What ``find development_test_data -type f | sort | xargs sha256sum | sha256sum`` prints above
    it, with names in the order of their bytes; litter of file managers does not count.
    """
    files = {
        f"{FOLDER}/{path.relative_to(root).as_posix()}": path
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink() and path.name not in LITTER
    }
    names = sorted(files)
    digests = in_threads(_sha256, [files[name] for name in names], f"verify {NAME}")
    lines = [f"{digest}  {name}\n" for digest, name in zip(digests, names, strict=True)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _sha256(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _datasheet(queries: pd.DataFrame, edition: Edition, verified: str) -> str:
    area = (queries.x_max - queries.x_min) * (queries.y_max - queries.y_min)
    n_pictures, n_photos, n_products = edition.counts
    return _DATASHEET.format(
        n_pictures=n_pictures,
        n_photos=n_photos,
        n_asked=queries.product_id.nunique(),
        n_products=n_products,
        box_share=area.mean(),
        what=edition.what,
        challenge=CHALLENGE,
        verified=verified,
        caveat=edition.caveat,
    )


# ---------------------------------------------------------------- a sample


def _sampled_products(catalogue: pd.DataFrame, queries: pd.DataFrame, n_max: int) -> set[str]:
    """Products of which at most `n_max` pictures and as many photos are there.

    Splits and categories keep their proportions, and one product each, so more than `n_max`
    remain where that is little. What nobody asks for is a split of its own.
    """
    products = catalogue.groupby("product_id").agg(
        category=("category", "first"), n_pictures=("path", "size")
    )
    products["n_photos"] = queries.groupby("product_id").size()
    products = products.fillna({"n_photos": 0}).reset_index()
    strata = ["split", "category"]
    is_asked = products.n_photos > 0
    products["split"] = products.product_id.map(split_of).where(is_asked, "")
    position = stable_position(products, strata, "product_id")
    size = products.groupby(strata).product_id.transform("size")
    # Position 0 has share 0, so the first product of each stratum comes before all others
    products["share"] = position / size
    products = products.sort_values(["share", "product_id"])
    n_rows = products[["n_pictures", "n_photos"]].cumsum().max(axis=1)
    return set(products.product_id[(n_rows <= n_max) | (products.share == 0)])


def _of(table: pd.DataFrame, products: set[str]) -> pd.DataFrame:
    return table[table.product_id.isin(products)].reset_index(drop=True)
