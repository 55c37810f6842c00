"""Boxes of what a pretrained network answers to most: what learned ones have to be better than."""

from __future__ import annotations

import numpy as np

from vsa.embedding.boxes import best_boxes
from vsa.embedding.local import first_centre, local_features, pretrained_features
from vsa.runtime.device import Device

_STRIDE = 32  # of the last map, which the feature is the mean of
_CHUNK = 256


def activation_boxes(architecture: str, images: np.ndarray, device: Device) -> np.ndarray:
    """Boxes of images, uint8 (n, S, S, 3), by the norm of the last map: float32 (n, 4).

    A class activation map without a class; the box is found as `best_boxes` has it.
    """
    net = pretrained_features(architecture, device, _STRIDE)
    centre = first_centre(net, device, _STRIDE)
    found = [np.empty((0, 4), np.float32)]
    for start in range(0, len(images), _CHUNK):
        maps = local_features(net, images[start : start + _CHUNK], device)
        found.append(best_boxes(np.linalg.norm(maps, axis=-1), centre))
    return np.concatenate(found)
