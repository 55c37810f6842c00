"""Features → an index in a folder (the OFFLINE path's last step)."""

from __future__ import annotations

import sqlite3
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from vsa.index.base import flush, write_base
from vsa.index.codec import STORED, check_features, random_rotation
from vsa.index.index import Knobs, check_ids
from vsa.index.lists import Names, train_lists
from vsa.index.live import Writer, create_live
from vsa.index.model import Model, write_model
from vsa.runtime.atomic import atomic_dir
from vsa.runtime.errors import InputError
from vsa.runtime.progress import progress
from vsa.runtime.seeds import generator

N_BITS = 256
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
    n_bits: int = N_BITS,
    seed: int = 0,
) -> Model:
    """Codec and lists from a sample of features, floating (n, d), and their categories (n,)."""
    if n_bits % 64:
        raise InputError(f"lists cannot scan codes of {n_bits} bits", cure="Take a multiple of 64")
    codes, names = pd.factorize(np.asarray(categories, object), sort=True)
    if len(features) > _SAMPLE:
        chosen = np.sort(generator(seed, "sample").choice(len(features), _SAMPLE, replace=False))
        features, codes = features[chosen], codes[chosen]
    stored = check_features(features, features.shape[1])
    codec = random_rotation(stored.astype(np.float32), n_bits, seed)
    return Model(codec, train_lists(stored, codes, list(names), codec, n_lists, seed))


def build_index(
    folder: Path,
    features: np.ndarray,
    ids: np.ndarray | None = None,
    categories: Names | None = None,
    *,
    model: Model | None = None,
    knobs: Knobs | None = None,
    n_bits: int = N_BITS,
    seed: int = 0,
) -> None:
    """Build an index; it is complete or absent, and replaces what was in the folder.

    Parameters
    ----------
    folder : where the index will be.
    features : floating (n, d), of unit length; may be mapped, rows are read in chunks.
    ids : int64 (n,), each once; the row numbers if missing.
    categories : a name per item; one empty name for all if missing.
    model : taken instead of training one: shards share theirs, so that they search the same lists.
    knobs : kept as the index's own.
    n_bits : of a code, if a model is trained.
    seed : of that training.

    Raises
    ------
    InputError for features that are not finite, ids given twice, and numbers that do not agree.
    """
    features = np.asanyarray(features)
    n = len(features)
    ids = np.arange(n) if ids is None else check_ids(ids)
    names = np.full(n, "", object) if categories is None else np.asarray(categories, object)
    if pd.isna(names).any():
        raise InputError("an item has no category", cure="Give each one, or none at all")
    if not n or features.ndim != 2:
        raise InputError("there is nothing to index", cure="Give features of shape (n, d)")
    if not n == len(ids) == len(names):
        raise InputError(
            f"{n} features, {len(ids)} ids and {len(names)} categories", cure="Give as many of each"
        )
    if model is None:
        model = train_model(features, names, n_lists=n_lists_for(n), n_bits=n_bits, seed=seed)
    require_replaceable(folder)
    codec, lists = model.codec, model.lists
    codes = np.empty((n, codec.n_bits // 8), np.uint8)
    for start in progress(range(0, n, _CHUNK_ROWS), "encode"):
        part = slice(start, start + _CHUNK_ROWS)
        codes[part] = codec.encode(check_features(features[part], codec.dim))
    unique_codes, unique_names = pd.factorize(names)
    list_of = lists.assign(features, lists.category_codes(unique_names)[unique_codes])
    try:
        with atomic_dir(folder) as draft:
            base = "base-00000001"
            write_base(
                draft / base,
                ids,
                list_of,
                len(lists),
                lambda rows: (codes[rows], features[rows].astype(STORED)),
            )
            create_live(draft, base)
            write_model(draft, model, {"knobs": asdict(knobs or Knobs())})
            for path in (*draft.iterdir(), draft):
                flush(path)
        flush(folder.parent)
    except (OSError, sqlite3.Error) as error:
        raise InputError(
            f"the index could not be written ({error})",
            cure="Free some space there, or see whether you may write",
            file=folder,
        ) from error


def require_replaceable(folder: Path) -> None:
    """Raise InputError for a folder that holds something else, or an index that is written to."""
    if not folder.exists():
        return
    if (folder / "index.json").is_file():
        Writer(folder).close()  # refused while there is another one
    elif not folder.is_dir() or any(folder.iterdir()):
        raise InputError(
            "this is not an index, and would be replaced by one",
            cure="Name a folder that does not exist yet",
            file=folder,
        )
