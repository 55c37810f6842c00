"""Features → an index in a folder (the OFFLINE path's last step)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pandas as pd

from vsa.index.base import FILES as BASE_FILES
from vsa.index.base import write_base
from vsa.index.codec import STORED, check_features, check_n_bits, make_codec
from vsa.index.hits import kernel
from vsa.index.lists import Names, train_lists
from vsa.index.live import Place, WritersLock, create_live
from vsa.index.model import Model, require_storable, write_model
from vsa.index.request import SearchParams, check_ids
from vsa.index.settings import CODEC, N_BITS
from vsa.index.view import View
from vsa.runtime.atomic import atomic_dir, require_replaceable, settled
from vsa.runtime.checked import INDEX, flush, read_checked_json
from vsa.runtime.errors import InputError
from vsa.runtime.progress import progress
from vsa.runtime.seeds import generator
from vsa.runtime.system import not_written

_SAMPLE = 2**19
_CHUNK_ROWS = 2**16


def n_lists_for(n_items: int) -> int:
    """4 √N: a query then compares as many centroids as it has items in four lists."""
    return max(1, round(4 * n_items**0.5))


def train_model(
    features: np.ndarray,
    categories: Names,
    *,
    n_lists: int,
    codec: str = CODEC,
    n_bits: int = N_BITS,
    seed: int = 0,
) -> Model:
    """Codec and lists from a sample of features, floating (n, d), and their categories (n,).

    Where there is more than one category, a codec that learns from labels gets them as such.
    """
    check_n_bits(n_bits, of_lists=True)
    codes, names = pd.factorize(np.asarray(categories, object), sort=True)
    if len(features) > _SAMPLE:
        chosen = np.sort(generator(seed, "sample").choice(len(features), _SAMPLE, replace=False))
        features, codes = features[chosen], codes[chosen]
    stored = check_features(features, features.shape[1])
    labels = codes if len(names) > 1 else None
    made = make_codec(codec, stored.astype(np.float32), n_bits, seed, labels)
    return Model(made, train_lists(stored, codes, list(names), made, n_lists, seed))


def given_names(categories: Names | None, n: int) -> np.ndarray:
    """A name per item, object (n,); one empty name for all if none are given.

    Raises InputError for an item without one, and for another number of them.
    """
    names = np.full(n, "", object) if categories is None else np.asarray(categories, object)
    if pd.isna(names).any():
        raise InputError("an item has no category", cure="Give each one, or none at all")
    if len(names) != n:
        raise InputError(f"{n} features and {len(names)} categories", cure="Give as many of each")
    return names


def build_index(
    folder: str | Path,
    features: np.ndarray,
    ids: np.ndarray | None = None,
    categories: Names | None = None,
    *,
    model: Model | None = None,
    params: SearchParams | None = None,
    codec: str = CODEC,
    n_bits: int = N_BITS,
    seed: int = 0,
) -> None:
    """Build an index; it is complete or absent, and replaces one that was in the folder.

    Parameters
    ----------
    folder : where the index will be; see `replaced_index` for what may be there.
    features : floating (n, d), of unit length; may be mapped, rows are read in chunks.
    ids : int64 (n,), each once; the row numbers if missing.
    categories : a name per item; one empty name for all if missing.
    model : taken instead of training one: shards share theirs, so that they search the same lists.
    params : kept as the index's own.
    codec, n_bits : of the codes, if a model is trained; see `vsa.codecs`.
    seed : of that training.

    Raises
    ------
    InputError for features that are not finite, ids given twice, numbers that do not agree, and
    a folder that cannot be replaced.
    """
    with replaced_index(folder) as draft:
        write_index(
            draft,
            features,
            ids,
            categories,
            model=model,
            params=params,
            codec=codec,
            n_bits=n_bits,
            seed=seed,
        )


@contextmanager
def replaced_index(folder: str | Path) -> Iterator[Path]:
    """Yield an empty folder for `write_index` to fill; it replaces an index on success.

    Until then the old index can be searched, and nobody may write to it. Raises InputError, before
    anything is done, for a folder that holds anything but an index, an index that is being written
    to, and where no folder can be replaced; later, if the disk is full.
    """
    target = settled(require_replaceable(Path(folder), INDEX))
    _refuse_other_files(target)
    with kept_from_writers(target):
        try:
            with atomic_dir(target, marker=INDEX, manifest=False) as draft:
                yield draft
                for path in (*draft.iterdir(), draft):
                    flush(path)
        except OSError as error:
            raise not_written(folder, error) from error
    flush(target.parent)


@contextmanager
def kept_from_writers(*folders: Path) -> Iterator[None]:
    """Nobody may write to the indexes in these folders, if there are any.

    Raises InputError if somebody has one open for writing.
    """
    with ExitStack() as stack:
        for folder in folders:
            if (folder / INDEX).is_file():
                place = Place(folder)
                stack.callback(place.close)
                stack.callback(WritersLock(folder).release)
                place.require()  # it may have been replaced before it was locked
        yield


def write_index(
    draft: Path,
    features: np.ndarray,
    ids: np.ndarray | None = None,
    categories: Names | None = None,
    *,
    model: Model | None = None,
    params: SearchParams | None = None,
    codec: str = CODEC,
    n_bits: int = N_BITS,
    seed: int = 0,
) -> None:
    """Write an index into an empty folder; as `build_index`."""
    features = np.asanyarray(features)
    n = len(features)
    ids = np.arange(n) if ids is None else check_ids(ids)
    if not n or features.ndim != 2:
        raise InputError("there is nothing to index", cure="Give features of shape (n, d)")
    names = given_names(categories, n)
    if n != len(ids):
        raise InputError(f"{n} features and {len(ids)} ids", cure="Give as many of each")
    if model is None:
        model = train_model(
            features, names, n_lists=n_lists_for(n), codec=codec, n_bits=n_bits, seed=seed
        )
    encoder, lists = model.codec, model.lists
    require_storable(encoder)
    for start in range(0, n, _CHUNK_ROWS):
        check_features(features[start : start + _CHUNK_ROWS], encoder.dim)
    unique_codes, unique_names = pd.factorize(names)
    list_of = lists.assign(features, lists.category_codes(unique_names)[unique_codes])
    words = np.empty((n, model.n_words), np.uint64)
    for start in progress(range(0, n, _CHUNK_ROWS), "encode"):
        part = slice(start, start + _CHUNK_ROWS)
        words[part] = model.words(features[part].astype(STORED), list_of[part])
    write_parts(
        draft,
        model,
        params or SearchParams(),
        lambda base: write_base(
            base,
            ids,
            list_of,
            len(lists),
            lambda rows: (words[rows], features[rows].astype(STORED)),
        ),
    )
    kernel(model)  # whoever builds an index will search it, here or later: it is compiled now


def write_saved(folder: str | Path, view: View, params: SearchParams) -> None:
    """Write a state of an index; as `build_index`, but there may be no items yet."""
    with replaced_index(folder) as draft:
        write_parts(draft, view.model, params, view.write)


def write_parts(
    draft: Path, model: Model, params: SearchParams, write: Callable[[Path], None]
) -> None:
    """Write an index into an empty folder, whose base `write` writes."""
    base = draft / "base-00000001"
    try:
        write(base)
        create_live(draft, base.name)
        write_model(draft, model, {"params": asdict(params)})
    except sqlite3.Error as error:
        raise InputError(
            f"the index could not be written ({error})", cure="Free some space there", file=draft
        ) from error


# what an index's folder holds beside what its facts name; anything else would be lost with it
_OWN = (
    INDEX,
    "model.npz",
    "live.sqlite*",
    "live.count",
    "writer.lock",
    f"base-{'[0-9]' * 8}",
    ".vsa-*",
)


def _refuse_other_files(folder: Path) -> None:
    if not (folder / INDEX).is_file():
        return
    try:
        facts = read_checked_json(folder / INDEX)["facts"]
    except InputError:
        if not (folder / "model.npz").is_file():  # it is not a damaged one that is built anew
            raise InputError(
                f"{INDEX} is not that of an index, and would be lost",
                cure="Name another folder",
                file=folder,
            ) from None
        facts = {}
    own = (*_OWN, *facts.get("tables", ()), *facts.get("notes", ()))
    others = [path for path in folder.iterdir() if not _fits(path, own)]
    others += [path for path in folder.glob("base-*/*") if not _fits(path, BASE_FILES)]
    if others:
        raise InputError(
            f"the folder holds {others[0].relative_to(folder).as_posix()!r} too, which would be "
            "lost with the index",
            cure="Move it away, or name another folder",
            file=folder,
        )


def _fits(path: Path, patterns: Iterable[str]) -> bool:
    return any(fnmatch(path.name, pattern) for pattern in patterns)
