"""torchvision's classification networks without their classifiers, and their ImageNet weights.

torchvision is imported where a network of its is asked for, and without torch's compiler, which
takes as long to import as torch itself.
"""

from __future__ import annotations

import functools
import importlib
import os
import pickle
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.error import URLError

import torch
from torch import nn

from vsa.runtime.checked import file_checksum
from vsa.runtime.errors import InputError
from vsa.runtime.paths import weights_dir

_COMPILER = "torch._dynamo.utils"
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# What some have to be built with: no heads that only help training, the size of the weights
_OPTIONS: dict[str, dict[str, Any]] = {
    "googlenet": {"aux_logits": False, "init_weights": False},
    "inception_v3": {"aux_logits": False, "init_weights": False},
    "vit_h_14": {"image_size": 518},
}
_AUXILIARY = ("aux", "AuxLogits")


class _StandIn(ModuleType):
    """For torch's compiler while torchvision is imported, which is about two seconds sooner.

    Of the compiler torchvision (0.29) imports one function, which it calls where it pools regions
    on processors of other kinds. Whatever else a later version may want has the compiler imported.
    """

    @staticmethod
    def is_compile_supported(device_type: Any) -> Any:
        return importlib.import_module(_COMPILER).is_compile_supported(device_type)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        _dismiss(self)
        return getattr(importlib.import_module(_COMPILER), name)


def _dismiss(stand_in: _StandIn) -> None:
    if sys.modules.get(_COMPILER) is stand_in:
        del sys.modules[_COMPILER]


@functools.cache
def torchvision_models() -> ModuleType:
    """``torchvision.models``, imported without torch's compiler where nobody needs that."""
    if "torchvision" not in sys.modules and _COMPILER not in sys.modules:
        stand_in = _StandIn(_COMPILER)
        sys.modules[_COMPILER] = stand_in
        try:
            import torchvision  # noqa: F401
        finally:
            _dismiss(stand_in)
    from torchvision import models

    return models


@functools.cache
def model_names() -> tuple[str, ...]:
    """Names of all classification networks of torchvision's."""
    models = torchvision_models()
    return tuple(models.list_models(module=models))


def make_headless(model: str, *, pretrained: bool, **options: Any) -> tuple[nn.Module, int]:
    """A network cut before its last linear layer, and the number d of its features.

    Maps normalised images (B, 3, H, W) to (B, d). `options` are the constructor's. Raises
    InputError if `pretrained` and ImageNet weights are neither at hand nor to be had.
    """
    models = torchvision_models()
    network = models.get_model(model, weights=None, **_OPTIONS.get(model, {}), **options)
    if pretrained:
        network.load_state_dict(_imagenet_state(model, set(network.state_dict())))
    return network, _take_head_off(network)


def _take_head_off(network: nn.Module) -> int:
    """Put identities in the places of the last layer and of dropout beside it; its input's size."""
    layers = [
        (path, layer)
        for path, layer in network.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
    ]
    path, head = layers[-1]
    within, _, place = path.rpartition(".")
    parent = network.get_submodule(within)
    setattr(parent, place, nn.Identity())
    if isinstance(parent, nn.Sequential):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Dropout):
                setattr(parent, name, nn.Identity())
    return head.in_features if isinstance(head, nn.Linear) else head.in_channels


@dataclass(frozen=True)
class Input:
    """What a network's ImageNet weights were trained on."""

    image_px: int
    mean: tuple[float, float, float]  # of values in [0, 1]
    std: tuple[float, float, float]


def trained_input(model: str) -> Input:
    """Size and normalisation of the pictures for torchvision's weights of a network."""
    transform = _published(model).transforms()
    return Input(transform.crop_size[0], tuple(transform.mean), tuple(transform.std))


# Weights ---------------------------------------------------------------------------------------


def _published(model: str) -> Any:
    return torchvision_models().get_model_weights(model).DEFAULT


def weights_file(model: str) -> Path | None:
    """The local file of ImageNet weights, or None if it would have to be downloaded."""
    names = (f"{model}-imagenet.pth", _published(model).url.rsplit("/", 1)[1])
    return next((weights_dir() / name for name in names if (weights_dir() / name).is_file()), None)


def file_key(model: str) -> str:
    """What tells one file of ImageNet weights from another: its checksum, or its published name.

    torchvision's names hold a checksum, so that it need not be downloaded to be known.
    """
    path, published = weights_file(model), _published(model).url.rsplit("/", 1)[1]
    return published if path is None or path.name == published else f"{file_checksum(path):08x}"


def _imagenet_state(model: str, wanted: set[str]) -> dict[str, torch.Tensor]:
    path = weights_file(model)
    try:
        if path is not None:
            state = torch.load(path, weights_only=True, map_location="cpu")
        else:
            state = torch.hub.load_state_dict_from_url(
                _published(model).url,
                model_dir=str(weights_dir()),
                progress=os.environ.get("VSA_PROGRESS") != "off",
            )
    except (URLError, OSError, RuntimeError, ValueError, EOFError, pickle.PickleError) as error:
        reason = str(error).split(". ")[0] or type(error).__name__
        raise InputError(
            f"no usable ImageNet weights of {model} ({reason})",
            cure="Connect to the network, or set VSA_WEIGHTS_DIR to a folder that holds "
            f"{model}-imagenet.pth, a torchvision state dict",
            file=path or weights_dir(),
        ) from error
    state = {name: value for name, value in state.items() if not name.startswith(_AUXILIARY)}
    if set(state) != wanted:
        difference = sorted(set(state) ^ wanted)[:3]
        raise InputError(
            f"the weights are not those of {model} (differing: {', '.join(difference)})",
            cure="Remove the file to have torchvision's downloaded",
            file=path,
        )
    return state
