"""Pictures → features of unit length: the one way they are made, offline and online alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import islice
from typing import Any, TypeGuard, cast

import numpy as np
import torch
from joblib import cpu_count
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from vsa.data.decoding import Source
from vsa.data.images import load_image
from vsa.models.known_by import known_by
from vsa.models.torchvision_models import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    make_headless,
    model_names,
    trained_input,
)
from vsa.runtime.batches import to_tensor
from vsa.runtime.device import Device, pick_device
from vsa.runtime.errors import InputError
from vsa.runtime.fingerprint import key
from vsa.runtime.progress import progress
from vsa.runtime.registry import Registry, unknown

VERSION = 1  # of what this module makes of a network's output
_CHUNK = 256  # photos that are decoded at a time
_NOTICED = 1e-12  # a shorter feature points nowhere
_TRANSFORMING = ("googlenet", "inception_v3")  # whose weights expect another normalisation inside


class Embedder:
    """Pictures → features, float32 of unit length, by any network.

    The whole picture is squashed into a square, as everywhere in this package. ``embedder(photos)``
    takes files, ``embedder.embed(images)`` arrays.

    Parameters
    ----------
    network : a module or any other function from normalised pictures, float32 (B, 3, S, S) on the
        device, to vectors (B, d), a tensor or an array: of timm, open_clip, transformers or your
        own. A module is set to evaluation and moved to the device.
    image_px : S.
    mean, std : of the colours, in [0, 1], that the network was trained with: it is given
        (picture / 255 − mean) / std. ImageNet's by default.
    name : as messages and indexes have it; by default the network's own.
    device : where it runs; by default what this machine has.

    Raises
    ------
    InputError for a network that fails on a picture, or gives what is no vector of each.

    Examples
    --------
    >>> import numpy as np, torch, vsa
    >>> embed = vsa.Embedder(lambda pictures: pictures.mean((2, 3)), image_px=32, name="colour")
    >>> embed.embed(np.full((2, 32, 32, 3), 200, np.uint8)).shape
    (2, 3)
    """

    def __init__(
        self,
        network: Callable[[Tensor], Any],
        *,
        image_px: int,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        name: str | None = None,
        device: Device | None = None,
    ) -> None:
        self.name = name or getattr(network, "__name__", type(network).__name__)
        self.image_px, self.device = image_px, device or pick_device()
        self._require_settings(network, mean, std)
        self.normalisation = (tuple(mean), tuple(std))
        shape, place = (1, 3, 1, 1), self.device.device
        self._mean = torch.tensor(self.normalisation[0]).view(shape).to(place) * 255
        self._std = torch.tensor(self.normalisation[1]).view(shape).to(place) * 255
        self.network = network
        if isinstance(network, nn.Module):
            self.network = network.to(place, memory_format=self.device.memory_format).eval()
        self._dim: int | None = None
        self._dim = self._embed(_any_picture(image_px)).shape[1]

    @classmethod
    def from_pretrained(
        cls, name: str, *, image_px: int | None = None, device: Device | None = None
    ) -> Embedder:
        """A registered embedder, or else a classification network of torchvision's, by name.

        Parameters
        ----------
        name : of `vsa.embedders`, or as ``mobilenet_v2``, ``resnet50``, ``vit_b_16``: the input of
            the last layer is the feature. For weights see `vsa.models.backbones.make_backbone`.
        image_px : side of the pictures; by default what torchvision's weights were trained for.
        device : where one of torchvision's runs; by default what this machine has.

        Raises
        ------
        InputError for an unknown name, weights that cannot be had, a size that does not fit.
        """
        if name in EMBEDDERS:
            return _registered(name, image_px)
        if name not in model_names():
            raise _unknown(name)
        trained = trained_input(name)
        network, _ = make_headless(name, pretrained=True, **inside(name))
        size, mean, std = image_px or trained.image_px, trained.mean, trained.std
        return Embedder(network, image_px=size, mean=mean, std=std, name=name, device=device)

    @property
    def dim(self) -> int:
        """d, the length of a feature."""
        assert self._dim is not None
        return self._dim

    @property
    def identity(self) -> str:
        """What caches and indexes know it by: name, size, and a digest of all that it computes.

        The digest is of weights, normalisation and, for a function of yours, of its source.
        """
        return f"{self.name} {self.image_px} px {self._digest}"

    @cached_property
    def _digest(self) -> str:
        return key(
            {"embedder": VERSION},
            network=known_by(self.network),
            image_px=self.image_px,
            normalisation=self.normalisation,
        )

    def __call__(self, photos: Source | Iterable[Source]) -> np.ndarray:
        """Features of photos: of one float32 (d,), of several (n, d).

        A photo is a path, its bytes, a file opened as binary, or Pillow's image. Raises ImageError
        for a photo that cannot be used.
        """
        features = [self.embed(images) for images in self.decoded(photos)]
        if is_one(photos):
            return features[0][0]
        return np.concatenate([np.empty((0, self.dim), np.float32), *features])

    def decoded(self, photos: Source | Iterable[Source]) -> Iterator[np.ndarray]:
        """Photos as images, uint8 (n, S, S, 3), so many at a time as memory has room for."""
        several = iter([photos] if is_one(photos) else cast("Iterable[Source]", photos))
        with ThreadPoolExecutor(cpu_count()) as pool:
            while chunk := list(islice(several, _CHUNK)):
                yield np.stack(list(pool.map(self._decode, chunk)))

    def _decode(self, photo: Source) -> np.ndarray:
        return load_image(photo, self.image_px)

    def embed(
        self, images: np.ndarray, *, batch_size: int = 64, description: str = "embed"
    ) -> np.ndarray:
        """Features, float32 (n, d) of unit length, of images, uint8 (n, S, S, 3).

        Images of another size than the embedder's are resized; they may be mapped. Raises
        InputError for what are no such images, and where the network does not do its part.
        """
        require_images(images)
        features = [np.empty((0, self.dim), np.float32)]
        for start in progress(range(0, len(images), batch_size), description):
            features.append(self._embed(np.array(images[start : start + batch_size])))
        return np.concatenate(features)

    @torch.inference_mode()
    def _embed(self, images: np.ndarray) -> np.ndarray:
        """Features of a batch; raises InputError unless they are what features have to be."""
        pictures = to_tensor(images, self.device).float()
        size = (self.image_px, self.image_px)
        if pictures.shape[2:] != size:
            pictures = interpolate(pictures, size, mode="bilinear", antialias=True)
        pictures = (pictures - self._mean) / self._std
        try:
            with self.device.autocast():
                vectors = torch.as_tensor(self.network(pictures))
        except InputError:
            raise
        except Exception as error:
            raise self._mistaken(
                f"fails on pictures {tuple(pictures.shape)} ({type(error).__name__}: {error})",
                "Mend it, or give it the size that it takes, as image_px",
            ) from error
        self.require_vectors(vectors, len(images))
        return normalize(vectors.float(), dim=1).cpu().numpy()

    def require_vectors(self, vectors: Tensor, n: int) -> None:
        """Raise InputError for what cannot be features of `n` pictures."""
        fits = vectors.ndim == 2 and len(vectors) == n and vectors.shape[1] > 0
        if not fits or self._dim not in (None, vectors.shape[1]):
            raise self._mistaken(
                f"gives {tuple(vectors.shape)} for {n} pictures, not ({n}, {self._dim or 'd'})",
                "Let it give one vector of each picture, of one length for all: pool what it has",
            )
        if not torch.isfinite(vectors).all():
            raise self._mistaken(
                "gives NaN or infinite features",
                "See whether its weights are whole, and its normalisation right (mean, std)",
            )
        if self._dim is not None and (vectors.float().norm(dim=1) < _NOTICED).any():
            raise self._mistaken(
                "gives a feature that is zero throughout, and has no direction",
                "Take its features before a ReLU, or from another layer",
            )

    def _mistaken(self, problem: str, cure: str) -> InputError:
        return InputError(f"the embedder {self.name!r} {problem}", cure=cure)

    def _require_settings(
        self, network: object, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        if not callable(network):
            raise self._mistaken(
                f"cannot be called, being of type {type(network).__name__}",
                "Give a module, or a function from pictures (B, 3, S, S) to vectors (B, d)",
            )
        if not isinstance(self.image_px, int) or self.image_px < 1:
            raise self._mistaken(
                f"cannot see pictures of {self.image_px!r} px", "Give image_px as a whole number"
            )
        if len(mean) != 3 or len(std) != 3 or not all(value > 0 for value in std):
            raise self._mistaken(
                f"has the normalisation mean {mean}, std {std}",
                "Give three numbers each, of colours in [0, 1], those of std above 0",
            )


def require_images(images: np.ndarray) -> None:
    """Raise InputError for what are no images, uint8 (n, H, W, 3)."""
    shape: tuple[int, ...] = getattr(images, "shape", ())
    kind = getattr(images, "dtype", type(images).__name__)
    if len(shape) != 4 or shape[3] != 3 or kind != np.uint8:
        raise InputError(
            f"images are uint8 (n, S, S, 3), and not {kind} {tuple(shape)}",
            cure="Give an array as vsa.data.images makes it; or call the embedder with files",
        )


def is_one(photos: object) -> TypeGuard[Source]:
    """Whether that is a photo, and not several."""
    one = (str, os.PathLike, bytes, bytearray, memoryview, Image.Image)
    return isinstance(photos, one) or hasattr(photos, "read")


def _any_picture(image_px: int) -> np.ndarray:
    """What an embedder is tried with: no network may take it for an empty one."""
    return np.random.default_rng(0).integers(0, 256, (1, image_px, image_px, 3), np.uint8)


# By name ---------------------------------------------------------------------------------------


def _check(name: str, entry: Callable[[], Embedder]) -> None:
    if isinstance(entry, Embedder) or not callable(entry):
        raise InputError(
            f"the embedder {name!r} is of type {type(entry).__name__}",
            cure="Register a function without parameters that makes it when it is asked for",
        )


EMBEDDERS: Registry[Callable[[], Embedder]] = Registry("embedder", "embedders", _check)


def inside(name: str) -> dict[str, bool]:
    """What one of torchvision's has to be built with, so that pictures come as others expect."""
    return {"transform_input": True} if name in _TRANSFORMING else {}


def is_known(name: str) -> bool:
    """Whether `Embedder.from_pretrained` knows a name."""
    return name in EMBEDDERS or name in model_names()


def _registered(name: str, image_px: int | None) -> Embedder:
    entry = EMBEDDERS[name]
    try:
        made = entry()
    except InputError as error:
        problem = f"the registered embedder {name!r} cannot be made: {error.problem}"
        raise InputError(problem, cure=error.cure, file=error.file) from error
    except Exception as error:
        raise InputError(
            f"the registered embedder {name!r} cannot be made ({type(error).__name__}: {error})",
            cure="Mend the function that is registered, or install what it needs",
        ) from error
    if not isinstance(made, Embedder):
        raise InputError(
            f"what is registered as the embedder {name!r} makes a {type(made).__name__}",
            cure="Let it return a vsa.Embedder",
        )
    made.name = name
    if image_px not in (None, made.image_px):
        raise InputError(
            f"the embedder {name!r} takes pictures of {made.image_px} px, not of {image_px}",
            cure="Leave image_px out, or register another one",
        )
    return made


def _unknown(name: str) -> InputError:
    found = unknown("embedder", name, [*EMBEDDERS, *model_names()])
    if not found.cure.startswith("Choose"):
        return found
    own = ", ".join(EMBEDDERS) or "none are so far"
    return InputError(
        found.problem,
        cure=f"Choose a registered one ({own}), or a classification network of torchvision's, "
        "such as mobilenet_v2, resnet50 or vit_b_16; or name your file in VSA_PLUGINS",
    )
