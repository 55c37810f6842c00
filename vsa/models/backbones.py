"""Backbones: networks from pictures to one feature each, which a head is trained upon.

Those of this package are torchvision's, from random or from ImageNet weights. One of your own:
docs/extending.md.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from vsa.models.torchvision_models import file_key, make_headless, torchvision_models
from vsa.runtime.errors import InputError
from vsa.runtime.registry import Registry

VERSION = 1  # of our own backbones
STRIDE = 8  # of a trunk's map
_TRIED_PX = 64


@dataclass(frozen=True)
class Backbone:
    """How a network is made, and which of its parts locate.

    Pictures come to it normalised by ImageNet's mean and standard deviation.
    """

    make: Callable[[bool], tuple[nn.Module, int]]
    """pretrained → network, (B, 3, H, W) float → (B, d) float, and d."""
    trunk: tuple[str, ...] = ()
    """Paths of the modules that one after the other reduce (B, 3, H, W) to a map (B, c, H/8, W/8),
    for what has to know where things are; without them it serves the classifier only."""
    weights: Callable[[], str] | None = None
    """What tells its ImageNet weights from others, for caches; None if it has none."""


def _check(name: str, entry: Backbone) -> None:
    if not isinstance(entry, Backbone):
        raise InputError(
            f"the backbone {name!r} is of type {type(entry).__name__}",
            cure="Register vsa.Backbone(make, trunk=...)",
        )


BACKBONES: Registry[Backbone] = Registry("backbone", "backbones", _check)


def make_backbone(architecture: str, *, pretrained: bool) -> tuple[nn.Module, int]:
    """A network from normalised images to one pooled feature each, and the feature's length.

    Parameters
    ----------
    architecture : name of a registered backbone. Of ours: googlenet (the paper's), resnet18,
        resnet50, mobilenet_v2; alexnet, for classifiers only; and googlenet_4a and googlenet_3b,
        GoogLeNet up to its inception blocks 4a and 3b, from random weights only: of a 64-pixel
        image the whole network leaves 2 × 2 positions, and it learns too slowly from scratch for
        a short training.
    pretrained : start from ImageNet-1k weights. ``VSA_WEIGHTS_DIR`` is searched for
        ``<architecture>-imagenet.pth`` or torchvision's own file; otherwise torchvision
        downloads it into that folder.

    Returns
    -------
    network : (B, 3, H, W) float → (B, d) float.
    d : 1024 for googlenet, 512 up to block 4a, 480 up to 3b, 512 / 2048 for resnet18 / 50, 1280 for
        mobilenet_v2, 4096 for alexnet.

    Raises
    ------
    InputError for an unknown name, one that has no such weights, and one that is no backbone.
    """
    backbone = BACKBONES[architecture]
    if pretrained and backbone.weights is None:
        raise InputError(
            f"the backbone {architecture!r} has no ImageNet weights",
            cure="Start from random ones (`pretrained: false`), or choose one that has: "
            + ", ".join(name for name in BACKBONES if BACKBONES[name].weights),
        )
    made = backbone.make(pretrained)
    if not BACKBONES.is_own(architecture):
        _try(architecture, made)
    return made


def _try(architecture: str, made: object) -> None:
    """Raise InputError unless somebody's function has made a network and said what it gives."""
    match made:
        case (nn.Module() as network, int(n_features)):
            found = _shape(architecture, network)
            if found == (2, n_features):
                return
            problem = f"gives {found} for 2 pictures, not (2, {n_features})"
        case _:
            problem = "makes no pair of a network and its number of features"
    raise InputError(
        f"the backbone {architecture!r} {problem}",
        cure="`make` returns a network, (B, 3, H, W) → (B, d), and d",
    )


def _shape(what: str, network: nn.Module) -> tuple[int, ...]:
    """The shape of what a network gives for two pictures; InputError where it fails."""
    was_training = network.training
    try:
        with torch.inference_mode():
            found = network.eval()(torch.zeros(2, 3, _TRIED_PX, _TRIED_PX))
        return tuple(found.shape)
    except Exception as error:
        raise InputError(
            f"the backbone {what!r} fails on pictures (2, 3, {_TRIED_PX}, {_TRIED_PX}) "
            f"({type(error).__name__}: {error})",
            cure="Mend it: pictures of any size come to it",
        ) from error
    finally:
        network.train(was_training)


def make_trunk(architecture: str) -> tuple[nn.Module, int]:
    """The first stages of a backbone, from random weights, and their number of channels c.

    Maps images (B, 3, H, W) to (B, c, ⌈H/8⌉, ⌈W/8⌉). Parameters go by the names they have in
    `make_backbone`, so a backbone's state dict holds the trunk's. Raises InputError for a backbone
    that names no such stages.
    """
    backbone, _ = make_backbone(architecture, pretrained=False)
    paths = BACKBONES[architecture].trunk
    if not paths:
        raise InputError(
            f"the backbone {architecture!r} does not say which parts of it locate",
            cure="Register it with trunk=..., the paths of its modules down to stride 8",
        )
    try:
        trunk = _parts(backbone, paths)
    except AttributeError as error:
        raise InputError(
            f"the backbone {architecture!r} has no module that its trunk names ({error})",
            cure="Give paths as its state dict has them",
        ) from error
    found = _shape(architecture, trunk)
    if len(found) != 4 or found[2:] != (_TRIED_PX // STRIDE, _TRIED_PX // STRIDE):
        raise InputError(
            f"the trunk of the backbone {architecture!r} gives {found} for pictures of "
            f"{_TRIED_PX} pixels",
            cure=f"Name the modules down to stride {STRIDE}: (B, c, H/{STRIDE}, W/{STRIDE})",
        )
    return trunk.train(), found[1]


def without_weights(architecture: str) -> AbstractContextManager[object]:
    """Networks that are made meanwhile have any weights, until ``load_state_dict(state)``.

    Drawing random ones takes longer than reading those of a file. Somebody's own backbone gets
    them nevertheless: its function may compute with them.
    """
    return _Undrawn() if BACKBONES.is_own(architecture) else nullcontext()


class _Undrawn(TorchFunctionMode):
    """``torch.nn.init`` leaves tensors as they are.

    torch's "meta" device would do, too, but has torch's compiler imported, which takes a second.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def _parts(network: nn.Module, paths: Sequence[str]) -> nn.Sequential:
    """Modules of a network one after the other, each by the path that it has there."""
    below: OrderedDict[str, list[str]] = OrderedDict()
    for path in paths:
        name, _, rest = path.partition(".")
        below.setdefault(name, []).append(rest)
    return nn.Sequential(
        OrderedDict(
            (name, part if rest == [""] else _parts(part, rest))
            for name, rest in below.items()
            for part in [getattr(network, name)]
        )
    )


def weights_key(architecture: str) -> str:
    """What tells a backbone's ImageNet weights from others; empty if it has none."""
    weights = BACKBONES[architecture].weights
    return weights() if weights else ""


# Ours ------------------------------------------------------------------------------------------


def _of_torchvision(model: str, pretrained: bool) -> tuple[nn.Module, int]:
    return make_headless(model, pretrained=pretrained)


_BLOCKS = (
    *("conv1", "maxpool1", "conv2", "conv3", "maxpool2"),
    *("inception3a", "inception3b", "maxpool3", "inception4a"),
)


def _googlenet_up_to(block: str, n_features: int, pretrained: bool) -> tuple[nn.Module, int]:
    whole = torchvision_models().googlenet(weights=None, aux_logits=False, init_weights=False)
    stages = [getattr(whole, name) for name in _BLOCKS[: _BLOCKS.index(block) + 1]]
    return nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten()), n_features


_RESNET = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2")
_GOOGLENET = ("conv1", "maxpool1", "conv2", "conv3", "maxpool2", "inception3a", "inception3b")
_TRUNKS = {
    "googlenet": _GOOGLENET,
    "resnet18": _RESNET,
    "resnet50": _RESNET,
    "mobilenet_v2": tuple(f"features.{block}" for block in range(7)),
}
for _model, _trunk in _TRUNKS.items():
    BACKBONES.register(
        _model, Backbone(partial(_of_torchvision, _model), _trunk, partial(file_key, _model))
    )
BACKBONES.register(
    "alexnet", Backbone(partial(_of_torchvision, "alexnet"), weights=partial(file_key, "alexnet"))
)
for _block, _n_features in (("4a", 512), ("3b", 480)):
    _make = partial(_googlenet_up_to, f"inception{_block}", _n_features)
    _first = tuple(str(i) for i in range(len(_GOOGLENET)))
    BACKBONES.register(f"googlenet_{_block}", Backbone(_make, _first))
