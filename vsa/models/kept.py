"""Embedders that a folder keeps: torchvision's with their weights, those of others by name."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

from vsa.models.embedder import EMBEDDERS, Embedder, inside, is_known
from vsa.models.torchvision_models import make_headless, model_names, trained_input
from vsa.runtime.device import Device
from vsa.runtime.errors import InputError

_CARD, _WEIGHTS = "card.json", "network.pth"


def write_embedder(folder: Path, embedder: Embedder) -> None:
    """Write an embedder into an empty folder; raises InputError for one that nobody could open.

    A network of torchvision's is kept with its weights. A registered one is code: it is known by
    its name and by a digest of all that it computes.
    """
    require_keepable(embedder)
    card = {
        "name": embedder.name,
        "image_px": embedder.image_px,
        "dim": embedder.dim,
        "identity": embedder.identity,
    }
    if embedder.name not in EMBEDDERS:
        assert isinstance(embedder.network, nn.Module)
        state = {name: value.cpu() for name, value in embedder.network.state_dict().items()}
        torch.save(state, folder / _WEIGHTS)
    (folder / _CARD).write_text(json.dumps(card, indent=1), encoding="utf-8")


def require_keepable(embedder: Embedder) -> None:
    """Raise InputError for an embedder that could not be made again from its name."""
    if embedder.name in EMBEDDERS:
        return
    if embedder.name not in model_names() or not isinstance(embedder.network, nn.Module):
        raise InputError(
            f"the embedder {embedder.name!r} is code of your own, which no folder can keep",
            cure="Register a function that makes it, vsa.embedders.register(name, fn), and give "
            "vsa.Embedder.from_pretrained(name)",
        )


def read_embedder(folder: Path, device: Device) -> Embedder:
    """What `write_embedder` wrote, from a folder that was checked.

    Raises InputError for an embedder that is not registered any more, or is not the same.
    """
    card = json.loads((folder / _CARD).read_text(encoding="utf-8"))
    name = card["name"]
    if (folder / _WEIGHTS).is_file():
        found = _of_torchvision(folder, card, device)
    elif is_known(name):
        found = Embedder.from_pretrained(name)
    else:
        raise InputError(
            f"the pictures were described by the embedder {name!r}, which is not there",
            cure="Name the file that registers it in VSA_PLUGINS, or install its package; or "
            "build again with another one",
            file=folder.parent,
        )
    if (found.identity, found.dim) != (card["identity"], card["dim"]):
        raise InputError(
            f"the embedder {name!r} is not the one that described the pictures: {found.identity}, "
            f"{found.dim}-d, and not {card['identity']}, {card['dim']}-d",
            cure="Bring back its weights, its source and its settings, or build again: features "
            "of two embedders cannot be compared",
            file=folder.parent,
        )
    return found


def _of_torchvision(folder: Path, card: dict, device: Device) -> Embedder:
    name, trained = card["name"], trained_input(card["name"])
    network, _ = make_headless(name, pretrained=False, **inside(name))
    network.load_state_dict(torch.load(folder / _WEIGHTS, weights_only=True, map_location="cpu"))
    size, mean, std = card["image_px"], trained.mean, trained.std
    return Embedder(network, image_px=size, mean=mean, std=std, name=name, device=device)
