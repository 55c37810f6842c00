"""The fully supervised detector that claim C3a compares with: torchvision's Faster R-CNN."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vsa.embedding.train import labelled_batch
from vsa.models.backbones import make_trunk
from vsa.runtime.batches import to_tensor
from vsa.runtime.device import Device
from vsa.runtime.progress import progress
from vsa.runtime.seeds import generator
from vsa.runtime.training import Group, fit

if TYPE_CHECKING:
    from torchvision.models.detection import FasterRCNN

VERSION = 1
_POOL = 5
_SAMPLES = 0  # per bin: as many as it spans cells of the map
_BATCH = 16


def make_detector(
    architecture: str, backbone_state: dict[str, Tensor], image_px: int
) -> FasterRCNN:
    """Faster R-CNN for one class of object over the same trunk that the localiser has."""
    from torchvision.models.detection import FasterRCNN  # slow to import
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
    from torchvision.ops import MultiScaleRoIAlign

    trunk, n_channels = make_trunk(architecture)
    trunk.load_state_dict({k: backbone_state[k] for k in trunk.state_dict()})
    trunk.out_channels = n_channels
    sizes = tuple(int(image_px * share) for share in (0.4, 0.55, 0.7, 0.85))
    return FasterRCNN(
        trunk,
        min_size=image_px,
        max_size=image_px,
        rpn_anchor_generator=AnchorGenerator((sizes,), ((0.67, 1.0, 1.5),)),
        rpn_pre_nms_top_n_train=200,
        rpn_pre_nms_top_n_test=100,
        rpn_post_nms_top_n_train=64,
        rpn_post_nms_top_n_test=16,
        box_roi_pool=MultiScaleRoIAlign(["0"], _POOL, _SAMPLES),
        box_head=TwoMLPHead(n_channels * _POOL**2, 256),
        box_predictor=FastRCNNPredictor(256, 2),
        box_batch_size_per_image=32,
        box_score_thresh=0.0,
        box_detections_per_img=1,
    )


def train_detector(
    detector: FasterRCNN,
    images: np.ndarray,
    boxes: np.ndarray,
    n_steps: int,
    learning_rate: float,
    device: Device,
    seed: int,
    checkpoint: Path | None = None,
) -> pd.DataFrame:
    """Train `detector` in place on images, uint8 (n, S, S, 3), and their true boxes.

    Boxes are float32 (n, 4) in shares. Returns the log of `vsa.runtime.training.fit`, which
    `checkpoint` is for, too.
    """
    detector.to(device.device, memory_format=device.memory_format).train()
    labels = torch.ones(1, dtype=torch.int64, device=device.device)

    def batches(first: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for step in range(first, n_steps):
            rng = generator(seed, "detector", step)
            batch, target = labelled_batch(images, boxes, _BATCH, rng)
            yield batch, target * images.shape[1]  # in pixels

    def loss_of(
        batch: tuple[np.ndarray, np.ndarray], step: int
    ) -> tuple[Tensor, dict[str, float | Tensor]]:
        pictures, boxes_px = batch
        targets = [
            {"boxes": torch.from_numpy(box[None]).to(device.device), "labels": labels}
            for box in boxes_px
        ]
        return sum(detector(list(to_tensor(pictures, device) / 255), targets).values()), {}

    groups = [Group(detector.parameters(), learning_rate)]
    log = fit(detector, groups, batches, loss_of, n_steps, "train detector", checkpoint)
    detector.eval()
    return log


@torch.inference_mode()
def detect(
    detector: FasterRCNN, images: np.ndarray, device: Device, batch_size: int = 64
) -> np.ndarray:
    """The most certain box of each image, float32 (n, 4) in shares; the whole image if none."""
    found = []
    for start in progress(range(0, len(images), batch_size), "detect"):
        batch = to_tensor(np.array(images[start : start + batch_size]), device) / 255
        for answer in detector(list(batch)):
            box = answer["boxes"][:1].cpu().numpy() / images.shape[1]
            found.append(box if len(box) else np.array([[0.0, 0.0, 1.0, 1.0]]))
    return np.concatenate(found or [np.empty((0, 4))]).astype(np.float32)
