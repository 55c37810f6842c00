"""The order in which boxes and features are learned (paper section 3.2).

The paper trains both branches together from the triplet loss and says no more. Learned together
from the start, boxes grow to the whole image; so features come first, then boxes, behind frozen
features, with a soft mask that lets far edges pull and with a steep one; then both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from vsa.embedding.joint import JointNet
from vsa.embedding.losses import PAPER
from vsa.embedding.settings import EmbeddingSettings
from vsa.embedding.train import Images, Stage, train_stage
from vsa.embedding.triplets import TripletSource
from vsa.runtime.atomic import atomic_file
from vsa.runtime.device import Device
from vsa.runtime.seeds import generator
from vsa.runtime.training import on_cpu

FEATURES, SOFT_BOXES, STEEP_BOXES, JOINT = "features", "boxes, soft", "boxes, steep", "joint"


def make_stages(loss: str, settings: EmbeddingSettings) -> dict[str, Stage]:
    """The stages by their names, in order.

    `loss`, a name of `vsa.losses`, teaches features; boxes alone are taught by the paper's.
    """
    s = settings
    low, high = s.slopes
    soft = Stage(
        "boxes",
        s.n_box_steps[0],
        s.n_triplets,
        PAPER,
        s.box_margin,
        0.0,
        s.box_learning_rate,
        low,
        s.size_priors[0],
        s.expected_side,
    )
    return {
        FEATURES: Stage("features", s.n_steps, s.n_triplets, loss, s.margin, s.learning_rate),
        SOFT_BOXES: soft,
        STEEP_BOXES: replace(
            soft,
            n_steps=s.n_box_steps[1],
            box_learning_rate=s.box_learning_rate / 2,
            slope=high,
            size_prior=s.size_priors[1],
        ),
        JOINT: Stage(
            "both",
            s.n_joint_steps,
            s.n_triplets,
            loss,
            s.margin,
            s.joint_learning_rate,
            s.joint_box_learning_rate,
            (high[1], high[1]),
            s.size_priors[2],
            s.expected_side,
        ),
    }


def train_stages(
    net: JointNet,
    stages: Mapping[str, Stage],
    source: TripletSource,
    images: Images,
    device: Device,
    seed: int,
    folder: Path,
    title: str,
) -> dict[str, pd.DataFrame]:
    """Train `net` in place, stage after stage; the log of each, as of `train_stage`.

    Finished stages, and a checkpoint of the one that was interrupted, are kept in `folder`, and
    training continues from them; the caller removes them once the result is safe.
    """
    logs = {}
    for number, (name, stage) in enumerate(stages.items()):
        weights, log = folder / f"stage-{number}.pth", folder / f"stage-{number}.parquet"
        checkpoint = folder / f"stage-{number}-checkpoint.pth"
        if weights.is_file():
            net.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu"))
            logs[name] = pd.read_parquet(log)
            continue
        logs[name] = train_stage(
            net,
            stage,
            source,
            images,
            device,
            # batches of a later stage differ from those of the stage it continues
            int(generator(seed, "stage", name).integers(2**31)),
            checkpoint,
            f"{title}: {name}",
        )
        logs[name].to_parquet(log)
        with atomic_file(weights) as draft:
            torch.save(on_cpu(net.state_dict()), draft)
        checkpoint.unlink(missing_ok=True)
    return logs
