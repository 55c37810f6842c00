"""Every operation of the package that replaces something: the old, the deed, and what is there."""

from __future__ import annotations

import dataclasses
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import torch
from PIL import Image
from random_features import DIM, unit

from vsa import offline, pictures
from vsa.category.fusion import FusionChoice
from vsa.category.predictor import CategoryPredictor, save_predictor
from vsa.data.fetch import unpack_zip
from vsa.data.images import load_images
from vsa.data.schema import BOX, QUALITY
from vsa.index import build, hits
from vsa.index import shards as shards_module
from vsa.index.build import build_index
from vsa.index.index import Index
from vsa.index.model import change_facts
from vsa.index.request import SearchParams
from vsa.index.shards import ShardedIndex, build_shards
from vsa.index.tuning import Trial
from vsa.models.embedder import EMBEDDERS, Embedder
from vsa.offline import write_engine
from vsa.ranking.features import Filling
from vsa.ranking.forest import Forest
from vsa.ranking.models import LeafTable
from vsa.ranking.segments import Segments
from vsa.ranking.serve import QualityRanker, open_ranker, save_ranker
from vsa.runtime import atomic
from vsa.runtime.atomic import atomic_dir, atomic_file, replace_dir, settled
from vsa.runtime.checked import check_manifest, write_manifest
from vsa.runtime.device import pick_device
from vsa.study.figures.grids import image_grid
from vsa.study.figures.style import read_figures, save_figure
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.metrics_file import read_metrics
from vsa.study.ledger.reporting import write_report
from vsa.study.run import Run, make_run
from vsa.trained import TrainedModels

OLD, NEW = 1, 2
ALL = SearchParams(10**6, 10**6)
PHOTO = unit(np.random.default_rng(9), 1)[0]


@dataclasses.dataclass(frozen=True)
class Operation:
    """`act(place, state)` brings what lies at a place into a state, 1 or 2; `read` tells which.

    `read` returns a value, or a list with one for each part that is replaced by itself, and raises
    if a part is not whole.
    """

    act: Callable[[Path, int], object]
    read: Callable[[Path], Any]
    exchanges: bool = True  # False: as on a system that cannot exchange two folders in one step


def _features(state: int, n: int = 60) -> np.ndarray:
    return unit(np.random.default_rng(state), n + state)


# Trained once: what an index is made with is not what is tested here.
_MODEL = build.train_model(_features(OLD), [""] * 61, n_lists=4, n_bits=64)


# Files and folders -----------------------------------------------------------------------------


def file(place: Path, state: int) -> None:
    with atomic_file(place / "file.txt") as draft:
        draft.write_text(str(state) * 1000)


def read_file(place: Path) -> object:
    return (place / "file.txt").read_text()


def folder(place: Path, state: int) -> None:
    with atomic_dir(place / "folder") as draft:
        for number in range(3):
            (draft / f"{number}.txt").write_text(str(state) * 100)


def read_folder(place: Path) -> object:
    found = settled(place / "folder")
    check_manifest(found)
    return {path.name: path.read_text() for path in found.glob("*.txt")}


def finished(place: Path, state: int) -> None:
    """As a training job that has been finished becomes one that is done."""
    draft = place / ".draft"
    draft.mkdir(exist_ok=True)
    (draft / "net.pth").write_text(str(state))
    write_manifest(draft)
    replace_dir(draft, place / "folder")


def read_finished(place: Path) -> object:
    found = settled(place / "folder")
    check_manifest(found)
    return (found / "net.pth").read_text()


def archive(place: Path, state: int) -> None:
    for either in (OLD, NEW):
        if state == OLD:
            with zipfile.ZipFile(place / f"{either}.zip", "w") as stream:
                for number in range(4):
                    stream.writestr(f"top/{number}.txt", str(either))
    unpack_zip(place / f"{state}.zip", place / "folder")


def read_archive(place: Path) -> object:
    return {path.name: path.read_text() for path in settled(place / "folder").iterdir()}


# Indexes ---------------------------------------------------------------------------------------


def index(place: Path, state: int) -> None:
    build_index(place / "index", _features(state), n_bits=64, params=ALL)


def read_index(place: Path) -> object:
    with Index.open(place / "index") as opened:
        opened.verify()
        hits = opened.search_one(PHOTO, 1000)
        return hits.ids.tolist(), hits.similarity.round(3).tolist()


def _open_for(place: Path) -> Index:
    if not (place / "index").exists():
        index(place, OLD)
    return Index.open(place / "index", writable=True)


def changes(place: Path, state: int) -> None:
    with _open_for(place) as opened:
        if state == NEW:
            if 0 in opened.search_one(PHOTO, 1000).ids:
                opened.remove(np.arange(5))
            if 100 not in opened.search_one(PHOTO, 1000).ids:
                opened.add(unit(np.random.default_rng(3), 10), np.arange(100, 110))


def read_changes(place: Path) -> object:
    ids = read_index(place)[0]
    return [sorted(i for i in ids if i < 60), sorted(i for i in ids if i >= 60)]


def compaction(place: Path, state: int) -> None:
    if state == OLD:
        changes(place, NEW)
    else:
        with _open_for(place) as opened:
            opened.compact()


def read_compaction(place: Path) -> object:
    with Index.open(place / "index") as opened:
        return [*read_changes(place), opened.stats()["changes since"]]


def facts(place: Path, state: int) -> None:
    if not (place / "index").exists():
        index(place, OLD)
    change_facts(place / "index", params={"n_probe": state, "n_candidates": 1000})


def read_facts(place: Path) -> object:
    with Index.open(place / "index") as opened:
        return opened.params.n_probe


def shards(place: Path, state: int) -> None:
    build_shards(place / "shards", 2, _features(state), params=ALL)


def read_shards(place: Path) -> object:
    opened = ShardedIndex.open(place / "shards")
    hits = opened.search_one(PHOTO, 1000)
    opened.close()
    assert not hits.is_partial
    return hits.ids.tolist(), hits.similarity.round(3).tolist()


# An index of pictures: a network that takes no time --------------------------------------------


def _first_pixels() -> Embedder:
    def vectors(pictures: torch.Tensor) -> torch.Tensor:
        flat = torch.ones(len(pictures), DIM)
        flat[:, :8] = pictures.permute(0, 2, 3, 1).reshape(len(pictures), -1)[:, :8]
        return flat

    return Embedder(vectors, image_px=4, mean=(0.0,) * 3, std=(1 / 255,) * 3)


def _prepare_pictures(place: Path, state: int) -> Path:
    shop = place / f"pictures-{state}"
    if not shop.is_dir():
        shop.mkdir()
        for number in range(6 + state):
            colour = (40 * number, 30 * state, 99)
            Image.new("RGB", (8, 8), colour).save(shop / f"{number + 2 * state}.png")
    return shop


def picture_index(place: Path, state: int) -> None:
    shops = [_prepare_pictures(place, either) for either in (OLD, NEW)]
    pictures.build(place / "index", shops[state - 1])


def picture_changes(place: Path, state: int) -> None:
    if state == OLD:
        picture_index(place, OLD)
    else:
        shop = _prepare_pictures(place, NEW)
        with pictures.Pictures(place / "index") as own:
            own.add(shop, replace=True)


def read_pictures(place: Path) -> object:
    shop = _prepare_pictures(place, OLD)
    with pictures.Pictures(place / "index") as own:
        own.store.verify()
        return set(own.search(shop / "2.png", 100).name)


# Stages of an engine ---------------------------------------------------------------------------


def ranker(place: Path, state: int) -> None:
    forest = Forest(np.zeros((1, 1), int), np.zeros((1, 1)), np.zeros((1, 1, 2), int), 1)
    table = LeafTable(forest, np.full((1, 2), float(state)), 0.0)
    save_ranker(place / "ranker", QualityRanker(table, Filling(0, 0, 0), state, Segments()))


def read_ranker(place: Path) -> object:
    return open_ranker(place / "ranker").weight


def _category(state: int) -> CategoryPredictor:
    reference = pd.DataFrame({"id": ["a"], "path": [""], "category": [""]})
    net: Any = torch.nn.Linear(1, 1, bias=False)
    net.architecture = "none"
    net.weight.data.fill_(state)
    choice = FusionChoice(float(state), 0.5)
    return CategoryPredictor(net, 8, 8, pick_device(), [""], reference, np.eye(2), choice)


def predictor(place: Path, state: int) -> None:
    save_predictor(place / "predictor", _category(state))


def read_predictor(place: Path) -> object:
    found = settled(place / "predictor")
    check_manifest(found)
    return float(torch.load(found / "classifier.pth", weights_only=True)["weight"][0])


def engine(place: Path, state: int) -> None:
    features = _features(state)
    n = len(features)
    catalogue = pd.DataFrame({"image_id": [f"{state}-{i}" for i in range(n)], "category": ""})
    catalogue = catalogue.assign(**dict.fromkeys((*BOX, *QUALITY), 0.0))
    net: Any = torch.nn.Module()
    net.dim, net.architecture = features.shape[1], "none"
    models = TrainedModels(_category(state), net, 8)
    write_engine(place / "engine", models, features, catalogue, place, validation=features[:5])


def read_engine(place: Path) -> object:
    found = settled(place / "engine")
    check_manifest(found)
    with Index.open(found / "index") as opened:
        opened.verify()
        return len(opened)


# Files of a run --------------------------------------------------------------------------------


def _run(place: Path) -> Run:
    os.environ["VSA_REPORTS_DIR"] = str(place / "reports")
    return make_run("synthetic", "smoke", 0)


def ledger(place: Path, state: int) -> None:
    opened = Ledger.open(_run(place), "01_catalogue")
    opened.record("data set", "catalogue", "images", state)
    opened.save()


def read_ledger(place: Path) -> object:
    return read_metrics(_run(place).reports / "metrics.json")["records"][0]["value"]


def figure(place: Path, state: int) -> None:
    shown = image_grid([np.full((4, 4, 3), 90 * state, np.uint8)], cell_inches=0.3)
    save_figure(shown, _run(place), "a", "an alt text", "01_catalogue", f"caption {state}")


def read_figure(place: Path) -> object:
    run = _run(place)
    with Image.open(run.figures / "a.png") as image:
        pixel = image.convert("RGB").getpixel((image.width // 2, image.height // 2))
    return [pixel, read_figures(run.reports)[0]["caption"]]


def report(place: Path, state: int) -> None:
    ledger(place, state)
    write_report(_run(place).reports)


def read_report(place: Path) -> object:
    folder = _run(place).reports
    markdown, html = ((folder / name).read_text() for name in ("RESULTS.md", "report.html"))
    assert html.endswith("</html>\n")
    return [f"| {state} |" in markdown for state in (OLD, NEW)]


def images(place: Path, state: int) -> None:
    """The store of decoded images: another file for another state of the pictures."""
    if state == OLD:
        for either in (OLD, NEW):
            Image.new("RGB", (7 + either, 8), (10 * either, 10, 10)).save(place / f"{either}.png")
    (place / "next.png").unlink(missing_ok=True)
    (place / "next.png").hardlink_to(place / f"{state}.png")
    (place / "next.png").replace(place / "picture.png")
    load_images(place, ["picture.png"], 8, place / "cache")


def read_images(place: Path) -> object:
    return int(load_images(place, ["picture.png"], 8, place / "cache")[0, 0, 0, 0])


# Those that exchange folders are stopped on systems that cannot, too.
OPERATIONS = {
    "a file": Operation(file, read_file),
    "a folder": Operation(folder, read_folder),
    "a finished job": Operation(finished, read_finished),
    "an unpacked archive": Operation(archive, read_archive),
    "an index": Operation(index, read_index),
    "changes of an index": Operation(changes, read_changes),
    "a compaction": Operation(compaction, read_compaction),
    "facts of an index": Operation(facts, read_facts),
    "shards": Operation(shards, read_shards),
    "an index of pictures": Operation(picture_index, read_pictures),
    "changed pictures": Operation(picture_changes, read_pictures),
    "a ranker": Operation(ranker, read_ranker),
    "a predictor": Operation(predictor, read_predictor),
    "an engine": Operation(engine, read_engine),
    "the ledger": Operation(ledger, read_ledger),
    "a figure": Operation(figure, read_figure),
    "a report": Operation(report, read_report),
    "decoded images": Operation(images, read_images),
}
for _name in ("a folder", "a finished job", "an index", "shards", "an engine", "a ranker"):
    OPERATIONS[f"{_name}, in two steps"] = dataclasses.replace(OPERATIONS[_name], exchanges=False)


def act(name: str, place: Path, state: int) -> None:
    """Do an operation by its name, which another process can be told."""
    with _lightly(OPERATIONS[name]):
        OPERATIONS[name].act(place, state)


def load_search() -> None:
    """Load what is compiled, which is no step of an operation."""
    hits.kernel(_MODEL)


def read(name: str, place: Path) -> list[object]:
    """What is there: a value for each part that is replaced by itself."""
    with _lightly(OPERATIONS[name]):
        found = OPERATIONS[name].read(place)
    return found if isinstance(found, list) else [found]


@contextmanager
def _lightly(operation: Operation) -> Iterator[None]:
    """Networks, trained models and settings that take no time; the system that is asked for."""
    instead = [
        (build, "train_model", lambda *_, **__: _MODEL),
        (shards_module, "train_model", lambda *_, **__: _MODEL),
        (offline, "choose_params", lambda *_, **__: Trial(ALL, 1.0, 0.0)),
    ]
    if not operation.exchanges:
        instead.append((atomic, "_exchange", lambda *_: False))
    with ExitStack() as stack:
        entries = {pictures.DEFAULT_EMBEDDER: _first_pixels}
        stack.enter_context(mock.patch.dict(EMBEDDERS._entries, entries))
        for module, attribute, value in instead:
            stack.enter_context(mock.patch.object(module, attribute, value))
        yield
