"""An index over a folder of one's own pictures, for the command line.

Features are an embedder's, by default ImageNet's (MobileNetV2 at 224 pixels): what a shop has
before it has clicks. The index keeps which it was: that one describes what is added or asked for.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from vsa.data import decoding, images
from vsa.data.boxes import check_box, require_pixels
from vsa.data.crops import crop_square, needed_px, with_margin
from vsa.data.decoding import FORMATS, ImageError, Source, decode
from vsa.data.images import load_image
from vsa.data.listing import SKIPPED, SUFFIXES, UNREADABLE, Listing, as_text, list_pictures
from vsa.index.build import replaced_index, write_index
from vsa.index.index import Index
from vsa.index.model import change_facts
from vsa.index.tuning import choose_params
from vsa.models.embedder import Embedder, is_known
from vsa.runtime.atomic import atomic_file, settled
from vsa.runtime.checked import flush
from vsa.runtime.checked_table import read_checked_table, write_checked_table
from vsa.runtime.errors import InputError
from vsa.runtime.fingerprint import Versions, key, libraries
from vsa.runtime.progress import progress

DEFAULT_EMBEDDER = "mobilenet_v2"
_CHUNK = 256
_NAMES, LEFT_OUT = "pictures.parquet", "left-out.csv"
_COLUMNS = ["id", "name", "stamp", "digest", "source"]
_N_TUNING = 50
_VERSIONS: Versions = {
    "decoding": decoding.VERSION,
    "squares": images.VERSION,
}


@dataclass(frozen=True)
class Taken:
    """What became of everything below a folder."""

    counts: dict[str, int]  # added, replaced, unchanged, unreadable, skipped
    left_out: pd.DataFrame  # name, what (skipped or unreadable), reason

    @property
    def unreadable(self) -> pd.DataFrame:
        """The rows of `left_out` that should have been pictures."""
        return self.left_out[self.left_out.what == UNREADABLE]


class Pictures:
    """Names, and features, of the pictures in an index."""

    def __init__(self, folder: str | Path, *, writable: bool = False) -> None:
        """Open an index that `build` made; raises InputError if there is none."""
        self.index = Index.open(folder, writable=writable)
        self.folder = settled(Path(folder))
        self._read: tuple[object, pd.DataFrame] | None = None
        try:
            facts = self.index.facts
            if _NAMES not in facts.get("tables", ()) or "embedder" not in facts:
                raise InputError(
                    "this index is not one of pictures, or of an earlier version of vsa",
                    cure="Make one with `vsa index build INDEX PICTURES`",
                    file=folder,
                )
            self._table()
        except BaseException:
            self.index.close()
            raise

    def __enter__(self) -> Pictures:
        return self

    def __exit__(self, *_: object) -> None:
        self.index.close()

    @cached_property
    def embedder(self) -> Embedder:
        """The embedder that made the index; raises InputError if it is not to be had any more."""
        made_by = self.index.facts["embedder"]
        name = made_by["name"]
        if not is_known(name):
            raise InputError(
                f"the index was made by the embedder {name!r}, which is not there",
                cure="Name the file that registers it in VSA_PLUGINS, or install its package; or "
                "build the index again with another one",
                file=self.folder,
            )
        found = Embedder.from_pretrained(name)
        known, wanted = self.index.dim, f"{made_by['identity']}, {made_by['dim']}-d"
        if (found.identity, found.dim) != (made_by["identity"], known):
            raise InputError(
                f"the embedder {name!r} is not the one that made the index: "
                f"{found.identity}, {found.dim}-d, and not {wanted}",
                cure="Bring back its weights, its source and its settings, or build the index "
                "again: features of two embedders cannot be compared",
                file=self.folder,
            )
        return found

    def search(
        self, photo: Source, k: int = 10, *, box: Sequence[float] | None = None
    ) -> pd.DataFrame:
        """The `k` most similar pictures: columns ``name`` and ``similarity``.

        With `box`, x_min, y_min, x_max, y_max as shares of the photo's sides, those most similar
        to what the box shows, with a margin. Raises ImageError, and InputError for a box that is
        none.
        """
        if box is None:
            return self.search_batch([photo], k)[0]
        checked, size_px = check_box(box), self.embedder.image_px
        decoded = decode(photo, min_px=needed_px(size_px))
        require_pixels(checked, photo, decoded)
        crop = crop_square(decoded, with_margin(checked[None])[0], size_px)
        return self._pages(self.embedder.embed(crop[None]), k)[0]

    def search_batch(self, photos: Sequence[Source], k: int = 10) -> list[pd.DataFrame]:
        """As `search`, for many photos: decoded on all cores, and described together."""
        return self._pages(self.embedder(photos), k)

    def _pages(self, features: np.ndarray, k: int) -> list[pd.DataFrame]:
        similarity, ids = self.index.search(features, k)
        name_of = self._table().set_index("id").name  # written before the items
        found = []
        for row, of_photo in zip(ids, similarity, strict=True):
            names = name_of.reindex(row).to_numpy()
            page = pd.DataFrame({"name": names, "similarity": of_photo})
            found.append(page.dropna(ignore_index=True))
        return found

    def add(self, pictures: str | Path, *, replace: bool = False) -> Taken:
        """Add what is new in a folder, and replace what has changed there since.

        A picture that was only moved or touched is left as it is. Raises InputError, and changes
        nothing, if another folder's picture goes by the same name, unless `replace` says that
        those of this folder are to take their places.
        """
        self.index.require_writable()
        embedder = self.embedder
        found, table = list_pictures(pictures), self._table().copy()
        listed = found.pictures
        known = table.set_index("name").reindex(listed.name)
        source = as_text(os.fsencode(found.folder))
        is_there = self.index.current().contains(listed.id.to_numpy(np.int64))
        same = (known.stamp.to_numpy() == listed.stamp.to_numpy()) & is_there
        digests = dict(zip(known.index[is_there], known.digest[is_there], strict=True))
        if not replace:
            self._refuse_clashes(listed[(is_there & (known.source != source)).to_numpy()], digests)
        table.loc[table.name.isin(listed.name[same]), "source"] = source  # it may have been moved
        work = _Work(embedder, source, digests)
        fresh, features, touched, unreadable = work.describe(listed[~same])
        ids = fresh.id.to_numpy(np.int64)
        old = self.index.current().contains(ids)
        others = table[~table.id.isin([*ids, *touched.id])]
        # a name without its stamp comes first, and is taken up again if the items do not follow
        self._write([others, touched, fresh.assign(stamp="", digest="")])
        for call, chosen in ((self.index.add, ~old), (self.index.update, old)):
            places = np.flatnonzero(chosen)
            for start in range(0, len(places), _CHUNK):
                part = places[start : start + _CHUNK]
                call(features[part], ids[part])
        self._write([others, touched, fresh])
        n_same = int(same.sum()) + len(touched)
        taken = _taken(found, unreadable, int((~old).sum()), int(old.sum()), n_same)
        with atomic_file(self.folder / LEFT_OUT, make_parents=False) as draft:
            taken.left_out.to_csv(draft, index=False)
        return taken

    def delete(self, names: Sequence[str]) -> None:
        """Remove pictures by name; raises InputError, and removes none, if one is unknown."""
        table = self._table()
        unknown = sorted(set(names) - set(table.name))
        if unknown:
            raise InputError(
                f"the index has no picture {unknown[0]!r}", cure="Names are as `vsa search` shows"
            )
        gone = table.name.isin(names)
        ids = table.id[gone].to_numpy(np.int64)
        self.index.remove(ids[self.index.current().contains(ids)])
        self._write([table[~gone]])

    def _refuse_clashes(self, listed: pd.DataFrame, digests: Mapping[str, str]) -> None:
        """Raise InputError if a picture of another folder has a name of these, and is another."""
        clashes = []
        for name, path in zip(listed.name, listed.path, strict=True):
            with suppress(ImageError):  # one that cannot be read takes nobody's place
                if _digest(_content(path)) != digests.get(name):
                    clashes.append(name)
        if clashes:
            where = self._table().set_index("name").source.get(clashes[0])
            raise InputError(
                f"{len(clashes)} names are those of pictures of {where}, as {clashes[0]!r}",
                cure="Put both folders into one and add that; or, if these are to take the places "
                "of those, say --replace",
                file=self.folder,
            )

    def _table(self) -> pd.DataFrame:
        """The names, read again when another process has changed them."""
        path = self.folder / _NAMES
        try:
            status = path.stat()
        except OSError:
            state: object = None
        else:
            state = status.st_ino, status.st_mtime_ns, status.st_size
        if self._read is None or self._read[0] != state:
            self.index.require_place()  # or these are names of another index
            self._read = state, read_checked_table(path)
        return self._read[1]

    def _write(self, parts: Sequence[pd.DataFrame]) -> None:
        self.index.require_writable()
        table = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
        with atomic_file(self.folder / _NAMES, make_parents=False) as draft:
            write_checked_table(draft, table[_COLUMNS])
            flush(draft)
        flush(self.folder)


def build(folder: str | Path, pictures: str | Path, *, embedder: str = DEFAULT_EMBEDDER) -> Taken:
    """Index all pictures below a folder; what an interrupted build has described is kept.

    `embedder` is a name that `Embedder.from_pretrained` knows. Raises InputError if there are no
    pictures, if the embedder is not to be had, or, before anything is described, if an index cannot
    be made there.
    """
    found = list_pictures(pictures)
    if not len(found.pictures):
        raise InputError(
            f"there are no pictures in this folder, and {len(found.left_out)} other entries",
            cure=f"Files must end in one of {', '.join(SUFFIXES)}",
            file=pictures,
        )
    whole = Path(os.path.realpath(folder))
    if whole == found.folder or whole in found.folder.parents:
        raise InputError(
            "the index would replace the pictures", cure="Name another folder", file=folder
        )
    with replaced_index(whole) as draft:
        described_by = Embedder.from_pretrained(embedder)
        parts = whole.with_name(f".{whole.name}-parts")
        work = _Work(described_by, as_text(os.fsencode(found.folder)), {}, parts)
        readable, features, _, unreadable = work.describe(found.pictures)
        if not len(readable):
            name, reason = unreadable.name.iloc[0], unreadable.reason.iloc[0]
            raise InputError(
                f"none of the pictures can be read; {name}: {reason}",
                cure="See whether the files are whole",
                file=pictures,
            )
        write_index(draft, features, readable.id.to_numpy(np.int64))
        write_checked_table(draft / _NAMES, readable[_COLUMNS])
        taken = _taken(found, unreadable, len(readable))
        taken.left_out.to_csv(draft / LEFT_OUT, index=False)
        with Index.open(draft) as index:
            # no picture is held out: each finds itself, and 19 others that count
            some = features[:: max(1, len(features) // _N_TUNING)]
            params = choose_params(index, some, k=min(20, len(features))).params
        made_by = {
            "name": embedder,
            "image_px": described_by.image_px,
            "dim": described_by.dim,
            "identity": described_by.identity,
        }
        change_facts(
            draft, params=asdict(params), tables=[_NAMES], notes=[LEFT_OUT], embedder=made_by
        )
    shutil.rmtree(parts, ignore_errors=True)
    return taken


@dataclass(frozen=True)
class _Work:
    """Describing pictures of one folder."""

    embedder: Embedder
    source: str
    known: Mapping[str, str]  # name → digest: the same content is not described again
    parts: Path | None = None  # where finished chunks are kept until all are done

    def describe(
        self, listed: pd.DataFrame
    ) -> tuple[pd.DataFrame, np.ndarray, pd.DataFrame, pd.DataFrame]:
        """Rows that were described, their features (n, d); rows whose content is known; the rest.

        The rest has columns name, what and reason.
        """
        rows, features = [], [np.empty((0, self.embedder.dim), np.float32)]
        for start in progress(range(0, len(listed), _CHUNK), "describe pictures"):
            chunk = listed.iloc[start : start + _CHUNK]
            made = self._chunk(chunk)
            rows.append(chunk.assign(source=self.source, **{k: made[k] for k in _SAID}))
            features.append(made["features"])
        if not rows:
            rows = [listed.assign(source="", **dict.fromkeys(_SAID, ""))]
        table = pd.concat(rows, ignore_index=True)
        is_new = (table.reason == "") & (table.digest != table.name.map(self.known))
        bad = table[table.reason != ""].assign(what=UNREADABLE)
        is_same = (table.reason == "") & ~is_new
        return table[is_new], np.concatenate(features), table[is_same], bad

    def _chunk(self, chunk: pd.DataFrame) -> Mapping[str, Any]:
        """Digest of each picture, or the reason why it has none; features of those described."""
        if self.parts is None:
            return self._make(chunk)
        name = key(
            _VERSIONS | libraries("torch", "torchvision", "pillow"),
            source=self.source,
            names=chunk.name.tolist(),
            stamps=chunk.stamp.tolist(),
            embedder=self.embedder.identity,
            formats=FORMATS,  # what could not be read may be once there is a decoder for it
        )
        part = self.parts / f"{name}.npz"
        with suppress(OSError, ValueError, BadZipFile), np.load(part) as arrays:
            return dict(arrays)
        made = self._make(chunk)
        with atomic_file(part) as draft, draft.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **made)
        return made

    def _make(self, chunk: pd.DataFrame) -> dict[str, np.ndarray]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            known = chunk.name.map(self.known)
            size_px = [self.embedder.image_px] * len(chunk)
            read = list(pool.map(_read_picture, chunk.path, known, size_px))
        images = [image for image, _, _ in read if image is not None]
        blank = np.empty((0, self.embedder.image_px, self.embedder.image_px, 3), np.uint8)
        stacked = np.stack(images) if images else blank
        return {
            "features": self.embedder.embed(stacked, batch_size=32, description="describe"),
            "digest": np.array([digest for _, digest, _ in read], str),
            "reason": np.array([reason for _, _, reason in read], str),
        }


_SAID = ("digest", "reason")


def _read_picture(path: Path, known: str, size_px: int) -> tuple[np.ndarray | None, str, str]:
    """Image, unless its digest is known; digest; why there is neither."""
    try:
        content = _content(path)
        digest = _digest(content)
        image = None if digest == known else load_image(content, size_px)
        return image, digest, ""
    except ImageError as error:
        return None, "", error.reason


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(error.strerror or "unreadable", file=path) from None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _taken(
    found: Listing, unreadable: pd.DataFrame, added: int, replaced: int = 0, unchanged: int = 0
) -> Taken:
    left_out = pd.concat([found.left_out, unreadable[found.left_out.columns]], ignore_index=True)
    counts = {"added": added, "replaced": replaced, "unchanged": unchanged}
    left = left_out.what.value_counts()
    counts |= {what: int(left.get(what, 0)) for what in (UNREADABLE, SKIPPED)}
    return Taken(counts, left_out)
