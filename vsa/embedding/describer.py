"""How a photo becomes a feature: by which network, and how it looks at the photo (section 3.2).

The paper fades all but the box to nothing, within one pass of one network: the object stays as
small as it is in the photo. Looking again, at the box alone in the photo's own pixels, costs a
second pass and shows the network far more of it. Which of the ways is served is chosen on
validation photos (`vsa.embedding.candidates`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image

from vsa.data.crops import MARGIN, crop_square, load_crops, needed_px, with_margin
from vsa.data.images import load_images, square
from vsa.embedding.boxes import Objectness, read_objectness, write_objectness
from vsa.embedding.candidates import PLAIN
from vsa.embedding.extract import describe, locate
from vsa.embedding.joint import Adaptation, FeatureNet, JointNet
from vsa.models.backbones import without_weights
from vsa.models.embedder import Embedder
from vsa.runtime.device import Device

Look = Literal["whole", "mask", "crop", "both"]  # both: whole and crop, their mean
_CARD, _LOCALISER, _WEIGHTS = "card.json", "localiser", "network.pth"


@dataclass(frozen=True)
class Lead:
    """How far a describer is ahead of the plain one on test photos: a paired difference."""

    metric: str
    value: float
    low: float  # of the 95 % interval
    high: float
    n: int  # test photos

    def __str__(self) -> str:
        return (
            f"{self.metric} {self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}] against the "
            f"plain network, on {self.n:,} test photos"
        )


@dataclass(frozen=True)
class View:
    """What of a photo its network is shown."""

    pictures: list[np.ndarray]  # uint8 (S, S, 3) each; of several, the feature is the mean
    mask: np.ndarray | None = None  # float32 (4,): all but this box is faded, of a single picture


@dataclass(frozen=True)
class Describer:
    """A network, and how it looks at a shopper's photo; catalogue pictures it sees whole."""

    name: str  # as reports and pages have it
    net: FeatureNet
    image_px: int  # of the square pictures that it sees
    look: Look
    margin: float = MARGIN  # of a crop, as a share of the box's sides
    localiser: Objectness | None = None  # finds the boxes; None: the joint network beside it
    lead: Lead | None = None  # None: it is the plain one, or nobody has compared them

    @property
    def locates(self) -> bool:
        """Whether it needs the object's box."""
        return self.look != "whole"

    def needed_px(self, *, is_given: bool = False) -> int:
        """Pixels of the shorter side that a photo has to be decoded with, see `describe`."""
        crops = is_given or self.look in ("crop", "both")
        seen = needed_px(self.image_px) if crops else self.image_px
        return max(seen, self.localiser.image_px if self.localiser else 0)

    def boxes(
        self,
        network: JointNet,
        network_px: int,
        squares: Callable[[int], np.ndarray],
        device: Device,
    ) -> np.ndarray:
        """Boxes of photos by what locates for this describer, float32 (n, 4).

        Parameters
        ----------
        network, network_px : the joint network, which does where there is no other localiser, and
            the size of its pictures.
        squares : function of a size S → the photos as uint8 (n, S, S, 3).
        """
        if self.localiser is not None:
            return self.localiser.boxes(squares(self.localiser.image_px), device)
        return locate(network, squares(network_px), device)

    def likely_boxes(
        self,
        network: JointNet,
        network_px: int,
        squares: Callable[[int], np.ndarray],
        device: Device,
    ) -> list[np.ndarray]:
        """As `boxes`, each followed by those of what else a photo may show: float32 (m, 4).

        A joint network knows of one box only, and m is 1.
        """
        if self.localiser is not None:
            return self.localiser.likely_boxes(squares(self.localiser.image_px), device)
        return list(self.boxes(network, network_px, squares, device)[:, None])

    def embedder(self, device: Device) -> Embedder:
        """The network as an embedder of whole pictures."""
        as_it_is = {"mean": (0.0, 0.0, 0.0), "std": (1 / 255, 1 / 255, 1 / 255)}
        self.net.eval()  # the embedder sees a function, and cannot tell
        return Embedder(
            self.net.embed, image_px=self.image_px, name=self.name, device=device, **as_it_is
        )

    def describe(
        self,
        photo: Image.Image,
        box: np.ndarray | None,
        device: Device,
        *,
        is_given: bool = False,
    ) -> np.ndarray:
        """The feature of a decoded photo, float32 (d,) of unit length.

        Parameters
        ----------
        box : float32 (4,), shares of the sides; None for the whole photo.
        is_given : somebody has said that this is the object: it is then looked at again,
            whatever the network does with boxes of its own.
        """
        return self.features([self.view(photo, box, is_given=is_given)], device)[0]

    def view(self, photo: Image.Image, box: np.ndarray | None, *, is_given: bool = False) -> View:
        """What the network is shown of a decoded photo; arguments as of `describe`."""
        whole = box is None or not (is_given or self.look == "crop")
        crop = box is not None and (is_given or self.look in ("crop", "both"))
        pictures = [square(photo, self.image_px)] if whole else []
        if crop:
            around = with_margin(np.asarray(box)[None], self.margin)[0]
            pictures.append(crop_square(photo, around, self.image_px))
        return View(pictures, None if crop else box)

    def features(self, views: Sequence[View], device: Device) -> np.ndarray:
        """Features of views that pass the network together, float32 (n, d) of unit length."""
        features = np.empty((len(views), self.net.dim), np.float32)
        for rows in _by(views, lambda view: (len(view.pictures), view.mask is not None)):
            some = [views[row] for row in rows]
            pictures = np.stack([picture for view in some for picture in view.pictures])
            masks = [view.mask for view in some if view.mask is not None]
            boxes = np.stack(masks).astype(np.float32) if masks else None
            found = describe(self.net, pictures, device, boxes=boxes).features
            looks = found.reshape(len(some), -1, found.shape[1])
            features[rows] = (
                looks[:, 0] if looks.shape[1] == 1 else mean_features(*looks.swapaxes(0, 1))
            )
        return features


@dataclass(frozen=True)
class WholeDescriber:
    """Any embedder, which sees whole photos, or what a box shows that somebody gives."""

    of_pictures: Embedder

    locates = False
    look: Look = "whole"
    lead: Lead | None = None

    @property
    def name(self) -> str:
        """As pages have it."""
        return str(self.of_pictures.name)

    @property
    def image_px(self) -> int:
        """Of the square pictures that it sees."""
        return self.of_pictures.image_px

    def needed_px(self, *, is_given: bool = False) -> int:
        """As of `Describer.needed_px`."""
        return needed_px(self.image_px) if is_given else self.image_px

    def embedder(self, device: Device) -> Embedder:
        """The embedder, which runs where it was made for."""
        del device
        return self.of_pictures

    def describe(
        self,
        photo: Image.Image,
        box: np.ndarray | None,
        device: Device,
        *,
        is_given: bool = False,
    ) -> np.ndarray:
        """As of `Describer.describe`."""
        return self.features([self.view(photo, box, is_given=is_given)], device)[0]

    def view(self, photo: Image.Image, box: np.ndarray | None, *, is_given: bool = False) -> View:
        """As of `Describer.view`."""
        del is_given
        around = np.array([0, 0, 1, 1], np.float32) if box is None else with_margin(box[None])[0]
        return View([crop_square(photo, around, self.image_px)])

    def features(self, views: Sequence[View], device: Device) -> np.ndarray:
        """As of `Describer.features`."""
        del device
        return self.of_pictures.embed(np.stack([view.pictures[0] for view in views]))


def plain(architecture: str, image_px: int, device: Device) -> Describer:
    """A pretrained network as it is, which looks at whole photos.

    Raises InputError for a backbone that is unknown, or whose ImageNet weights cannot be had.
    """
    net = FeatureNet(architecture, pretrained=True)
    net.to(device.device, memory_format=device.memory_format).eval()
    return Describer(PLAIN, net, image_px, "whole")


def adapted(base: Describer, head: Adaptation, look: Look, name: str) -> Describer:
    """A describer's backbone, unchanged, with a linear adaptation learned upon its features."""
    net = FeatureNet(base.net.architecture, head.linear.out_features, adapted=True)
    net.backbone.load_state_dict(base.net.backbone.state_dict())
    net.head.load_state_dict(head.state_dict())
    device = next(base.net.parameters()).device
    net.to(device, memory_format=torch.channels_last).eval()
    return replace(base, name=name, net=net, look=look)


def _by(views: Sequence[View], kind: Callable[[View], object]) -> list[list[int]]:
    """Rows of views, those of one kind together: they can pass a network at once."""
    rows: dict[object, list[int]] = {}
    for row, view in enumerate(views):
        rows.setdefault(kind(view), []).append(row)
    return list(rows.values())


def mean_features(*views: np.ndarray) -> np.ndarray:
    """Unit features (n, d) of several looks at the same photos → the direction of their mean."""
    total = np.sum(views, axis=0)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.asarray(total / np.maximum(length, 1e-12), np.float32)


def describe_photos(
    describer: Describer,
    root: Path,
    paths: Sequence[str],
    boxes: np.ndarray | None,
    device: Device,
    cache: Path | None = None,
) -> np.ndarray:
    """Features of photos `root`/`paths`, float32 (n, d), each looked at as the describer does.

    Parameters
    ----------
    boxes : float32 (n, 4), without margin; None where the look needs none.
    cache : of decoded pictures, as of `vsa.data.images.load_images`.
    """
    net, px = describer.net, describer.image_px
    if describer.look == "both" and boxes is not None:
        looks = (replace(describer, look="whole"), replace(describer, look="crop"))
        return mean_features(
            *(describe_photos(one, root, paths, boxes, device, cache) for one in looks)
        )
    if describer.look == "crop" and boxes is not None:
        crops = load_crops(root, paths, with_margin(boxes, describer.margin), px, cache)
        return describe(net, crops, device).features
    mask = boxes if describer.look == "mask" else None
    return describe(net, load_images(root, paths, px, cache), device, boxes=mask).features


def write_describer(folder: Path, describer: Describer, joint: FeatureNet | None = None) -> None:
    """Write a describer, as it was trained and not frozen, into an empty folder.

    Of a joint network, what locates is left out. Weights of `joint` itself are not kept twice:
    whoever reads the folder has to give them.
    """
    net = describer.net
    state = {k: v.cpu() for k, v in net.state_dict().items() if not k.startswith("localiser.")}
    if net is not joint:
        torch.save(state, folder / _WEIGHTS)
    card = {
        "name": describer.name,
        "architecture": net.architecture,
        "feature_dim": net.feature_dim,
        "adapted": net.adapted,
        "image_px": describer.image_px,
        "look": describer.look,
        "margin": describer.margin,
        "lead": None if describer.lead is None else asdict(describer.lead),
    }
    if describer.localiser is not None:
        (folder / _LOCALISER).mkdir()
        write_objectness(folder / _LOCALISER, describer.localiser)
    (folder / _CARD).write_text(json.dumps(card, indent=1), encoding="utf-8")


def read_describer(folder: Path, device: Device, joint: FeatureNet | None = None) -> Describer:
    """What `write_describer` wrote, with its network on a device; `joint` as it was given there."""
    card = json.loads((folder / _CARD).read_text(encoding="utf-8"))
    if joint is not None and not (folder / _WEIGHTS).is_file():
        net = joint
    else:
        with without_weights(card["architecture"]):
            net = FeatureNet(card["architecture"], card["feature_dim"], adapted=card["adapted"])
        state = torch.load(folder / _WEIGHTS, weights_only=True, map_location="cpu")
        net.load_state_dict(state, assign=True)
        net.to(device.device, memory_format=device.memory_format).eval()
    there = folder / _LOCALISER
    localiser = read_objectness(there, device) if there.is_dir() else None
    lead = Lead(**card["lead"]) if card.get("lead") else None
    shape = card["image_px"], card["look"], card["margin"]
    return Describer(card["name"], net, *shape, localiser, lead)
