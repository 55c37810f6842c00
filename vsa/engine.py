"""The ONLINE path, and the only place where stages meet: a shopper's photo goes in here.

    photo → category (model and search, fused), box → feature of what the box shows
          → coarse filter → refined rank → quality re-rank → results

`vsa.offline` makes what is opened here: a folder that holds all that it needs. Category, box and
re-ranking are there if the engine was built with them: one over an embedder has none of the three.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from vsa import growing
from vsa.answer import ALL_STAGES, STAGES, Answer, Clock, Stages, likely_categories
from vsa.category.predictor import CategoryPrediction, CategoryPredictor
from vsa.data.boxes import check_box, require_pixels
from vsa.data.crops import crop_square, with_margin
from vsa.data.decoding import Source, decode
from vsa.data.images import square
from vsa.data.schema import QUALITY
from vsa.embedding.describer import Describer, WholeDescriber
from vsa.embedding.extract import FULL_BOX
from vsa.embedding.joint import JointNet
from vsa.growing import Change, Grower, OnError
from vsa.index.index import Index
from vsa.index.request import check_request
from vsa.ranking.segments import Segments
from vsa.ranking.serve import QualityRanker
from vsa.rows import Rows
from vsa.runtime.device import Backend, Device, pick_device
from vsa.runtime.inference import one_core
from vsa.store import Store
from vsa.trained import read_stages, ready_stages

PAGE = 60  # results by appearance that quality re-orders
_N_WARMUP = 2  # TorchScript looks at one pass and makes its code in the next


_Box = np.ndarray | Literal["own"] | None  # float32 (4,); the learned one; the whole photo


def _a_thread_per_core() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1)


@dataclass(frozen=True)
class VisualSearch:
    """Trained stages and a catalogue, opened once and asked many times, from any thread."""

    store: Store  # the catalogue: rows and index, in the engine's folder
    trained: CategoryPredictor | None  # with the references it was trained with; None: no stage
    network: JointNet | None  # finds boxes; None: nobody does
    image_px: int
    ranker: QualityRanker | None  # None where nothing is known of quality
    root: Path  # what the catalogue's paths are relative to; searching needs none of its pictures
    describer: Describer | WholeDescriber  # makes features
    device: Device
    # first come, first served; more searches at once than there are cores would slow all of them
    searching: ThreadPoolExecutor = field(default_factory=_a_thread_per_core, repr=False)
    predicting: ThreadPoolExecutor = field(default_factory=_a_thread_per_core, repr=False)
    _vote: _Vote = field(default_factory=lambda: _Vote(), repr=False)

    @classmethod
    def open(
        cls, folder: str | Path, *, root: str | Path | None = None, backend: Backend = "torch"
    ) -> VisualSearch:
        """Open what `vsa.build` has made, wherever the folder was copied to.

        Large files are mapped, and a picture of noise is searched for, so that the first real
        photo is answered as fast as any.

        Parameters
        ----------
        folder : of the engine.
        root : where the catalogue's pictures lie, if not where they were when it was built.
        backend : what runs the networks: "torch", or "onnx", which on a CPU takes less time for
            each photo and more to open, and needs the extra ``export``.

        Raises
        ------
        InputError if there is no engine, or one of another version; naming the first file that
        is missing or damaged; for a back end that is neither, or not installed.
        """
        store = Store(folder)
        try:
            return cls.over(store, root=root, backend=backend)
        except BaseException:
            store.close()
            raise

    @classmethod
    def over(
        cls, store: Store, *, root: str | Path | None = None, backend: Backend = "torch"
    ) -> VisualSearch:
        """As `open`, over a catalogue that is open already, and is closed with this."""
        device = pick_device(backend)
        stages = ready_stages(read_stages(store.folder, device), device)
        engine = cls(store, root=Path(store.card["root"] if root is None else root), **stages)
        size = (engine.image_px, engine.image_px, 3)
        noise = np.random.default_rng(0).integers(0, 256, size, np.uint8)
        for _ in range(_N_WARMUP):
            engine.search(Image.fromarray(noise))
        return engine

    def __enter__(self) -> VisualSearch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def index(self) -> Index:
        """The index of the catalogue's pictures (section 3.3)."""
        return self.store.index

    @property
    def catalogue(self) -> pa.Table:
        """Rows of the pictures that can be found now."""
        return self.store.current().rows.table

    @property
    def category(self) -> CategoryPredictor | None:
        """The category stage (section 3.1) with the references of the catalogue as it is now."""
        return self._category(self.store.current().rows)

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
        given: _Box = check_box(box) if box is not None else "own" if stages.box else None
        if isinstance(given, str) and not self.describer.locates:
            given = None  # nobody would look at that box
        turn = self.searching.submit(self._search, photo, k, given, stages, segment, Clock())
        return turn.result()

    def _search(
        self,
        photo: Source,
        k: int,
        box: _Box,
        stages: Stages,
        segment: str | None,
        clock: Clock,
    ) -> Answer:
        with one_core():
            stage = self.category
            given = box if isinstance(box, np.ndarray) else None
            with clock("decode"):
                needed = self.describer.needed_px(is_given=given is not None)
                image_px = self.image_px if stage is None else stage.store_px
                decoded = decode(photo, min_px=max(image_px, self.image_px, needed))
                if given is not None:
                    require_pixels(given, photo, decoded)
                around = FULL_BOX if given is None else with_margin(given[None])[0]
                image = crop_square(decoded, around, image_px)
            predicted: Future[CategoryPrediction] | None = None
            if stage is not None:
                predicted = self.predicting.submit(_predict, stage, image, clock)
            with clock("box and feature"):
                seen = self.locate(decoded) if isinstance(box, str) else box
                feature = self.describer.describe(
                    decoded, seen, self.device, is_given=given is not None
                )
            category = None if predicted is None else predicted.result()
            with clock("search"):
                ids, similarity = self.retrieve(feature, category, max(k, PAGE), stages)
            with clock("re-rank"):
                results = self.page(ids, similarity, stages, segment).head(k)
        stage_ms = {stage: clock.stage_ms.get(stage, 0.0) for stage in STAGES}
        shown = FULL_BOX if seen is None else seen
        return Answer(image, category, shown, results, stage_ms, clock.since_start_ms())

    def search_batch(self, photos: Sequence[Source], k: int = 60) -> list[Answer]:
        """As `search`, for many photos, as many at once as there are cores."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(lambda photo: self.search(photo, k), photos))

    # Growing -------------------------------------------------------------------------------

    def add(
        self, table: pd.DataFrame, *, select: bool = True, on_error: OnError = "raise"
    ) -> Change:
        """Let rows join the catalogue: the next search finds them, here and in other processes.

        They join the index, the table of results and, with the category that a row names, the
        reference set of the category vote; trained weights, and what was chosen with them, stay.
        All of them join or none, and they are on the disk when this returns.

        Parameters
        ----------
        table : schema CATALOGUE, of which what may be empty may be left out; ``path`` is relative
            to ``root``. Many rows at once cost far less than one after the other.
        select : leave out pictures that are flat, blurred, or copies of one that is there, by the
            thresholds that the engine was built with; False takes all of them.
        on_error : of a picture that cannot be read: "raise" lets no row join, "skip" the others.

        Returns
        -------
        What joined, and what was left out and why.

        Raises
        ------
        InputError for a table with a mistake, an ``image_id`` that is there already, a category
        that the engine was not built with, while another process writes, and when the disk is full;
        ImageError naming a picture that cannot be read.
        """
        return self._grower.add(table, select=select, on_error=on_error)

    def update(
        self, table: pd.DataFrame, *, select: bool = True, on_error: OnError = "raise"
    ) -> Change:
        """Replace rows of the catalogue, with their pictures; as `add`.

        A row whose new picture selection leaves out stays as it was. Raises InputError for an
        ``image_id`` that is not there.
        """
        return self._grower.update(table, select=select, on_error=on_error)

    def remove(self, image_ids: Sequence[str]) -> None:
        """Remove rows from the catalogue, the index and the reference set, all or none.

        They are gone for the next search, here and in other processes, and from the disk with
        `compact`. Raises InputError for an ``image_id`` that is not there.
        """
        growing.remove(self.store, image_ids)

    def compact(self) -> None:
        """Fold all changes into what was built; searches go on meanwhile."""
        self.store.compact()

    def verify(self) -> None:
        """Read every byte that has a checksum; raises InputError for what is damaged or missing."""
        self.store.verify()

    def stats(self) -> dict[str, Any]:
        """Counts of pictures and changes, and bytes on disk."""
        return self.store.stats()

    @cached_property
    def _grower(self) -> Grower:
        embedder = self.describer.embedder(self.device)
        return Grower(self.store, self.root, embedder, self.trained)

    def _category(self, rows: Rows) -> CategoryPredictor | None:
        if self.trained is None:
            return None
        with self._vote.lock:
            if self._vote.rows is not rows:
                self._vote.predictor = self.trained.with_references(
                    rows.forgotten, rows.references()
                )
                self._vote.rows = rows
            return self._vote.predictor

    def close(self) -> None:
        """Let go of threads and of the index's files."""
        self.searching.shutdown()
        self.predicting.shutdown()
        self.store.close()

    # Stages --------------------------------------------------------------------------------

    def locate(self, photo: Image.Image) -> np.ndarray:
        """The learned box of a decoded photo, float32 (4,), shares of the sides.

        The whole photo, where nobody locates.
        """
        if self.network is None or isinstance(self.describer, WholeDescriber):
            return FULL_BOX
        return self.describer.boxes(
            self.network, self.image_px, lambda size_px: square(photo, size_px)[None], self.device
        )[0]

    def retrieve(
        self,
        feature: np.ndarray,
        category: CategoryPrediction | None,
        k: int,
        stages: Stages,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ids, int64 (n,), and similarities, float32 (n,), best first."""
        index = self.index
        params, wanted = check_request(k, index.params), None
        if stages.category and category is not None:
            wanted = likely_categories(category, index.categories)
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
        known = self.store.current().rows
        there = known.knows(ids)  # but what was removed, and compacted away, since it was found
        ids, similarity = ids[there], similarity[there]
        rows, order = known.take(ids), np.arange(len(ids))
        score = np.full(len(ids), np.nan)
        if self.ranker is not None and stages.rerank and len(ids):
            signals = [rows[name].to_numpy() for name in QUALITY]
            ranked = self.ranker.order(similarity, np.column_stack(signals), segment)
            order, score = ranked.order, ranked.score[ranked.order]
        found = rows.take(pa.array(order))
        of_page = {"similarity": similarity[order], "rank_by_appearance": order + 1, "score": score}
        for name, values in of_page.items():  # here: pandas is slow at adding columns
            found = found.append_column(name, pa.array(values))
        return found.to_pandas()


def _predict(stage: CategoryPredictor, image: np.ndarray, clock: Clock) -> CategoryPrediction:
    with one_core(), clock("category"):
        return stage.predict(image)


@dataclass
class _Vote:
    """The category stage with the references of some rows."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    rows: Rows | None = None
    predictor: CategoryPredictor | None = None
