"""The ONLINE path, and the only place where stages meet: a shopper's photo goes in here.

    photo → category (model and search, fused), box → feature of what the box shows
          → coarse filter → refined rank → quality re-rank → results

`vsa.offline` makes what is opened here: a folder that holds all that it needs. Category, box and
re-ranking are there if the engine was built with them: one over an embedder has none of the three.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
from joblib import cpu_count
from PIL import Image

from vsa import growing
from vsa.answer import (
    ALL_STAGES,
    STAGES,
    Answer,
    Described,
    Question,
    Seen,
    Stages,
    likely_categories,
)
from vsa.category.predictor import CategoryPrediction, CategoryPredictor
from vsa.data.boxes import check_box
from vsa.data.decoding import Source
from vsa.data.schema import QUALITY
from vsa.embedding.describer import Describer, WholeDescriber
from vsa.embedding.joint import JointNet
from vsa.growing import Change, Grower, OnError
from vsa.index.hits import Hits
from vsa.index.index import Index
from vsa.index.lists import Names
from vsa.index.request import SearchParams, check_request
from vsa.ranking.segments import Segments
from vsa.ranking.serve import QualityRanker
from vsa.rows import Rows
from vsa.runtime.device import Backend, Device, pick_device
from vsa.runtime.errors import InputError
from vsa.runtime.inference import one_core
from vsa.runtime.registry import unknown
from vsa.seeing import Eyes, clocks
from vsa.store import Store
from vsa.trained import read_stages, ready_stages

PAGE = 60  # results by appearance that quality re-orders
_N_WARMUP = 2  # TorchScript looks at one pass and makes its code in the next


def _a_thread_per_core() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cpu_count())


class Finder(Protocol):
    """What finds the items of features: an index, or a cluster that holds one in parts."""

    def search_one(
        self,
        feature: np.ndarray,
        k: int = 60,
        params: SearchParams | None = None,
        categories: Names | None = None,
        *,
        refined: bool = True,
    ) -> Hits:
        """As `Index.search_one`."""
        ...


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
    finder: Finder | None = None  # asked in place of the index, if there is one
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
        cls,
        store: Store,
        *,
        root: str | Path | None = None,
        backend: Backend = "torch",
        finder: Finder | None = None,
    ) -> VisualSearch:
        """As `open`, over a catalogue that is open already, and is closed with this.

        `finder` is asked in place of the catalogue's own index.
        """
        device = pick_device(backend)
        stages = ready_stages(read_stages(store.folder, device), device)
        root = Path(store.card["root"] if root is None else root)
        engine = cls(store, root=root, finder=finder, **stages)
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
        categories: Sequence[str] | None = None,
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
        categories : the only ones that are searched, instead of those that the photo's is
            predicted to be one of.

        Raises
        ------
        ImageError for a photo that cannot be used; InputError for a box that is none, k < 1, and
        a segment or a category that the engine does not know.
        """
        asked = self.ask(photo, k, box=box, stages=stages, segment=segment, categories=categories)
        return self.searching.submit(self._search, asked).result()

    def ask(
        self,
        photo: Source,
        k: int = 60,
        *,
        box: Sequence[float] | None = None,
        stages: Stages = ALL_STAGES,
        segment: str | None = None,
        categories: Sequence[str] | None = None,
    ) -> Question:
        """A question as the stages below take it; arguments and errors as of `search`.

        The photo itself is decoded later.
        """
        check_request(k, self.index.params)
        if segment is not None:
            (self.ranker.segments if self.ranker else Segments()).number(segment)
        if categories is not None:
            self._require_categories(categories)
        given: np.ndarray | Literal["own"] | None = None
        if box is not None:
            given = check_box(box)
        elif stages.box and self.describer.locates:
            given = "own"
        only = None if categories is None else tuple(categories)
        return Question(photo, k, given, stages, segment, only)

    def _require_categories(self, names: Sequence[str]) -> None:
        known = [name for name in self.index.categories if name]
        if not names:
            raise InputError(
                "no category is to be searched", cure="Name one, or leave categories out"
            )
        for name in names:
            if name not in known:
                wrong = unknown("category", name, known)
                told = wrong.cure if not known else f"The engine has {', '.join(known)}"
                raise InputError(wrong.problem, cure=told)

    def _search(self, asked: Question) -> Answer:
        with one_core():
            seen = self.eyes.see(asked)
            predicted: Future[list[CategoryPrediction]] | None = None
            if self.trained is not None:
                predicted = self.predicting.submit(self.categorise, [seen])
            (described,) = self.eyes.describe([seen])
            category = None if predicted is None else predicted.result()[0]
            return self.answer(seen, described, category)

    # A search, stage by stage: photos that wait may pass the networks together -----------------

    @cached_property
    def eyes(self) -> Eyes:
        """What decodes and describes photos."""
        shown_px = self.image_px if self.trained is None else self.trained.store_px
        return Eyes(self.describer, self.network, self.image_px, shown_px, self.device)

    def categorise(self, seen: Sequence[Seen]) -> list[CategoryPrediction]:
        """The category of each photo; there has to be such a stage."""
        stage = self.category
        assert stage is not None
        with one_core(), clocks(seen, "category"):
            return stage.predict_batch(np.stack([one.image for one in seen]))

    def answer(
        self, seen: Seen, described: Described, category: CategoryPrediction | None
    ) -> Answer:
        """Search, re-rank and tell; `category` is None where there is no such stage."""
        asked, clock = seen.asked, seen.asked.clock
        with one_core():
            with clock("search"):
                wanted: Sequence[str] | None = asked.categories
                if wanted is None and asked.stages.category and category is not None:
                    wanted = likely_categories(category, self.index.categories)
                hits = self._find(described.feature, wanted, max(asked.k, PAGE), asked.stages)
            with clock("re-rank"):
                page = self.page(hits.ids, hits.similarity, asked.stages, asked.segment)
                results = page.head(asked.k)
        stage_ms = {stage: clock.stage_ms.get(stage, 0.0) for stage in STAGES}
        box, others = described.boxes[0], described.boxes[1:]
        return Answer(
            seen.image,
            category,
            box,
            others,
            results,
            stage_ms,
            clock.since_start_ms(),
            hits.missing_shards,
        )

    def search_batch(self, photos: Sequence[Source], k: int = 60) -> list[Answer]:
        """As `search`, for many photos, as many at once as there are cores."""
        with ThreadPoolExecutor(cpu_count()) as pool:
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

    def put(
        self, table: pd.DataFrame, *, select: bool = True, on_error: OnError = "raise"
    ) -> Change:
        """Let rows join the catalogue, in place of those of the same ``image_id``; as `add`."""
        return self._grower.put(table, select=select, on_error=on_error)

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

    # What stages are made of ---------------------------------------------------------------

    def locate(self, photo: Image.Image) -> np.ndarray:
        """The learned box of a decoded photo, float32 (4,), shares of the sides.

        The whole photo, where nobody locates.
        """
        return self.eyes.locate(photo)

    def retrieve(
        self,
        feature: np.ndarray,
        category: CategoryPrediction | None,
        k: int,
        stages: Stages,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ids, int64 (n,), and similarities, float32 (n,), best first; of likely categories."""
        wanted = None
        if stages.category and category is not None:
            wanted = likely_categories(category, self.index.categories)
        hits = self._find(feature, wanted, k, stages)
        return hits.ids, hits.similarity

    def _find(
        self, feature: np.ndarray, wanted: Sequence[str] | None, k: int, stages: Stages
    ) -> Hits:
        finder, params = self.finder or self.index, check_request(k, self.index.params)
        return finder.search_one(feature, k, params, wanted, refined=stages.refine)

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


@dataclass
class _Vote:
    """The category stage with the references of some rows."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    rows: Rows | None = None
    predictor: CategoryPredictor | None = None
