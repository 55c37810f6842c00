"""The ONLINE path, and the only place where stages meet: a shopper's photo goes in here.

    photo → category (model and search, fused), box → feature of what the box shows
          → coarse filter → refined rank → quality re-rank → results

`vsa.offline` makes what is opened here: a folder that holds all that it needs.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from vsa.additions import Addition, count_additions, read_additions, write_addition
from vsa.category.model import predict
from vsa.category.predictor import CategoryPrediction, CategoryPredictor
from vsa.data.boxes import check_box, require_pixels
from vsa.data.crops import crop_square, with_margin
from vsa.data.decoding import Source, decode
from vsa.data.images import load_images, square
from vsa.data.schema import BOX, CATALOGUE, QUALITY, check, complete
from vsa.embedding.describer import Describer
from vsa.embedding.extract import FULL_BOX
from vsa.embedding.joint import JointNet
from vsa.index.index import Index
from vsa.index.request import check_request
from vsa.ranking.segments import Segments
from vsa.ranking.serve import QualityRanker
from vsa.runtime.atomic import settled
from vsa.runtime.checked import check_manifest
from vsa.runtime.device import Device, pick_device
from vsa.runtime.errors import InputError
from vsa.runtime.inference import one_core, ready
from vsa.trained import TrainedModels, read_models

CARD, FORMAT = "card.json", 2  # of an engine's folder
COVERED = 0.99  # of the category distribution: the fewest categories that make it up are searched
PAGE = 60  # results by appearance that quality re-orders
STAGES = ("decode", "category", "box and feature", "search", "re-rank")
_N_WARMUP = 2  # TorchScript looks at one pass and makes its code in the next


@dataclass(frozen=True)
class Stages:
    """What a search goes through; each stage may be left out, to see what it does."""

    category: bool = True  # only the likely categories are searched
    box: bool = True  # the feature is that of the box, not of the whole photo
    refine: bool = True  # candidates are ordered by features, not by codes
    rerank: bool = True  # the page is re-ordered by quality


ALL_STAGES = Stages()

_Box = np.ndarray | Literal["own"] | None  # float32 (4,); the learned one; the whole photo


@dataclass(frozen=True)
class Answer:
    """What the engine found out about one photo, and how long each stage took."""

    image: np.ndarray  # uint8 (S, S, 3), as the category stage sees it
    category: CategoryPrediction
    box: np.ndarray  # float32 (4,): x_min, y_min, x_max, y_max, shares of the sides
    results: pd.DataFrame  # best first: the catalogue's columns, similarity, rank before, score
    stage_ms: dict[str, float]  # of each stage; category runs beside box and feature
    total_ms: float


def _a_thread_per_core() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1)


@dataclass(frozen=True)
class VisualSearch:
    """Trained stages and a catalogue, opened once and asked many times, from any thread."""

    category: CategoryPredictor
    network: JointNet
    image_px: int
    index: Index
    catalogue: pa.Table  # row i is the index's item i; mapped
    ranker: QualityRanker | None  # None where nothing is known of quality
    root: Path  # what the catalogue's paths are relative to; searching needs none of its pictures
    describer: Describer  # makes features; of the network's boxes, or in a way of its own
    folder: Path | None = None  # of the engine; None where nothing can be added
    # first come, first served; more searches at once than there are cores would slow all of them
    searching: ThreadPoolExecutor = field(default_factory=_a_thread_per_core, repr=False)
    predicting: ThreadPoolExecutor = field(default_factory=_a_thread_per_core, repr=False)
    _joining: _Joining = field(default_factory=lambda: _Joining(), repr=False)

    @classmethod
    def open(cls, folder: str | Path, *, root: str | Path | None = None) -> VisualSearch:
        """Open what `vsa.build` has made, wherever the folder was copied to.

        Large files are mapped, and a blank photo is searched for, so that the first real one is
        answered as fast as any.

        Parameters
        ----------
        folder : of the engine.
        root : where the catalogue's pictures lie, if not where they were when it was built.

        Raises
        ------
        InputError if there is no engine, or one of another version; naming the first file that
        is missing or damaged.
        """
        folder, device = settled(Path(folder)), pick_device()
        if not (folder / CARD).is_file():
            raise InputError(
                "there is no engine here",
                cure="Build one: vsa.build(shop, model, out=...)",
                file=folder,
            )
        check_manifest(folder)
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        if card.get("format") != FORMAT:
            raise InputError(
                f"this is no engine of format {FORMAT}",
                cure="Name the folder of an engine, or build it again with this version of vsa",
                file=folder,
            )
        models = read_models(folder, device)
        with pa.memory_map(str(folder / "catalogue.arrow")) as mapped:
            catalogue = pa.ipc.open_file(mapped).read_all()
        network = ready(models.network, device)
        engine = cls(
            replace(models.category, net=ready(models.category.net, device)),
            network,
            models.image_px,
            Index.open(folder / "index"),
            catalogue,
            models.ranker,
            Path(card["root"] if root is None else root),
            _describer(models, network, device),
            folder,
        )
        engine._catch_up()
        for _ in range(_N_WARMUP):
            engine.search(Image.new("RGB", (engine.image_px, engine.image_px)))
        return engine

    def search(
        self,
        photo: Source,
        k: int = 60,
        *,
        box: Sequence[float] | None = None,
        stages: Stages = ALL_STAGES,
        segment: str | None = None,
    ) -> Answer:
        """Answer one photo: a path, its bytes, a file opened as binary, or a Pillow image.

        Parameters
        ----------
        photo : of any size; it is squashed into a square, as catalogue images were.
        k : results at most; the first 60 by appearance, or k if that is more, are re-ordered.
        box : where the object is, instead of the learned box and whatever `stages` say of it:
            x_min, y_min, x_max, y_max as shares of the sides. Category and feature are then those
            of what the box shows, with a margin, seen at the networks' full size.
        stages : what to go through.
        segment : of shoppers, for re-ranking; the mean over all of them by default.

        Raises
        ------
        ImageError for a photo that cannot be used; InputError for a box that is none, k < 1, and
        a segment that the ranker does not know.
        """
        check_request(k, self.index.params)
        if segment is not None:
            (self.ranker.segments if self.ranker else Segments()).number(segment)
        if self.folder is not None and count_additions(self.folder) > self._joining.n_read:
            self._catch_up()
        given: _Box = check_box(box) if box is not None else "own" if stages.box else None
        if isinstance(given, str) and not self.describer.locates:
            given = None  # nobody would look at that box
        turn = self.searching.submit(self._search, photo, k, given, stages, segment, _Clock())
        return turn.result()

    def _search(
        self,
        photo: Source,
        k: int,
        box: _Box,
        stages: Stages,
        segment: str | None,
        clock: _Clock,
    ) -> Answer:
        with one_core():
            given = box if isinstance(box, np.ndarray) else None
            with clock("decode"):
                needed = self.describer.needed_px(is_given=given is not None)
                sizes = (self.category.store_px, self.image_px, needed)
                decoded = decode(photo, min_px=max(sizes))
                if given is not None:
                    require_pixels(given, photo, decoded)
                around = FULL_BOX if given is None else with_margin(given[None])[0]
                image = crop_square(decoded, around, self.category.store_px)
            predicted = self.predicting.submit(self._predict, image, clock)
            with clock("box and feature"):
                seen = self.locate(decoded) if isinstance(box, str) else box
                feature = self.describer.describe(
                    decoded, seen, self.category.device, is_given=given is not None
                )
            category = predicted.result()
            with clock("search"):
                ids, similarity = self.retrieve(feature, category, max(k, PAGE), stages)
            with clock("re-rank"):
                results = self.page(ids, similarity, stages, segment).head(k)
        stage_ms = {stage: clock.stage_ms[stage] for stage in STAGES}
        shown = FULL_BOX if seen is None else seen
        return Answer(image, category, shown, results, stage_ms, clock.since_start_ms())

    def search_batch(self, photos: Sequence[Source], k: int = 60) -> list[Answer]:
        """As `search`, for many photos, as many at once as there are cores."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(lambda photo: self.search(photo, k), photos))

    def add(self, table: pd.DataFrame) -> np.ndarray:
        """Let rows join the catalogue: the next search finds them, here and in other processes.

        They join the index, the table of results and, with the category that a row names, the
        reference set of the category vote; trained weights, and what was chosen with them, stay.
        All of them join or none, and they are on the disk when this returns. Nothing is selected:
        pictures that `vsa.build` would leave out as blurred or duplicate are taken.

        Parameters
        ----------
        table : schema CATALOGUE, of which what may be empty may be left out; ``path`` is relative
            to ``root``. Many rows at once cost far less than one after the other.

        Returns
        -------
        Numbers of the new rows in ``catalogue``, int64 (n,).

        Raises
        ------
        InputError for a table with a mistake, an ``image_id`` that is there already, a category
        that the engine was not built with, and while another process writes; ImageError for a
        picture that cannot be decoded.
        """
        if self.folder is None:
            raise InputError(
                "this engine lies in no folder", cure="Open one: vsa.VisualSearch.open(folder)"
            )
        table = check(complete(table, CATALOGUE), CATALOGUE, "rows to add")
        _require_new(table, self.catalogue, self.index)
        addition = _describe_rows(table, self.root, self.describer, self.category, self.catalogue)
        with self._joining.lock, Index.open(self.folder / "index", writable=True) as index:
            self._catch_up()
            _require_new(table, self.catalogue, self.index)
            first = len(self.catalogue)
            ids = np.arange(first, first + len(table))
            write_addition(self.folder, self._joining.n_read + 1, addition)
            self._take_rows([addition])
            index.add(addition.features, ids, table.category.to_numpy(str))
            self._take_references([addition], [ids])
        return ids

    def _catch_up(self) -> None:
        """Take over what has been added since, by this process or another."""
        if self.folder is None:
            return
        with self._joining.lock:
            new = read_additions(self.folder, after=self._joining.n_read)
            if not new:
                return
            ends = len(self.catalogue) + np.cumsum([len(one.rows) for one in new])
            ids = [np.arange(end - len(one.rows), end) for end, one in zip(ends, new, strict=True)]
            self._take_rows(new)
            self._take_references(new, ids)

    def _take_rows(self, new: Sequence[Addition]) -> None:
        rows = [one.rows.cast(self.catalogue.schema) for one in new]
        object.__setattr__(self, "catalogue", pa.concat_tables([self.catalogue, *rows]))
        self._joining.n_read += len(new)

    def _take_references(self, new: Sequence[Addition], ids: Sequence[np.ndarray]) -> None:
        """Of those rows that came into the index: others were interrupted on their way."""
        tables, features = [], []
        for one, numbers in zip(new, ids, strict=True):
            is_there = self.index.current().contains(numbers)
            table = one.rows.select(["image_id", "path", "category"]).to_pandas()[is_there]
            tables.append(table.rename(columns={"image_id": "id"}))
            features.append(one.references[is_there])
        more = pd.concat(tables, ignore_index=True), np.concatenate(features)
        object.__setattr__(self, "category", self.category.extended(*more))

    def close(self) -> None:
        """Let go of threads and of the index's files."""
        self.searching.shutdown()
        self.predicting.shutdown()
        self.index.close()

    def locate(self, photo: Image.Image) -> np.ndarray:
        """The learned box of a decoded photo, float32 (4,), shares of the sides."""
        return self.describer.boxes(
            self.network,
            self.image_px,
            lambda size_px: square(photo, size_px)[None],
            self.category.device,
        )[0]

    def _predict(self, image: np.ndarray, clock: _Clock) -> CategoryPrediction:
        with one_core(), clock("category"):
            return self.category.predict(image)

    def retrieve(
        self,
        feature: np.ndarray,
        category: CategoryPrediction,
        k: int,
        stages: Stages,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ids, int64 (n,), and similarities, float32 (n,), best first."""
        index = self.index
        params = check_request(k, index.params)
        wanted = likely_categories(category, index.categories) if stages.category else None
        if stages.refine:
            hits = index.search_one(feature, k, params, wanted)
            return hits.ids, hits.similarity
        found = index.candidates(feature, params, wanted)
        order = np.lexsort((found.ids, found.distance))[:k]
        return found.ids[order], found.similarity[order]

    def page(
        self, ids: np.ndarray, similarity: np.ndarray, stages: Stages, segment: str | None
    ) -> pd.DataFrame:
        """The results as a table; re-ordered by quality if that is known, and wanted."""
        if len(ids) and ids.max() >= len(self.catalogue):
            self._catch_up()  # another process has added since this search began
        rows, order = self.catalogue.take(ids), np.arange(len(ids))
        score = np.full(len(ids), np.nan)
        if self.ranker is not None and stages.rerank and len(ids):
            signals = [rows[name].to_numpy() for name in QUALITY]
            ranked = self.ranker.order(similarity, np.column_stack(signals), segment)
            order, score = ranked.order, ranked.score[ranked.order]
        found = rows.take(order)
        of_page = {"similarity": similarity[order], "rank_by_appearance": order + 1, "score": score}
        for name, values in of_page.items():  # here: pandas is slow at adding columns
            found = found.append_column(name, pa.array(values))
        return found.to_pandas()


def likely_categories(prediction: CategoryPrediction, known: Sequence[str]) -> list[str] | None:
    """The fewest categories that make up 0.99 of the fused distribution, and the index knows.

    None, which means all of them, if it knows none.
    """
    order = np.argsort(-prediction.fused, kind="stable")
    n_needed = int(np.searchsorted(np.cumsum(prediction.fused[order]), COVERED)) + 1
    chosen = [prediction.categories[i] for i in order[:n_needed]]
    return [name for name in chosen if name in known] or None


def _require_new(table: pd.DataFrame, catalogue: pa.Table, index: Index) -> None:
    """Raise InputError for rows that an engine has already, or whose category it cannot have."""
    strange = sorted(set(table.category) - set(index.categories))
    if strange:
        raise InputError(
            f"the engine was built without the category {strange[0]!r}",
            cure="Build it again, of a shop that has it and models trained on that",
        )
    known = pd.Series(catalogue["image_id"].to_pylist())
    rows = np.flatnonzero(known.isin(table.image_id))
    there = known[rows[index.current().contains(rows)]]
    if len(there):
        raise InputError(
            f"image_id {there.iloc[0]!r} is in the catalogue already ({len(there)} such)",
            cure="Give it another one, or leave the row out",
        )


def _describe_rows(
    table: pd.DataFrame,
    root: Path,
    describer: Describer,
    category: CategoryPredictor,
    catalogue: pa.Table,
) -> Addition:
    """Rows (schema CATALOGUE) as an engine that holds `catalogue` sees their pictures."""
    paths, device = table.path.tolist(), category.device
    pictures = load_images(root, paths, describer.image_px)
    features = describer.embedder(device).embed(pictures)
    pictures = load_images(root, paths, category.store_px)
    _, references = predict(category.net, pictures, category.crop_px, device)
    rows = pa.Table.from_pandas(table.drop(columns=BOX), preserve_index=False)
    rows = rows.select(catalogue.column_names).cast(catalogue.schema)
    return Addition(rows, features, references)


def _describer(models: TrainedModels, network: JointNet, device: Device) -> Describer:
    """What makes features, ready for answering; `network` is the joint one, ready already."""
    serving = models.serving
    own = serving.net is models.network
    localiser = serving.localiser
    if localiser is not None:
        localiser = replace(localiser, net=ready(localiser.net, device))
    return replace(serving, net=network if own else ready(serving.net, device), localiser=localiser)


@dataclass
class _Joining:
    """What has joined the engine since it was built, as far as it was read."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    n_read: int = 0


@dataclass
class _Clock:
    """Milliseconds of named stages, in their order."""

    stage_ms: dict[str, float] = field(default_factory=dict)
    start: float = field(default_factory=time.perf_counter)

    def since_start_ms(self) -> float:
        return 1e3 * (time.perf_counter() - self.start)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.stage_ms[stage] = 1e3 * (time.perf_counter() - start)
