"""Rows of notebook 07 that change the network: other backbones, and embedders of somebody's own."""

from __future__ import annotations

import dataclasses

import numpy as np
from torch import nn

from vsa.category.model import CategoryNet
from vsa.category.settings import ClassifierSettings
from vsa.category.train import train_classifier
from vsa.models.backbones import make_backbone
from vsa.models.embedder import EMBEDDERS, Embedder
from vsa.models.torchvision_models import weights_file
from vsa.runtime.errors import InputError
from vsa.runtime.inference import one_core
from vsa.study.lineage.lab import LineageLab
from vsa.study.lineage.methods import METHODS, Method, Search


def of_embedder(lab: LineageLab, embed: Embedder) -> Search:
    """A search by an embedder of whole pictures."""
    return lab.by_features(
        lambda pictures: embed.embed(pictures.at(embed.image_px)),
        weights_mb=_megabytes(embed.network),
    )


def _megabytes(network: object) -> float:
    """Of its weights in float32; none of what is no module."""
    if not isinstance(network, nn.Module):
        return 0.0
    return 4e-6 * sum(weight.numel() for weight in network.parameters())


def from_scratch(lab: LineageLab, architecture: str, seed: int, share: float = 1.0) -> CategoryNet:
    """A network that learned the shop's categories from random weights.

    `share` of the labelled pictures, drawn at random, are learned from.
    """
    known = "from scratch", architecture, seed, share
    return lab.once(known, lambda: _from_scratch(lab, architecture, seed, share))


def _from_scratch(lab: LineageLab, architecture: str, seed: int, share: float) -> CategoryNet:
    s, px = lab.settings, lab.settings.scratch_px
    labels = np.concatenate([lab.categories("train"), lab.categories("catalogue")])
    images = np.concatenate([pictures.at(px) for pictures in lab.seen])
    chosen = some_labelled(labels, share, seed)
    recipe = ClassifierSettings(
        architecture=architecture,
        pretrained=False,
        store_px=px,
        crop_px=px,
        n_steps=s.n_scratch_steps,
        batch_size=s.n_pairs,
        learning_rate=1e-3,
        min_scale=0.6,
    )
    n_classes = int(labels.max()) + 1
    device = lab.ground.device
    title = f"train {architecture} from scratch"
    with one_core():  # of small pictures: threads would mostly wait for each other
        net, _ = train_classifier(
            images[chosen], labels[chosen], n_classes, recipe, device, seed, title
        )
    return net.eval()


def some_labelled(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Rows with a label, a share of them drawn at random, at least one of each class."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(np.flatnonzero(labels >= 0))
    first = [np.flatnonzero(labels[rows] == name)[0] for name in np.unique(labels[rows])]
    n = max(1, round(share * len(rows)))
    return np.sort(rows[np.unique(np.concatenate([np.arange(n), first]))])


@dataclasses.dataclass(frozen=True)
class Network:
    """The same recipe on another backbone."""

    architecture: str
    pretrained: bool | None = None  # None: as the frozen network of the data set

    def __call__(self, lab: LineageLab, seed: int) -> Search:
        s, pretrained = lab.settings, self.pretrained
        if pretrained is None:
            pretrained = lab.is_pretrained
        own = lab.ground.architecture, lab.ground.image_px
        if pretrained and lab.is_pretrained and own == (self.architecture, s.pretrained_px):
            size = _megabytes(lab.ground.backbone)
            return lab.by_features(lambda pictures: pictures.pooled, weights_mb=size)
        if not pretrained:
            network, px = from_scratch(lab, self.architecture, seed).backbone, s.scratch_px
        else:
            _require_weights(self.architecture)
            (network, _), px = make_backbone(self.architecture, pretrained=True), s.pretrained_px
        device = lab.ground.device
        embed = Embedder(network, image_px=px, name=self.architecture, device=device)
        return of_embedder(lab, embed)


def _require_weights(architecture: str) -> None:
    """Raise InputError unless they are at hand: a table is no reason to fetch hundreds of MB."""
    if weights_file(architecture) is None:
        raise InputError(
            f"ImageNet weights of {architecture} are not at hand, and are not fetched for a row",
            cure=f"Call vsa.Embedder.from_pretrained({architecture!r}) once, which downloads them, "
            f"or put {architecture}-imagenet.pth into VSA_WEIGHTS_DIR",
        )


@dataclasses.dataclass(frozen=True)
class Registered:
    """An embedder that a user has registered under a name."""

    name: str

    def __call__(self, lab: LineageLab, seed: int) -> Search:
        if self.name not in EMBEDDERS:
            raise InputError(
                f"no embedder {self.name!r} is registered, and its weights do not come with this "
                "package",
                cure=f"Register one as docs/extending.md has it: vsa.embedders, {self.name!r}",
            )
        return of_embedder(lab, Embedder.from_pretrained(self.name))


def _register(name: str, reference: str, fit: Network | Registered, words: str) -> None:
    learns = isinstance(fit, Network) and fit.pretrained is not True
    needs = ("categories",) if learns else ()
    effort = 4 if learns else 0
    METHODS.register(
        name, Method(fit, reference, needs=needs, learns=learns, effort=effort, words=words)
    )


_RECIPE = (
    "Kept is its pooled feature, compared by cosine: by ImageNet weights on photographs and, on "
    "the rendered shop, after as many steps from scratch as others; full training is left out."
)
for _name, _architecture, _reference, _proposes in (
    ("ResNet-18", "resnet18", "[10]", "He et al. (2016) let layers learn what to add to theirs."),
    ("AlexNet", "alexnet", "[14]", "Krizhevsky et al. (2012) won ImageNet by eight layers."),
    ("GoogLeNet", "googlenet", "[20]", "Szegedy et al. (2015) stack blocks of several filters."),
):
    _register(_name, _reference, Network(_architecture), f"{_proposes} {_RECIPE}")
_register(
    "ImageNet weights, MobileNetV2",
    "[9]",
    Network("mobilenet_v2", True),
    "Deng et al. (2009) gathered the labels that networks are pretrained on. Kept is a network "
    "that saw these, and no picture of the shop, on photographs the frozen network itself; the "
    "hierarchy of classes is left out.",
)
_register(
    "from scratch, the shop's labels",
    "[9]",
    Network("googlenet_4a", False),
    "What ImageNet is compared with: a small network that learned the shop's categories from "
    "random weights. Kept are softmax and crops; a longer training is left out.",
)
for _name, _embedder in (("DINOv2", "dinov2"), ("CLIP", "clip"), ("SigLIP", "siglip")):
    _register(
        _name,
        "since",
        Registered(_embedder),
        f"{_name} learns general features from far more pictures than ImageNet has. Kept is its "
        "embedding as a registered embedder gives it; fine-tuning is left out.",
    )
