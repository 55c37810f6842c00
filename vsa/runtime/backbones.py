"""torchvision backbones cut before their classifier, from random or ImageNet weights."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path
from urllib.error import URLError

import torch
from torch import nn
from torchvision import models

from vsa.runtime.checked import file_checksum
from vsa.runtime.errors import InputError
from vsa.runtime.paths import weights_dir

VERSION = 1
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# architecture → name of the attribute that holds its classifier
_HEADS = {
    "googlenet": "fc",
    "resnet18": "fc",
    "resnet50": "fc",
    "mobilenet_v2": "classifier",
}


def make_backbone(architecture: str, *, pretrained: bool) -> tuple[nn.Module, int]:
    """A network from normalised images to one pooled feature each, and the feature's length.

    Parameters
    ----------
    architecture : one of googlenet (the paper's), resnet18, resnet50, mobilenet_v2; or
        googlenet_4a, GoogLeNet up to its inception block 4a, from random weights only: of a
        64-pixel image the whole network leaves 2 × 2 positions, and it learns too slowly from
        scratch for a short training.
    pretrained : start from ImageNet-1k weights. ``VSA_WEIGHTS_DIR`` is searched for
        ``<architecture>-imagenet.pth`` or torchvision's own file; otherwise torchvision
        downloads it into that folder.

    Returns
    -------
    network : (B, 3, H, W) float → (B, d) float.
    d : 1024 for googlenet, 512 up to block 4a, 512 / 2048 for resnet18 / 50, 1280 for
        mobilenet_v2.
    """
    if architecture == "googlenet_4a" and not pretrained:
        return _googlenet_up_to_4a()
    if architecture not in _HEADS:
        raise InputError(
            f"unknown architecture {architecture!r}", cure=f"Choose one of {', '.join(_HEADS)}"
        )
    extra = {"aux_logits": False, "init_weights": False} if architecture == "googlenet" else {}
    network = models.get_model(architecture, weights=None, **extra)
    if pretrained:
        network.load_state_dict(_imagenet_state(architecture, set(network.state_dict())))
    head = getattr(network, _HEADS[architecture])
    n_features = next(m.in_features for m in head.modules() if isinstance(m, nn.Linear))
    setattr(network, _HEADS[architecture], nn.Identity())
    return network, n_features


# architecture → the children that reduce an image to a map of stride 8
_TRUNKS = {
    "googlenet": ("conv1", "maxpool1", "conv2", "conv3", "maxpool2", "inception3a", "inception3b"),
    "googlenet_4a": tuple("0123456"),
    "resnet18": ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2"),
    "resnet50": ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2"),
    "mobilenet_v2": ("features",),
}
_MOBILENET_TRUNK_BLOCKS = 7


def make_trunk(architecture: str) -> tuple[nn.Module, int]:
    """The first stages of a backbone, from random weights, and their number of channels c.

    Maps images (B, 3, H, W) to (B, c, ⌈H/8⌉, ⌈W/8⌉). Parameters go by the names they have in
    `make_backbone`, so a backbone's state dict holds the trunk's.
    """
    backbone, _ = make_backbone(architecture, pretrained=False)
    children = OrderedDict((name, getattr(backbone, name)) for name in _TRUNKS[architecture])
    if architecture == "mobilenet_v2":
        children["features"] = children["features"][:_MOBILENET_TRUNK_BLOCKS]
    trunk = nn.Sequential(children).eval()
    with torch.inference_mode():
        n_channels = trunk(torch.zeros(1, 3, 64, 64)).shape[1]
    return trunk.train(), n_channels


def _googlenet_up_to_4a() -> tuple[nn.Module, int]:
    whole = models.googlenet(weights=None, aux_logits=False, init_weights=False)
    blocks = ["conv1", "maxpool1", "conv2", "conv3", "maxpool2"]
    blocks += ["inception3a", "inception3b", "maxpool3", "inception4a"]
    stages = [getattr(whole, name) for name in blocks]
    return nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten()), 512


def weights_file(architecture: str) -> Path | None:
    """The local file of ImageNet weights, or None if it would have to be downloaded."""
    published = models.get_model_weights(architecture).DEFAULT.url.rsplit("/", 1)[1]
    candidates = [weights_dir() / f"{architecture}-imagenet.pth", weights_dir() / published]
    return next((path for path in candidates if path.is_file()), None)


def weights_key(architecture: str) -> str:
    """What tells one file of ImageNet weights from another: its checksum, or its published name.

    torchvision's names hold a checksum, so that it need not be downloaded to be known.
    """
    path = weights_file(architecture)
    published = models.get_model_weights(architecture).DEFAULT.url.rsplit("/", 1)[1]
    return published if path is None or path.name == published else f"{file_checksum(path):08x}"


def _imagenet_state(architecture: str, wanted: set[str]) -> dict[str, torch.Tensor]:
    path = weights_file(architecture)
    try:
        if path is not None:
            state = torch.load(path, weights_only=True, map_location="cpu")
        else:
            url = models.get_model_weights(architecture).DEFAULT.url
            state = torch.hub.load_state_dict_from_url(
                url, model_dir=str(weights_dir()), progress=os.environ.get("VSA_PROGRESS") != "off"
            )
    except (URLError, OSError, RuntimeError, ValueError, EOFError, pickle.PickleError) as error:
        reason = str(error).split(". ")[0] or type(error).__name__
        raise InputError(
            f"no usable ImageNet weights of {architecture} ({reason})",
            cure="Connect to the network, or set VSA_WEIGHTS_DIR to a folder that holds "
            f"{architecture}-imagenet.pth, a torchvision state dict",
            file=path or weights_dir(),
        ) from error
    # torchvision's GoogLeNet file also holds the auxiliary heads, which are not used here
    state = {name: value for name, value in state.items() if not name.startswith("aux")}
    if set(state) != wanted:
        difference = sorted(set(state) ^ wanted)[:3]
        raise InputError(
            f"the weights are not those of {architecture} (differing: {', '.join(difference)})",
            cure="Remove the file to have torchvision's downloaded",
            file=path,
        )
    return state
