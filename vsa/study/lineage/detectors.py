"""Rows of notebook 07 that learn boxes from box labels: torchvision's detectors."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from vsa.models.backbones import make_trunk
from vsa.runtime.inference import one_core
from vsa.study.embedding.detector import detect, make_detector, train_detector
from vsa.study.lineage.lab import LineageLab
from vsa.study.lineage.methods import METHODS, Search, method

if TYPE_CHECKING:
    from torchvision.models.detection.ssd import SSD

_BOXES = ["training boxes"]
_FURTHER = 64  # channels of each map that SSD adds
_SCALES = (0.35, 0.55, 0.75, 0.95)  # sides of its default boxes, and of what would come after


class _ThreeMaps(nn.Module):
    """A trunk's map, and two more of twice and four times the stride, as SSD reads them."""

    def __init__(self, trunk: nn.Module, n_channels: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.second = _halving(n_channels)
        self.third = _halving(_FURTHER)
        self.out_channels = [n_channels, _FURTHER, _FURTHER]

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        first = self.trunk(images)
        second = self.second(first)
        maps = (first, second, self.third(second))
        return OrderedDict((str(number), found) for number, found in enumerate(maps))


def _halving(n_channels: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(n_channels, _FURTHER, 3, stride=2, padding=1), nn.BatchNorm2d(_FURTHER), nn.ReLU()
    )


def make_ssd(architecture: str, backbone_state: dict[str, Tensor], image_px: int) -> SSD:
    """Torchvision's SSD for one class of object, over the trunk that the localiser has."""
    from torchvision.models.detection.anchor_utils import DefaultBoxGenerator  # slow to import
    from torchvision.models.detection.ssd import SSD, SSDHead

    trunk, n_channels = make_trunk(architecture)
    trunk.load_state_dict({k: backbone_state[k] for k in trunk.state_dict()})
    maps = _ThreeMaps(trunk, n_channels)
    boxes = DefaultBoxGenerator([[2]] * 3, scales=list(_SCALES))
    head = SSDHead(maps.out_channels, boxes.num_anchors_per_location(), 2)
    return SSD(
        maps,
        boxes,
        (image_px, image_px),
        2,
        head=head,
        score_thresh=0.0,
        detections_per_img=1,
        topk_candidates=50,
    )


def _by_detector(lab: LineageLab, seed: int, make: Any) -> Search:
    """Train a detector on training photos and their boxes; photos are searched by its boxes."""
    s, ground, task = lab.settings, lab.ground, lab.task
    state = {name: value.cpu() for name, value in ground.backbone.state_dict().items()}
    torch.manual_seed(seed)  # proposals are sampled from the global generator
    found = make(ground.architecture, state, s.scratch_px)
    rows = task.rows("train")
    photos, boxes = lab.photos["train"].squares, task.boxes[rows]
    rate = s.detector_learning_rate
    with one_core():  # of small pictures: threads would mostly wait for each other
        train_detector(found, photos, boxes, s.n_detector_steps, rate, ground.device, seed)

    def locate(some: Any) -> np.ndarray:
        return detect(found, some.squares, ground.device).clip(0, 1)

    return lab.by_boxes(locate)


@METHODS.register("Faster R-CNN")
@method("[11]", needs=_BOXES, learns=True, effort=4)
def faster_rcnn(lab: LineageLab, seed: int) -> Search:
    """Ren et al. (2015) let a network propose regions and a second head judge each.

    Kept are torchvision's two stages with box labels, over the trunk of stride 8 that all boxes
    here start from; one class, one map and few steps.
    """
    return _by_detector(lab, seed, make_detector)


@METHODS.register("SSD")
@method("[12]", needs=_BOXES, learns=True, effort=4)
def ssd(lab: LineageLab, seed: int) -> Search:
    """Liu et al. (2016) regress boxes from several maps in one shot, without proposals.

    Kept are torchvision's default boxes, loss and hard negatives with box labels, over the same
    trunk and two maps more; one class, and none of the augmentation.
    """
    return _by_detector(lab, seed, make_ssd)
