"""The fully supervised detector that claim C3a compares with: torchvision's Faster R-CNN."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import MultiScaleRoIAlign

from vsa.models.backbones import make_trunk
from vsa.runtime.batches import prefetch, to_tensor
from vsa.runtime.device import Device
from vsa.runtime.progress import progress
from vsa.runtime.seeds import generator

_POOL = 5
_SAMPLES = 0  # per bin: as many as it spans cells of the map
_BATCH = 16


def make_detector(
    architecture: str, backbone_state: dict[str, Tensor], image_px: int
) -> FasterRCNN:
    """Faster R-CNN for one class of object over the same trunk that the localiser has."""
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
) -> FasterRCNN:
    """Train on images, uint8 (n, S, S, 3), and their true boxes, float32 (n, 4) in shares."""
    detector.to(device.device, memory_format=device.memory_format).train()
    optimizer = torch.optim.AdamW(detector.parameters(), lr=learning_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=n_steps, pct_start=0.25
    )
    size = images.shape[1]

    def draw(step: int) -> tuple[np.ndarray, np.ndarray]:
        rng = generator(seed, "detector", step)
        rows = rng.choice(len(images), _BATCH, replace=len(images) < _BATCH)
        batch, target = images[rows], boxes[rows].copy()
        mirrored = rng.random(_BATCH) < 0.5
        batch[mirrored] = batch[mirrored, :, ::-1]
        target[mirrored, 0::2] = 1 - target[mirrored, 2::-2]
        return batch, target * size

    steps = prefetch(draw(step) for step in range(n_steps))
    for batch, target in progress(steps, "train detector", n_steps):
        labels = torch.ones(1, dtype=torch.int64, device=device.device)
        targets = [
            {"boxes": torch.from_numpy(box[None]).to(device.device), "labels": labels}
            for box in target
        ]
        loss = sum(detector(list(to_tensor(batch, device) / 255), targets).values())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return detector.eval()


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
