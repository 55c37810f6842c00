"""An engine over a folder of one's own pictures: without category, box or re-ranking.

Features are an embedder's, by default ImageNet's (MobileNetV2 at 224 pixels): what a shop has
before it has clicks. A picture goes by its name below the folder. The engine keeps which embedder
it was: that one describes what is added or asked for.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from joblib import cpu_count

from vsa.data import decoding, images
from vsa.data.decoding import FORMATS, ImageError, Source
from vsa.data.images import load_image
from vsa.data.listing import SKIPPED, SUFFIXES, UNREADABLE, Listing, as_text, list_pictures
from vsa.data.schema import BOX, CATALOGUE, SOURCES, complete
from vsa.embedding.describer import WholeDescriber
from vsa.engine import ALL_STAGES, VisualSearch
from vsa.growing import UNCATEGORISED, put_rows, remove
from vsa.models.embedder import Embedder
from vsa.offline import require_own_folder, write_engine
from vsa.runtime.atomic import atomic_file
from vsa.runtime.checked import INDEX
from vsa.runtime.checked_table import read_checked_table, write_checked_table
from vsa.runtime.errors import InputError
from vsa.runtime.fingerprint import Versions, key, libraries
from vsa.runtime.progress import progress
from vsa.store import CARD, Store

DEFAULT_EMBEDDER = "mobilenet_v2"
_CHUNK = 256
LEFT_OUT = "left-out.csv"  # beside what the engine is made of, and may be lost, as may …
_SEEN = "seen.parquet"  # … what files looked like when they were read last
_COLUMNS = ["digest", "folder"]  # of a row, beside those of any catalogue
_EARLIER = "pictures.parquet"  # in the folder of an index of pictures of earlier versions
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
    """An engine whose pictures come from folders; any engine can be searched."""

    def __init__(self, folder: str | Path) -> None:
        """Open what `build` made; raises InputError if there is none."""
        self.store = Store(folder)
        self.folder, self.index = self.store.folder, self.store.index

    def __enter__(self) -> Pictures:
        return self

    def __exit__(self, *_: object) -> None:
        if "engine" in self.__dict__:
            self.engine.close()
        self.store.close()

    @cached_property
    def engine(self) -> VisualSearch:
        """What answers; raises InputError if the embedder is not to be had any more."""
        return VisualSearch.over(self.store)

    @property
    def embedder(self) -> Embedder:
        """The embedder that made the engine; raises InputError if it is not to be had any more."""
        self._require_folders()
        describer = self.engine.describer
        return describer.embedder(self.engine.device)

    def search(
        self, photo: Source, k: int = 10, *, box: Sequence[float] | None = None
    ) -> pd.DataFrame:
        """The `k` most similar pictures: columns ``name`` and ``similarity``.

        With `box`, x_min, y_min, x_max, y_max as shares of the photo's sides, those most similar
        to what the box shows, with a margin. Raises ImageError, and InputError for a box that is
        none.
        """
        self.index.require_place()  # or these are pictures of another engine
        return _named(self.engine.search(photo, k, box=box).results)

    def search_batch(self, photos: Sequence[Source], k: int = 10) -> list[pd.DataFrame]:
        """As `search`, for many photos: an embedder describes them together."""
        self.index.require_place()
        engine = self.engine
        if not isinstance(engine.describer, WholeDescriber):
            return [_named(answer.results) for answer in engine.search_batch(photos, k)]
        found = []
        for feature in engine.describer.of_pictures(photos):
            ids, similarity = engine.retrieve(feature, None, k, ALL_STAGES)
            found.append(_named(engine.page(ids, similarity, ALL_STAGES, None)))
        return found

    def add(self, pictures: str | Path, *, replace: bool = False) -> Taken:
        """Add what is new in a folder, and replace what has changed there since, all or none.

        A picture that was only moved or touched is left as it is. Raises InputError, and changes
        nothing, if another folder's picture goes by the same name, unless `replace` says that
        those of this folder are to take their places.
        """
        self._require_folders()
        with self.store.writing() as state:
            embedder, found = self.embedder, list_pictures(pictures)
            listed, source = found.pictures, as_text(os.fsencode(found.folder))
            rows = state.rows.table.select(["image_id", *_COLUMNS]).to_pandas()
            known = rows.set_index("image_id").reindex(listed.name)
            seen = self._seen().set_index("name").reindex(listed.name)
            is_there = known.digest.notna().to_numpy()
            same = (seen.stamp.to_numpy() == listed.stamp.to_numpy()) & is_there
            digests = known.digest[is_there].to_dict()
            if not replace:
                folders = seen.folder.fillna(known.folder).to_numpy()
                self._refuse_clashes(listed, is_there & (folders != source), folders, digests)
            work = _Work(embedder, source, digests)
            fresh, features, touched, unreadable = work.describe(listed[~same])
            there = state.rows.find(fresh.name.tolist())
            if len(fresh):
                put_rows(self.store, state, _as_rows(fresh, found.folder), features, there)
        self._remember(pd.concat([listed[same], touched, fresh]), source)
        n_same = int(same.sum()) + len(touched)
        taken = _taken(found, unreadable, len(fresh) - len(there), len(there), n_same)
        self._tell(taken)
        return taken

    def delete(self, names: Sequence[str]) -> None:
        """Remove pictures by name; raises InputError, and removes none, if one is unknown."""
        remove(self.store, names)

    def _require_folders(self) -> None:
        if self.store.card["columns"] != _COLUMNS:
            raise InputError(
                "this engine is one of a shop, not of folders of pictures",
                cure="Say `vsa engine add` with a table, or make another: `vsa index build`",
                file=self.folder,
            )

    def _refuse_clashes(
        self,
        listed: pd.DataFrame,
        chosen: np.ndarray,
        folders: np.ndarray,
        digests: Mapping[str, str],
    ) -> None:
        """Raise InputError if a picture of another folder has a name of these, and is another."""
        clashes = []
        for place in np.flatnonzero(chosen):
            name, path = listed.name.iloc[place], listed.path.iloc[place]
            with suppress(ImageError):  # one that cannot be read takes nobody's place
                if _digest(_content(path)) != digests.get(name):
                    clashes.append((name, folders[place]))
        if clashes:
            name, where = clashes[0]
            raise InputError(
                f"{len(clashes)} names are those of pictures of {where}, as {name!r}",
                cure="Put both folders into one and add that; or, if these are to take the places "
                "of those, say --replace",
                file=self.folder,
            )

    def _seen(self) -> pd.DataFrame:
        """Files as they were read last: name, stamp, folder; none where that is lost."""
        with suppress(InputError):
            return read_checked_table(self.folder / _SEEN)
        return pd.DataFrame({"name": [], "stamp": [], "folder": []}, dtype="str")

    def _remember(self, listed: pd.DataFrame, source: str) -> None:
        """Note what was read; what was seen before of other files stays."""
        now = listed[["name", "stamp"]].assign(folder=source)
        before = self._seen()
        table = pd.concat([before[~before.name.isin(now.name)], now], ignore_index=True)
        self.index.require_place()
        with atomic_file(self.folder / _SEEN, make_parents=False) as draft:
            write_checked_table(draft, table.astype("str"))

    def _tell(self, taken: Taken) -> None:
        with atomic_file(self.folder / LEFT_OUT, make_parents=False) as draft:
            taken.left_out.to_csv(draft, index=False)


def build(folder: str | Path, pictures: str | Path, *, embedder: str = DEFAULT_EMBEDDER) -> Taken:
    """Build an engine of all pictures below a folder; an interrupted build goes on.

    `embedder` is a name that `Embedder.from_pretrained` knows. Raises InputError if there are no
    pictures, if the embedder is not to be had, or, before anything is described, if an engine
    cannot be made there.
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
    is_earlier = (whole / INDEX).is_file() and (whole / _EARLIER).is_file()
    marker = INDEX if is_earlier else CARD
    require_own_folder(whole, marker, (LEFT_OUT, _SEEN, _EARLIER))
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
    write_engine(
        whole,
        described_by,
        features,
        _as_rows(readable, found.folder),
        found.folder,
        # no picture is held out: each finds itself, and others that count
        validation=features[:: max(1, len(features) // _N_TUNING)],
        marker=marker,
    )
    taken = _taken(found, unreadable, len(readable))
    with Pictures(whole) as made:
        made._remember(readable, work.source)
        made._tell(taken)
    shutil.rmtree(parts, ignore_errors=True)
    return taken


def _as_rows(listed: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Pictures of a folder as rows of a catalogue."""
    table = pd.DataFrame(
        {
            "image_id": listed.name,
            "product_id": listed.name,
            "category": UNCATEGORISED,
            "leaf": UNCATEGORISED,
            "source": SOURCES[0],
            "path": [as_text(os.fsencode(folder / name)) for name in listed.name],
        }
    )
    table = complete(table, CATALOGUE).reset_index(drop=True)
    more = listed[["digest"]].assign(folder=listed.source).reset_index(drop=True)
    return pd.concat([table, more], axis=1).astype(dict.fromkeys(BOX, "float64"))


def _named(results: pd.DataFrame) -> pd.DataFrame:
    found = results[["image_id", "similarity"]].rename(columns={"image_id": "name"})
    return found.reset_index(drop=True)


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
        with ThreadPoolExecutor(cpu_count()) as pool:
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
