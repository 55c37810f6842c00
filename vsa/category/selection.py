"""Image selection (paper 3.1): which pictures of the catalogue are worth indexing.

Four steps, each on what the one before has left: attributes, image quality, identical pictures,
near-identical pictures. The best seller of each group of duplicates survives, whoever sells it.
A marketplace gains by that: many sellers upload the one picture of a maker. But where two
products truly look alike, the one removed is lost from the gallery; ``same_product`` tells the
two cases apart, so that the price of removal can be measured.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import faiss
import numpy as np
import pandas as pd

from vsa.category.settings import USUAL_SELECTION, SelectionSettings
from vsa.data.descriptors import contrast, perceptual_hash, sharpness, weak_features

VERSION = 1
MISSING, FLAT, BLURRED = "missing attribute", "low quality: flat", "low quality: blurred"
IDENTICAL, NEAR_IDENTICAL = "identical", "near-identical"
REASONS = ("", MISSING, FLAT, BLURRED, IDENTICAL, NEAR_IDENTICAL)
_SEARCH_ROWS = 1024
PIXEL_BYTES, HASH_BYTES = 16, 8  # of a picture's prints
PRINT = np.float16  # of features that are kept: distances stay exact to 0.001


@dataclass(frozen=True)
class Prints:
    """All that selection needs to know of n pictures; they themselves are no longer needed."""

    contrast: np.ndarray  # float32 (n,), see vsa.data.descriptors
    sharpness: np.ndarray  # float32 (n,)
    pixels: np.ndarray  # uint8 (n, 16): digests of the decoded pixels
    hashes: np.ndarray  # uint8 (n, 8), of descriptors.perceptual_hash
    features: np.ndarray  # float32 (n, d) of unit length

    def __getitem__(self, rows: np.ndarray) -> Prints:
        """Those of some rows, as positions or as bool (n,)."""
        return Prints(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    @classmethod
    def joined(cls, parts: Sequence[Prints]) -> Prints:
        """Those of several, at least one, one after the other."""
        columns = cls.__dataclass_fields__
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in columns))


class Texts(Protocol):
    """Texts of which only some will be read."""

    def __getitem__(self, row: int) -> str: ...


@dataclass(frozen=True)
class Present:
    """Pictures that are in a catalogue already: no new one may be a copy of them."""

    image_ids: Texts  # n
    product_ids: Texts  # n
    pixels: np.ndarray  # uint8 (n, 16)
    hashes: np.ndarray  # uint8 (n, 8)
    features: np.ndarray  # float16 (n, d), may be mapped
    counts: np.ndarray  # bool (n,): False for what is not there any more


def take_prints(images: np.ndarray, features: np.ndarray | None = None) -> Prints:
    """What selection needs to know of images, uint8 (n, s, s, 3).

    `features`, float32 (n, d) of unit length, are ``weak_features`` if they are not given.
    """
    digests = [_digest(image) for image in images]
    return Prints(
        contrast(images),
        sharpness(images),
        np.frombuffer(b"".join(digests), np.uint8).reshape(-1, PIXEL_BYTES),
        perceptual_hash(images),
        weak_features(images) if features is None else features,
    )


def select(
    catalogue: pd.DataFrame,
    images: np.ndarray,
    features: np.ndarray | None = None,
    settings: SelectionSettings = USUAL_SELECTION,
) -> pd.DataFrame:
    """Judge each picture of the catalogue, as `select_prints`; see `take_prints` for the others."""
    return select_prints(catalogue, take_prints(images, features), settings)


def select_prints(
    catalogue: pd.DataFrame,
    prints: Prints,
    settings: SelectionSettings = USUAL_SELECTION,
    present: Sequence[Present] = (),
) -> pd.DataFrame:
    """Judge each picture of the catalogue; the result has its rows, in its order.

    Pictures that are `present` already stay whatever comes: a new one that is a copy of theirs is
    left out, however well it sells. Columns of the result:

    - ``image_id``, ``kept`` and ``reason``, which is one of ``REASONS`` and empty where kept;
    - ``duplicate_of``: the picture that stands for a duplicate, else empty;
    - ``same_product``: whether that one shows the same product; missing where not a duplicate;
    - ``group``: number of the group of duplicates, the largest being 0; −1 outside any group, and
      for copies of a picture that is present.

    Identical means equal decoded pixels, by SHA-256, so files that differ in metadata or lossless
    compression count. Near-identical means at most `max_hamming_bits` between perceptual hashes,
    confirmed by features no further apart than `max_distance`. Both limits hold between a removed
    picture and the one that stands for it: chains of small differences do not add up.
    """
    reason = _filter(catalogue, prints, settings)
    rows = np.arange(len(catalogue))
    survivor = rows.copy()
    copied = _copies_of_present(np.flatnonzero(reason == ""), prints, present, settings)
    for row, (copy_reason, _, _) in copied.items():
        reason[row] = copy_reason

    order = _best_first(catalogue)
    order = order[reason[order] == ""]
    first: dict[bytes, int] = {}
    for i in order:
        survivor[i] = first.setdefault(prints.pixels[i].tobytes(), i)
    reason[survivor != rows] = IDENTICAL

    order = order[survivor[order] == order]
    leader = order[_leaders(prints.hashes[order], prints.features[order], settings)]
    reason[order[leader != order]] = NEAR_IDENTICAL
    survivor[order] = leader
    survivor = survivor[survivor]  # copies of a picture follow it to the one that stands for it

    duplicate = survivor != rows
    ids, products = catalogue.image_id.to_numpy(object), catalogue.product_id.to_numpy(object)
    same_product = pd.array(products == products[survivor], dtype="boolean")
    same_product[~duplicate] = pd.NA
    duplicate_of = np.where(duplicate, ids[survivor], "")
    for row, (_, image_id, product_id) in copied.items():
        duplicate_of[row], same_product[row] = image_id, product_id == products[row]
    return pd.DataFrame(
        {
            "image_id": pd.Series(ids, dtype=str),
            "kept": reason == "",
            "reason": pd.Series(reason, dtype=str),
            "duplicate_of": pd.Series(duplicate_of, dtype=str),
            "same_product": same_product,
            "group": _groups(survivor, ids),
        }
    )


def duplicate_clusters(selection: pd.DataFrame) -> list[list[str]]:
    """Image ids of each group of duplicates, largest group first, its survivor first."""
    members = selection[selection.group >= 0]
    members = members.sort_values(["group", "kept", "image_id"], ascending=[True, False, True])
    return [list(ids) for _, ids in members.groupby("group").image_id]


def selection_summary(selection: pd.DataFrame) -> pd.DataFrame:
    """Columns reason, n_images, share, n_other_product: a row per reason, none left out.

    The reason is "kept" for what stays. ``n_other_product`` counts the duplicates of a picture
    of another product.
    """
    groups = selection.groupby("reason")
    n_images = groups.size().reindex(list(REASONS), fill_value=0)
    other = (~selection.same_product).fillna(False).astype(int)
    n_other = other.groupby(selection.reason).sum().reindex(list(REASONS), fill_value=0)
    return pd.DataFrame(
        {
            "reason": ["kept", *REASONS[1:]],
            "n_images": n_images.to_numpy(int),
            "share": n_images.to_numpy(float) / max(len(selection), 1),
            "n_other_product": n_other.to_numpy(int),
        }
    )


def _digest(image: np.ndarray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(image).data).digest()[:PIXEL_BYTES]


def _filter(catalogue: pd.DataFrame, prints: Prints, settings: SelectionSettings) -> np.ndarray:
    """The first reason of each row against it, or an empty text; a price may be unknown."""
    no_category = catalogue.category.fillna("").str.strip() == ""
    conditions = [
        (no_category | (catalogue.price <= 0)).to_numpy(bool),
        prints.contrast < settings.min_contrast,
        prints.sharpness < settings.min_sharpness,
    ]
    return np.select(conditions, [MISSING, FLAT, BLURRED], default="").astype(object)


def _best_first(catalogue: pd.DataFrame) -> np.ndarray:
    """Rows by sales, most first and unknown last; ties by image_id."""
    keys = catalogue[["sales", "image_id"]].reset_index(drop=True)
    return keys.sort_values(["sales", "image_id"], ascending=[False, True]).index.to_numpy()


def _copies_of_present(
    rows: np.ndarray, prints: Prints, present: Sequence[Present], settings: SelectionSettings
) -> dict[int, tuple[str, str, str]]:
    """Row → reason, image and product, of rows that are copies of a picture that is present.

    Of several, it is the one nearest by features.
    """
    nearest: dict[int, tuple[float, str, str, str]] = {}
    for part in present:
        index = faiss.IndexBinaryFlat(8 * HASH_BYTES)
        index.add(np.ascontiguousarray(part.hashes))
        limits, _, found = index.range_search(
            np.ascontiguousarray(prints.hashes[rows]), settings.max_hamming_bits + 1
        )
        for position, row in enumerate(rows.tolist()):
            near = found[limits[position] : limits[position + 1]]
            near = near[part.counts[near]]
            features = part.features[near].astype(np.float32)
            distance = np.linalg.norm(features - prints.features[row], axis=1)
            is_same = (part.pixels[near] == prints.pixels[row]).all(axis=1)
            distance[is_same] = -1.0  # before any that is only similar
            if not len(near) or distance.min() > settings.max_distance:
                continue
            best = int(distance.argmin())
            reason = IDENTICAL if is_same[best] else NEAR_IDENTICAL
            there = int(near[best])
            names = part.image_ids[there], part.product_ids[there]
            candidate = (float(distance[best]), reason, *names)
            nearest[row] = min(nearest.get(row, candidate), candidate)
    return {row: (reason, image, product) for row, (_, reason, image, product) in nearest.items()}


def _leaders(hashes: np.ndarray, features: np.ndarray, settings: SelectionSettings) -> np.ndarray:
    """For pictures in order of merit, the position of the one that stands for each.

    The first that nobody stands for takes in every later one within both limits, and so on.
    """
    leader = np.arange(len(hashes))
    for i, near in _neighbours(hashes, settings.max_hamming_bits, leader):
        later = near[(near > i) & (leader[near] == near)]
        distance = np.linalg.norm(features[later] - features[i], axis=1)
        leader[later[distance <= settings.max_distance]] = i
    return leader


def _neighbours(
    hashes: np.ndarray, max_bits: int, leader: np.ndarray
) -> Iterator[tuple[int, np.ndarray]]:
    """Each picture that still leads itself, with all within `max_bits` of its hash.

    `leader` changes while this runs: a catalogue of duplicates costs one chunk of searches.
    """
    index = faiss.IndexBinaryFlat(64)
    index.add(hashes)
    for start in range(0, len(hashes), _SEARCH_ROWS):
        rows = np.arange(start, min(start + _SEARCH_ROWS, len(hashes)))
        rows = rows[leader[rows] == rows]
        limits, _, found = index.range_search(hashes[rows], max_bits + 1)  # faiss: below, not at
        for position, i in enumerate(rows):
            if leader[i] == i:
                yield int(i), found[limits[position] : limits[position + 1]]


def _groups(survivor: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Number the groups of two and more, by size, then by the survivor's id; −1 for the rest."""
    sizes = pd.Series(survivor).value_counts()
    groups = pd.DataFrame({"size": sizes, "id": ids[sizes.index]})[sizes > 1]
    groups = groups.sort_values(["size", "id"], ascending=[False, True])
    number = pd.Series(np.arange(len(groups)), index=groups.index)
    return pd.Series(survivor).map(number).fillna(-1).to_numpy(np.int64)
