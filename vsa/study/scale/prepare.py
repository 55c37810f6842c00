"""What notebook 08 starts from: photos, a catalogue of any size, and Ray."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vsa.index.build import build_index
from vsa.index.settings import CodeSettings
from vsa.runtime.errors import NotApplicable
from vsa.runtime.seeds import generator
from vsa.study.catalogue.prepare import Shop
from vsa.study.index.prepare import index_task
from vsa.study.run import Run
from vsa.study.settings import ScaleSettings
from vsa.study.simulate.growth import Growth, make_growth

_MOVED = 0.2  # how far a photo's feature is moved, at random, to be another query


@dataclass(frozen=True)
class ScaleLab:
    """Who asks, what is searched, and how much of it."""

    photos: np.ndarray  # float32 (n, d), unit length: features of test photos
    growth: Growth  # of catalogue pictures
    settings: ScaleSettings
    codes: CodeSettings
    seed: int
    folder: Path

    def build(self, folder: Path, features: np.ndarray, categories: np.ndarray) -> None:
        """Index items by this run's codes."""
        build_index(
            folder,
            features,
            categories=categories,
            codec=self.codes.codec,
            n_bits=self.codes.n_bits,
            seed=self.seed,
        )

    def queries(self, n: int) -> np.ndarray:
        """Features of photos, each moved a little so that none is asked twice; float32 (n, d)."""
        rng = generator(self.seed, "asked on a cluster")
        rows = np.arange(n) % len(self.photos)
        noise = rng.standard_normal((n, self.photos.shape[1]), np.float32)
        noise /= np.linalg.norm(noise, axis=1, keepdims=True)
        moved = self.photos[rows] + _MOVED * noise
        return moved / np.linalg.norm(moved, axis=1, keepdims=True)


def open_lab(run: Run, shop: Shop) -> ScaleLab:
    """Where notebook 08 experiments.

    Raises NotApplicable where Ray is not installed, and where there are no features to index.
    """
    if importlib.util.find_spec("ray") is None:
        raise NotApplicable(
            "Shards on several nodes: Ray is not installed (`pip install 'vsa[cluster]'`)."
        )
    task = index_task(run, shop)
    return ScaleLab(
        task.test.features,
        make_growth(task.features[task.kept], task.categories[task.kept], run.seed),
        run.settings.scale,
        CodeSettings(codec=run.settings.index.codec, n_bits=run.settings.index.n_bits),
        run.seed,
        run.artifacts / "scale",
    )
