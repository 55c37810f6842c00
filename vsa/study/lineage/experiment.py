"""Every method of notebook 07 along one path: tuned on validation photos, judged once on test.

A method is fitted with each setting of its small grid. The one with the best mAP on validation
photos is kept, fitted with each seed where something is trained, and asked for the test photos.
What was found is kept on disk, under all that it rests on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vsa.category import batches as category_batches
from vsa.category import model as category_model
from vsa.category import search as vote
from vsa.category import train as category_training
from vsa.data import crops, descriptors
from vsa.data import images as squares
from vsa.embedding import boxes as objectness
from vsa.embedding import extract, joint
from vsa.index import codec, index
from vsa.models import backbones, embedder
from vsa.runtime import training
from vsa.runtime.atomic import atomic_dir
from vsa.runtime.errors import InputError
from vsa.runtime.fingerprint import Versions, key, libraries
from vsa.runtime.progress import progress
from vsa.study.embedding import detector
from vsa.study.embedding.jobs import slug
from vsa.study.embedding.looking import linear_versions
from vsa.study.index.timing import one_thread
from vsa.study.lineage.lab import LineageLab
from vsa.study.lineage.methods import (
    METHODS,
    NEEDS,
    Method,
    Search,
    check_boxes,
    check_ranks,
    fit_checked,
)

VERSION = 2  # of how methods are tuned, asked and judged; each method has a version of its own
_RESTS_ON = (
    *(squares, crops, descriptors, backbones, embedder, training, objectness, extract, joint),
    *(category_model, category_batches, category_training, vote, detector, codec, index),
)
NO_PRODUCTS = "products of validation or test photos are not known, so that no search can be judged"


@dataclass(frozen=True)
class Row:
    """What a method has found; arrays of test photos have one row per seed."""

    name: str
    reference: str
    about: str
    setting: Mapping[str, Any]  # that validation photos chose
    curve: list[dict[str, Any]]  # each setting, and its mAP on validation photos
    n_bytes: float | None  # kept of each catalogue picture
    weights_mb: float | None
    ms: float  # median of one photo
    times_plain: float  # median over photos of the time over that of the plain feature
    seeds: tuple[int, ...]
    val: np.ndarray | None  # int32 (n, 60), of the first seed; None: it does not rank
    test: np.ndarray | None  # int32 (seeds, n, 60)
    boxes: np.ndarray | None  # float32 (seeds, n', 4)
    located: np.ndarray  # int64 (n',): which of the test photos have a box here


def run_methods(lab: LineageLab) -> tuple[list[Row], dict[str, str]]:
    """Rows of all methods that the data allow, and why the others are left out, by name."""
    found, left_out = [], {}
    lacks = lab.task.lacks() | {"clicks": not lab.has_clicks}
    for name in progress(list(METHODS), "methods"):
        reason = why_not(METHODS[name], lacks)
        if not reason:
            try:
                found.append(run_method(lab, name))
                continue
            except InputError as error:  # weights that cannot be had, most often
                reason = str(error)
        left_out[name] = reason
    return found, left_out


def why_not(method: Method, lacks: Mapping[str, bool]) -> str:
    """Why the data do not allow a method; "" if they do."""
    return next((NEEDS[need] for need in method.needs if lacks[need]), "")


def run_method(lab: LineageLab, name: str) -> Row:
    """One method: read back if it has been run, else tuned and judged now.

    Raises InputError where its weights are not to be had, nothing can judge it, or somebody's own
    does not do its part.
    """
    folder = lab.folder / "rows" / f"{slug(name)}-{row_key(lab, name)}"
    if not folder.is_dir():
        made = _run(lab, name)
        with atomic_dir(folder) as draft:
            _save(made, draft)
    return _read(folder)


def row_key(lab: LineageLab, name: str) -> str:
    """What a method's row is known by."""
    versions: Versions = {"lineage": VERSION, "method": METHODS.identity(name)}
    versions |= {module.__name__: module.VERSION for module in _RESTS_ON}
    return key(
        versions
        | linear_versions()
        | libraries("torch", "torchvision", "scikit-learn", "scipy", "pytorch-metric-learning"),
        network=lab.ground.digest,
        data=lab.digest,
        published=lab.published_digest if METHODS[name].reads else "",
        grid=[dict(setting) for setting in METHODS[name].grid],
        settings=asdict(lab.settings),
        seed=lab.seed,
    )


def _run(lab: LineageLab, name: str) -> Row:
    method, task, first = METHODS[name], lab.task, lab.seed
    searches = [fit_checked(name, lab, first, setting) for setting in method.grid]
    if searches[0].locate is None and not task.knows_products:
        raise InputError(NO_PRODUCTS, cure="Name the products of these photos")
    chosen, val, curve = _tune(lab, name, searches)
    kept, setting = searches[chosen], method.grid[chosen]
    seeds = tuple(range(first, first + (lab.settings.n_seeds if method.learns else 1)))
    located = _photos_to_locate(lab, method)
    test, boxes = [], []
    for seed in seeds:
        search = kept if seed == first else fit_checked(name, lab, seed, setting)
        if val is not None:
            test.append(_rank(lab, name, search, "test"))
        if search.locate is not None and task.knows_boxes("test"):
            boxes.append(_locate(lab, name, search, located))
    return Row(
        name,
        method.reference,
        method.about,
        dict(setting),
        curve,
        kept.n_bytes,
        kept.weights_mb,
        *_time(lab, kept),
        seeds,
        val,
        np.stack(test) if test else None,
        np.stack(boxes) if boxes else None,
        located,
    )


def _tune(
    lab: LineageLab, name: str, searches: Sequence[Search]
) -> tuple[int, np.ndarray | None, list[dict[str, Any]]]:
    """Which setting has the best mAP on validation photos, its pages, and the mAP of all."""
    if searches[0].rank is None or not lab.task.knows_products:
        return 0, None, []
    pages = [_rank(lab, name, search, "val") for search in searches]
    scores = [float(lab.task.precision(page, "val").mean()) for page in pages]
    chosen = int(np.argmax(scores))  # the first of equal ones
    settings = METHODS[name].grid
    curve = [{**one, "mAP": score} for one, score in zip(settings, scores, strict=True)]
    return chosen, pages[chosen], curve


def _rank(lab: LineageLab, name: str, search: Search, split: str) -> np.ndarray:
    assert search.rank is not None
    photos = lab.photos[split]
    return check_ranks(name, search.rank(photos), len(photos), len(lab.catalogue))


def _locate(lab: LineageLab, name: str, search: Search, rows: np.ndarray) -> np.ndarray:
    assert search.locate is not None
    photos = lab.photos["test"]
    some = photos if len(rows) == len(photos) else photos.some(rows)
    return check_boxes(name, search.locate(some), len(some))


def _photos_to_locate(lab: LineageLab, method: Method) -> np.ndarray:
    """Rows of the test photos whose boxes are looked for: all, or a few spread over them."""
    n = len(lab.photos["test"])
    few = min(n, lab.settings.n_located) if method.is_slow else n
    return np.unique(np.linspace(0, n - 1, few).round().astype(np.int64))


def _time(lab: LineageLab, search: Search) -> tuple[float, float]:
    """Milliseconds of one photo, decoded, to its page, on one thread; and over the plain feature's.

    Both are asked in turn, so that a busy machine slows both; medians over photos.
    """
    photos, n = lab.photos["test"], lab.settings.n_timed
    rows = np.unique(np.linspace(0, len(photos) - 1, n).round().astype(int))
    plain = lab.once("plain", lambda: lab.by_features(lambda pictures: pictures.pooled)).rank
    ask = search.rank if search.rank is not None else search.locate
    assert ask is not None
    assert plain is not None
    taken = []
    with one_thread():
        for row in (rows[0], *rows):
            pair = []
            for one in (ask, plain):
                photo = photos.one(int(row))
                start = time.perf_counter()
                one(photo)
                pair.append(1e3 * (time.perf_counter() - start))
            taken.append(pair)
    ms, plain_ms = np.array(taken[1:]).T  # the first one warms up
    return float(np.median(ms)), float(np.median(ms / plain_ms))


def _save(row: Row, folder: Path) -> None:
    arrays = {
        part: value
        for part in ("val", "test", "boxes", "located")
        if (value := getattr(row, part)) is not None
    }
    np.savez_compressed(folder / "found.npz", allow_pickle=False, **arrays)
    card = {name: value for name, value in vars(row).items() if name not in arrays}
    card = {name: value for name, value in card.items() if value is not None}
    (folder / "card.json").write_text(json.dumps(card, indent=1), encoding="utf-8")


def _read(folder: Path) -> Row:
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    with np.load(folder / "found.npz") as arrays:
        card |= {name: arrays[name] for name in arrays.files}
    absent = dict.fromkeys(("val", "test", "boxes", "n_bytes", "weights_mb"))
    return Row(**{**absent, **card, "seeds": tuple(card["seeds"])})
