"""Public data sets that are downloaded: where from, whether they are intact, and their tables.

Neither holds boxes, clicks or quality signals.
"""

from __future__ import annotations

import csv
import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from vsa.data import vpr2023
from vsa.data.git_tree import tree_mismatch
from vsa.data.schema import BOX, QUALITY, Dataset
from vsa.data.stable import stable_position, stable_sample
from vsa.runtime.errors import InputError
from vsa.runtime.paths import data_dir

ARCHIVES = "https://codeload.github.com"


@dataclass(frozen=True)
class PublicDataset:
    """A data set published as a GitHub repository, pinned to a commit."""

    name: str
    title: str
    owner: str
    repository: str
    commit: str
    licence: str
    trees: tuple[tuple[str, str], ...]  # sub-folder that is used, its git tree hash
    datasheet: str  # Markdown: how it is used here, what a sceptic should distrust

    @property
    def folder(self) -> Path:
        return data_dir() / self.repository

    @property
    def source(self) -> str:
        """Address for people, at the pinned commit."""
        return f"https://github.com/{self.owner}/{self.repository}/tree/{self.commit}"

    @property
    def zip_url(self) -> str:
        return f"{ARCHIVES}/{self.owner}/{self.repository}/zip/{self.commit}"


GROCERY = PublicDataset(
    name="grocery",
    title="Grocery Store Dataset (Klasson et al., WACV 2019)",
    owner="marcusklasson",
    repository="GroceryStoreDataset",
    commit="fc80ba90f803d79d0383df52c5a4ac5de99ff6fc",
    licence="MIT",
    trees=(("dataset", "e7756d505f53e3eef89ae1ee97f3a799a9885475"),),
    datasheet="""\
Photos taken with a phone in grocery stores, 81 fine classes in 43 coarse ones, and one clean
catalogue picture per fine class. Here the fine class is the product and the coarse class the
category. The catalogue holds the 81 clean pictures and half of the training photos, as if shoppers
had attached them to a listing; the other half are training queries.

**What a sceptic should distrust.**
- Only packages are identical products; fruit and vegetables are varieties, so "the identical item"
  is a looser notion here than in a shop.
- The same 81 products occur in every split. Nothing here says how well unseen products are found.
- Photos were taken in series, in few shops: neighbours in the reference set can show the very same
  crate as a training photo. Searching among them is easier than among a stranger's photos.
- Each photo fills the frame with its subject, so there is little to localise.
""",
)
CLOTHING = PublicDataset(
    name="clothing",
    title="Clothing dataset, small (Alexey Grigorev)",
    owner="alexeygrigorev",
    repository="clothing-dataset-small",
    commit="11961516512414bf9f6c150a832cfd21b54a6b54",
    licence="CC0 1.0",
    trees=(
        ("train", "cc90b85bb4b32560a4316e6f6031b73a17860e97"),
        ("validation", "d64391f0dd7a926616fd01c77a65d4b9d3fc78d9"),
        ("test", "4244b1e77de7016ecac9b89f87c993381f0a448d"),
    ),
    datasheet="""\
Photos of clothes taken at home by volunteers, ten categories. There are no identities, so this
data set can judge category prediction only. Half of the training photos play the catalogue, the
other half are training queries.

**What a sceptic should distrust.**
- Catalogue and queries come from the same cameras and rooms: there is no gap to bridge.
- Categories are broad and balanced by hand; long-sleeved and other shirts, or skirts and dresses,
  shade into each other.
- It is small: the intervals say how small.
""",
)
PUBLIC = {spec.name: spec for spec in (GROCERY, CLOTHING)}


# ---------------------------------------------------------------- presence


def verify(spec: PublicDataset) -> Path:
    """Return the folder of an intact data set; raises InputError naming folder and cure.

    Takes a fraction of a second per 100 MB; a folder found intact is not read again by this
    process.
    """
    folder = spec.folder
    get = f"make data DATASET={spec.name}"
    elsewhere = "set VSA_DATA_DIR to the folder that holds it"
    if not folder.is_dir():
        raise InputError(
            f"the data set {spec.name!r} is not there",
            cure=f"Run `{get}` to download it, or {elsewhere}",
            file=folder,
        )
    if mismatch := _mismatch(folder, spec.trees):
        raise InputError(
            f"the data set {spec.name!r} is not as published at {spec.source}: {mismatch}",
            cure=f"Move the folder away and run `{get}`, or {elsewhere}",
            file=folder,
        )
    return folder


_intact: set[tuple[Path, tuple[tuple[str, str], ...]]] = set()


def _mismatch(folder: Path, trees: tuple[tuple[str, str], ...]) -> str:
    if (folder, trees) in _intact:
        return ""
    mismatch = tree_mismatch(folder, dict(trees))
    if not mismatch:
        _intact.add((folder, trees))
    return mismatch


def download_dataset(name: str) -> Path:
    """Download, verify and unpack a public data set unless it is complete; return its folder.

    Says on standard error what it does. Raises InputError for an unknown name, a failed
    download, a folder of that name which holds something else, or one that users bring
    themselves and that is not there.
    """
    if name == vpr2023.NAME:
        dataset = vpr2023.load_vpr2023()
        for line in (f"already complete in {dataset.root}", *dataset.notes):
            print(f"{name}: {line}", file=sys.stderr)
        return dataset.root
    if name not in PUBLIC:
        raise InputError(
            f"there is nothing to download for {name!r}",
            cure=f"Choose one of {', '.join([*PUBLIC, vpr2023.NAME])}",
        )
    spec = PUBLIC[name]
    if spec.folder.is_dir():
        print(f"{name}: already complete in {verify(spec)}", file=sys.stderr)
        return spec.folder
    print(
        f"{name}: downloading {spec.title}, licence {spec.licence}, from {spec.source}",
        file=sys.stderr,
        flush=True,
    )
    from vsa.data.fetch import fetch_repository  # its client of the network comes with the study

    return fetch_repository(spec.zip_url, spec.commit, spec.folder, dict(spec.trees))


# ---------------------------------------------------------------- tables


def load_public(name: str, max_images_per_table: int | None = None) -> Dataset:
    """Tables of a public data set, with every picture listed and none opened yet.

    Of more than that many images, a sample is taken, always the same, with every category, and
    every leaf and source of the catalogue.
    """
    spec = PUBLIC[name]
    dataset = _LOADERS[name](spec, verify(spec))
    if max_images_per_table is None:
        return dataset
    catalogue = stable_sample(
        dataset.catalogue, max_images_per_table, ["category", "leaf", "source"], name="image_id"
    )
    queries = stable_sample(
        dataset.queries, max_images_per_table, ["split", "category"], name="query_id"
    )
    return dataclasses.replace(dataset, catalogue=catalogue, queries=queries)


def _grocery(spec: PublicDataset, root: Path) -> Dataset:
    """81 products in 43 categories: phone photos in shops against clean catalogue pictures.

    The catalogue is the 81 iconic images ("main") and half of each product's training photos,
    as if shoppers had attached them to the listing ("review"). The other half, and the
    validation and test photos, are queries. All splits show the same 81 products.
    """
    with open(root / "dataset" / "classes.csv", encoding="utf-8", newline="") as stream:
        classes = pd.DataFrame(list(csv.reader(stream))[1:]).iloc[:, [0, 1, 2, 4]]
    classes.columns = pd.Index(["product_id", "class_id", "category", "iconic"])
    main = classes.assign(path="dataset" + classes.iconic, source="main", split="catalogue")
    photos = pd.concat([_grocery_photos(root, split) for split in ("train", "val", "test")]).merge(
        classes, on="class_id", validate="many_to_one"
    )
    pictures = pd.concat([main, photos], ignore_index=True)
    pictures["image_id"] = [
        Path(path).stem if split == "catalogue" else f"{split}-{Path(path).stem}"
        for path, split in zip(pictures.path, pictures.split, strict=True)
    ]
    listed = (pictures.split == "catalogue") | _half_of_training(pictures, "product_id")
    catalogue = pictures[listed].assign(leaf=pictures.product_id)
    return _dataset(spec, root, catalogue, pictures[~listed], has_identities=True)


def _grocery_photos(root: Path, split: str) -> pd.DataFrame:
    lines = (root / "dataset" / f"{split}.txt").read_text("utf-8").splitlines()
    rows = [line.split(", ") for line in lines]
    photos = pd.DataFrame(rows, columns=["path", "class_id", "coarse_id"])
    return photos.assign(path="dataset/" + photos.path, source="review", split=split)


def _clothing(spec: PublicDataset, root: Path) -> Dataset:
    """3,781 photos taken at home in 10 categories; no identities.

    Half of each category's training photos are the catalogue ("review"), each its own product;
    the other half, and the validation and test photos, are queries of no known product.
    """
    splits = {"train": "train", "validation": "val", "test": "test"}
    pictures = pd.DataFrame(
        [
            (path.relative_to(root).as_posix(), path.parent.name, split)
            for folder, split in splits.items()
            for path in sorted((root / folder).glob("*/*.jpg"))
        ],
        columns=["path", "category", "split"],
    )
    pictures["image_id"] = [
        f"{category}-{Path(path).stem.split('-')[0]}"  # 8 hex digits of the UUID tell all apart
        for path, category in zip(pictures.path, pictures.category, strict=True)
    ]
    pictures["product_id"] = pd.Series(None, index=pictures.index, dtype="str")
    listed = _half_of_training(pictures, "category")
    catalogue = pictures[listed].assign(
        product_id=pictures.image_id, leaf=pictures.category, source="review"
    )
    return _dataset(spec, root, catalogue, pictures[~listed], has_identities=False)


_LOADERS: dict[str, Callable[[PublicDataset, Path], Dataset]] = {
    "grocery": _grocery,
    "clothing": _clothing,
}


def _half_of_training(pictures: pd.DataFrame, stratum: str) -> pd.Series:
    """True for half of each stratum's training photos, chosen by a stable hash of the path."""
    position = stable_position(pictures, ["split", stratum], "path")
    return (pictures.split == "train") & (position % 2 == 1)


def _dataset(
    spec: PublicDataset,
    root: Path,
    catalogue: pd.DataFrame,
    queries: pd.DataFrame,
    *,
    has_identities: bool,
) -> Dataset:
    unknown = dict.fromkeys([*QUALITY, *BOX], float("nan"))
    listing = ["image_id", "product_id", "category", "leaf", "source", "path", *QUALITY, *BOX]
    asking = ["query_id", "path", "product_id", "category", *BOX, "split"]
    queries = queries.rename(columns={"image_id": "query_id"})
    return Dataset(
        name=spec.name,
        root=root,
        catalogue=catalogue.assign(**unknown)[listing].reset_index(drop=True),
        queries=queries.assign(**unknown)[asking].reset_index(drop=True),
        title=spec.title,
        source=spec.source,
        licence=spec.licence,
        datasheet=spec.datasheet,
        has_identities=has_identities,
    )
