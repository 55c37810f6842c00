"""What learning gives, and what an engine is built from: the trained parts of a search."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vsa.category.predictor import CategoryPredictor, read_predictor, write_predictor
from vsa.embedding.candidates import MASKED
from vsa.embedding.describer import (
    Describer,
    WholeDescriber,
    read_describer,
    write_describer,
)
from vsa.embedding.joint import JointNet
from vsa.models.backbones import without_weights
from vsa.models.embedder import Embedder
from vsa.models.kept import read_embedder, write_embedder
from vsa.ranking.serve import QualityRanker, read_ranker, write_ranker
from vsa.runtime.atomic import atomic_dir, settled
from vsa.runtime.checked import check_manifest
from vsa.runtime.device import Device, pick_device
from vsa.runtime.errors import InputError
from vsa.runtime.inference import is_frozen, ready

_CARD, _MODELS = "card.json", "models.json"
STAGES = ("category", "network", "ranker", "describer", "embedder")  # folders below an engine's


@dataclass(frozen=True)
class TrainedModels:
    """The stages of a search as they were trained; `vsa.build` makes an engine of them."""

    category: CategoryPredictor  # 3.1
    network: JointNet  # 3.2: boxes and features
    image_px: int  # of the square pictures that the network sees
    ranker: QualityRanker | None = None  # 3.3; None: pages stay in the order of appearance
    # what makes features, and how it looks at photos; None: the network, behind its own mask
    describer: Describer | None = None
    notes: tuple[str, ...] = ()  # what whoever trusts them should know of how they were made

    def save(self, folder: str | Path) -> Path:
        """Keep the models in a folder, complete or not at all, in place of earlier ones.

        Raises InputError for a folder that holds anything else, and networks of an open engine.
        """
        with atomic_dir(Path(folder), marker=_MODELS) as draft:
            write_models(draft, self)
            text = json.dumps({"notes": list(self.notes)}, indent=1)
            (draft / _MODELS).write_text(text, encoding="utf-8")
        return Path(folder)

    @classmethod
    def open(cls, folder: str | Path) -> TrainedModels:
        """Models that were saved, or those of an engine; raises InputError where there are none."""
        folder = settled(Path(folder))
        if not (folder / "network").is_dir() or not (folder / "category").is_dir():
            raise InputError(
                "there are no trained models here",
                cure="Name the folder of an engine, or one that model.save(...) made",
                file=folder,
            )
        check_manifest(folder)
        models = read_models(folder, pick_device())
        card = next(folder / name for name in (_MODELS, _CARD) if (folder / name).is_file())
        notes = json.loads(card.read_text(encoding="utf-8")).get("notes", [])
        return replace(models, notes=tuple(notes))

    @property
    def serving(self) -> Describer:
        """What makes features: the describer that was chosen, or the paper's way."""
        return self.describer or Describer(MASKED, self.network, self.image_px, "mask")

    @property
    def embedder(self) -> Embedder:
        """What makes features, as an embedder of whole pictures."""
        return self.serving.embedder(self.category.device)


def write_stages(folder: Path, model: TrainedModels | Embedder) -> None:
    """Write what an engine describes pictures with, below an existing folder."""
    if isinstance(model, Embedder):
        write_embedder(_made(folder / "embedder"), model)
    else:
        write_models(folder, model)


def read_stages(folder: Path, device: Device) -> TrainedModels | WholeDescriber:
    """Read what `write_stages` wrote, from a folder that was checked."""
    embedder = folder / "embedder"
    if embedder.is_dir():
        return WholeDescriber(read_embedder(embedder, device))
    return read_models(folder, device)


def write_models(folder: Path, models: TrainedModels) -> None:
    """Write each part into a folder of its own below an existing one.

    Raises InputError for networks that an engine has frozen.
    """
    for net in (models.category.net, models.network, models.serving.net):
        if is_frozen(net):
            raise InputError(
                "these networks were frozen to answer faster, and can no longer be kept",
                cure="Give them as they were trained, not those of an open engine",
            )
    write_predictor(_made(folder / "category"), models.category)
    write_network(_made(folder / "network"), models.network, models.image_px)
    if models.ranker is not None:
        write_ranker(_made(folder / "ranker"), models.ranker)
    if models.describer is not None:
        write_describer(_made(folder / "describer"), models.describer, models.network)


def read_models(folder: Path, device: Device) -> TrainedModels:
    """Read what `write_models` wrote, from a folder that was checked."""
    network, image_px = read_network(folder / "network", device)
    ranker, describer = folder / "ranker", folder / "describer"
    return TrainedModels(
        read_predictor(folder / "category", device),
        network,
        image_px,
        read_ranker(ranker) if ranker.is_dir() else None,
        read_describer(describer, device, network) if describer.is_dir() else None,
    )


def write_network(folder: Path, network: JointNet, image_px: int) -> None:
    """Write a joint network, and the size of its pictures, into an empty folder."""
    torch.save({k: v.cpu() for k, v in network.state_dict().items()}, folder / "network.pth")
    card = {
        "architecture": network.architecture,
        "feature_dim": network.dim,
        "image_px": image_px,
    }
    (folder / _CARD).write_text(json.dumps(card, indent=1), encoding="utf-8")


def read_network(folder: Path, device: Device) -> tuple[JointNet, int]:
    """What `write_network` wrote: the network, on a device, and the size of its pictures."""
    card = json.loads((folder / _CARD).read_text(encoding="utf-8"))
    with without_weights(card["architecture"]):
        network = JointNet(card["architecture"], card["feature_dim"])
    state = torch.load(folder / "network.pth", weights_only=True, map_location="cpu")
    network.load_state_dict(state, assign=True)
    network.to(device.device, memory_format=device.memory_format)
    return network.eval(), card["image_px"]


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


# Ready for answering ------------------------------------------------------------------------


def ready_stages(models: TrainedModels | WholeDescriber, device: Device) -> dict[str, Any]:
    """Stages ready for answering, as fields of `vsa.VisualSearch`."""
    if isinstance(models, WholeDescriber):
        none = dict.fromkeys(("trained", "network", "ranker"))
        return {"describer": models, "image_px": models.image_px, "device": device, **none}
    network = ready(models.network, device)
    return {
        "trained": replace(models.category, net=ready(models.category.net, device)),
        "network": network,
        "image_px": models.image_px,
        "ranker": models.ranker,
        "describer": _describer(models, network, device),
        "device": device,
    }


def _describer(models: TrainedModels, network: JointNet, device: Device) -> Describer:
    """What makes features, ready for answering; `network` is the joint one, ready already."""
    serving = models.serving
    own = serving.net is models.network
    localiser = serving.localiser
    if localiser is not None:
        localiser = replace(localiser, net=ready(localiser.net, device))
    return replace(serving, net=network if own else ready(serving.net, device), localiser=localiser)
