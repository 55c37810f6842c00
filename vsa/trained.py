"""What learning gives, and what an engine is built from: the trained parts of a search."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from vsa.category.predictor import CategoryPredictor, read_predictor, write_predictor
from vsa.embedding.joint import JointNet
from vsa.ranking.serve import QualityRanker, read_ranker, write_ranker
from vsa.runtime.device import Device
from vsa.runtime.errors import InputError


@dataclass(frozen=True)
class TrainedModels:
    """The stages of a search as they were trained; `vsa.build` makes an engine of them."""

    category: CategoryPredictor  # 3.1
    network: JointNet  # 3.2: boxes and features
    image_px: int  # of the square pictures that the network sees
    ranker: QualityRanker | None = None  # 3.3; None: pages stay in the order of appearance


def write_models(folder: Path, models: TrainedModels) -> None:
    """Write each part into a folder of its own below an existing one.

    Raises InputError for networks that an engine has frozen.
    """
    for net in (models.category.net, models.network):
        if any(isinstance(module, torch.jit.ScriptModule) for module in net.modules()):
            raise InputError(
                "these networks were frozen to answer faster, and can no longer be kept",
                cure="Give them as they were trained, not those of an open engine",
            )
    write_predictor(_made(folder / "category"), models.category)
    network, net = _made(folder / "network"), models.network
    torch.save({k: v.cpu() for k, v in net.state_dict().items()}, network / "network.pth")
    card = {
        "architecture": net.architecture,
        "feature_dim": net.head.out_features,
        "image_px": models.image_px,
    }
    (network / "card.json").write_text(json.dumps(card, indent=1), encoding="utf-8")
    if models.ranker is not None:
        write_ranker(_made(folder / "ranker"), models.ranker)


def read_models(folder: Path, device: Device) -> TrainedModels:
    """Read what `write_models` wrote, from a folder that was checked."""
    network = folder / "network"
    card = json.loads((network / "card.json").read_text(encoding="utf-8"))
    net = JointNet(card["architecture"], card["feature_dim"])
    state = torch.load(network / "network.pth", weights_only=True, map_location="cpu")
    net.load_state_dict(state)
    ranker = folder / "ranker"
    return TrainedModels(
        read_predictor(folder / "category", device),
        net.to(device.device, memory_format=device.memory_format).eval(),
        card["image_px"],
        read_ranker(ranker) if ranker.is_dir() else None,
    )


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
