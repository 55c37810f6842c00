"""The ONLINE path, and the only place where stages meet: a shopper's photo goes in here."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from vsa.category.experiment import settings_for
from vsa.category.predictor import CategoryPrediction, CategoryPredictor, open_predictor
from vsa.data.images import Source, load_image
from vsa.runtime.device import pick_device
from vsa.runtime.run import Run


@dataclass(frozen=True)
class Answer:
    """What the engine found out about one photo, and how long each stage took."""

    image: np.ndarray  # uint8 (S, S, 3), as the category stage sees it
    category: CategoryPrediction
    stage_ms: dict[str, float]


@dataclass(frozen=True)
class VisualSearch:
    """The trained stages of one run, opened once and asked many times."""

    category: CategoryPredictor

    @classmethod
    def open(cls, run: Run) -> VisualSearch:
        """Open the stages that a run has trained; raises InputError if there are none."""
        folder = run.artifacts / "category" / "predictor"
        return cls(open_predictor(folder, settings_for(run), pick_device()))

    def search(self, photo: Source) -> Answer:
        """Answer one photo (a path, its bytes, or a Pillow image); raises ImageError."""
        clock = [time.perf_counter()]
        image = load_image(photo, self.category.settings.store_px)
        clock.append(time.perf_counter())
        category = self.category.predict(image)
        clock.append(time.perf_counter())
        stage_ms = dict(zip(("decode", "category"), 1e3 * np.diff(clock), strict=True))
        return Answer(image, category, stage_ms)
