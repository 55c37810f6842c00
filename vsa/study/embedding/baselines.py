"""Features that nobody trained for this task: what those learned from clicks have to beat.

More are registered in `BASELINES`, which is `vsa.baselines` (see docs/extending.md), or with
`vsa.embedders`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vsa.data.descriptors import colour_histogram, weak_features
from vsa.models.embedder import EMBEDDERS, Embedder
from vsa.models.torchvision_models import file_key
from vsa.runtime.errors import InputError
from vsa.runtime.registry import Registry, unknown

HISTOGRAM = "colour histogram"
DESCRIPTORS = "colour histogram and thumbnail"
IMAGENET = "ImageNet MobileNetV2"

Baseline = Embedder | Callable[[np.ndarray], np.ndarray]
"""Images, uint8 (n, S, S, 3), → features (n, d); what is not of unit length is brought to it."""


def _check(name: str, entry: Baseline) -> None:
    if not callable(entry):
        raise InputError(
            f"the feature baseline {name!r} is of type {type(entry).__name__}",
            cure="Register a function from images, uint8 (n, S, S, 3), to features, or an Embedder",
        )


BASELINES: Registry[Baseline] = Registry("feature baseline", "baselines", _check)


@dataclass(frozen=True)
class OfTorchvision:
    """ImageNet features of one of torchvision's networks, at the size of the images it is given."""

    model: str

    def __call__(self, images: np.ndarray) -> np.ndarray:
        embedder = Embedder.from_pretrained(self.model, image_px=images.shape[1])
        return embedder.embed(images, description=f"describe by {self.model}")

    @property
    def identity(self) -> str:
        """What tells its weights from others."""
        return file_key(self.model)


BASELINES.register(HISTOGRAM, colour_histogram)
BASELINES.register(DESCRIPTORS, weak_features)
BASELINES.register(IMAGENET, OfTorchvision("mobilenet_v2"))


def baselines() -> tuple[str, ...]:
    """Names of all feature baselines, registered embedders included."""
    return (*BASELINES, *(name for name in EMBEDDERS if name not in BASELINES))


def baseline_identity(name: str) -> str:
    """What caches know a baseline by: name, version, weights, and the source of somebody's own.

    Raises InputError as `describe_by`.
    """
    if name not in BASELINES:
        return _embedder_identity(name, EMBEDDERS[name])
    return f"{BASELINES.identity(name)} {getattr(BASELINES[name], 'identity', '')}".rstrip()


@functools.cache  # its weights are read and hashed
def _embedder_identity(name: str, entry: Callable[[], Embedder]) -> str:
    return f"{EMBEDDERS.identity(name)} {Embedder.from_pretrained(name).identity}"


def describe_by(name: str, *image_sets: np.ndarray) -> list[np.ndarray]:
    """Features, float32 (n, d) of unit length, of sets of images, uint8 (n, S, S, 3).

    Raises InputError for a baseline that cannot be had, or gives what are no such features.
    """
    if name not in baselines():
        raise unknown("feature baseline", name, baselines())
    baseline = BASELINES[name] if name in BASELINES else Embedder.from_pretrained(name)
    describe = baseline.embed if isinstance(baseline, Embedder) else baseline
    found = [_features(name, describe, images) for images in image_sets]
    if len({features.shape[1] for features in found}) != 1:
        raise _mistaken(name, f"gives features of {[f.shape[1] for f in found]} dimensions")
    return found


def _features(
    name: str, describe: Callable[[np.ndarray], np.ndarray], images: np.ndarray
) -> np.ndarray:
    try:
        features = np.asarray(describe(images), np.float32)
    except InputError:
        raise
    except Exception as error:
        raise _mistaken(name, f"fails ({type(error).__name__}: {error})") from error
    if features.ndim != 2 or len(features) != len(images) or not features.shape[1]:
        raise _mistaken(name, f"gives {features.shape} for {len(images)} images")
    if not np.isfinite(features).all():
        raise _mistaken(name, "gives NaN or infinite features")
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    if np.allclose(lengths, 1, atol=1e-4):
        return features
    return features / np.where(lengths > 0, lengths, 1)


def _mistaken(name: str, problem: str) -> InputError:
    return InputError(
        f"the feature baseline {name!r} {problem}",
        cure="Let it give finite features (n, d) for images, uint8 (n, S, S, 3)",
    )
