"""Networks to go: those of an engine, or an embedder's, as ONNX files that need no Python.

Pictures go in as they are decoded, RGB in [0, 255]; the normalisation is in the file, and so is the
scaling to unit length. Each file is run by onnxruntime before it is kept, and compared with the
network that it was made of.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vsa.category.model import CategoryNet
from vsa.embedding.describer import WholeDescriber
from vsa.embedding.extract import MASK_SLOPE
from vsa.embedding.joint import FeatureNet, JointNet
from vsa.models.embedder import Embedder, is_known
from vsa.runtime.atomic import atomic_dir, settled
from vsa.runtime.checked import check_manifest
from vsa.runtime.device import pick_device
from vsa.runtime.errors import InputError
from vsa.runtime.onnx import greatest_difference, to_onnx
from vsa.trained import TrainedModels, read_stages

TOLERANCE = 1e-4  # of features, boxes and probabilities, all between −1 and 1
CARD = "export.json"
_N_TRIED = 3  # pictures that a file is tried with


@dataclass(frozen=True)
class _Part:
    """What becomes one file."""

    network: nn.Module
    image_px: int
    compute: Callable[..., Tensor | tuple[Tensor, ...]]  # network, pictures, boxes? → outputs
    outputs: tuple[str, ...]
    takes_boxes: bool = False


def export(what: str | Path | TrainedModels | Embedder, out: str | Path) -> dict[str, float]:
    """Write networks as ONNX files into a folder, complete or not at all, in place of earlier ones.

    Parameters
    ----------
    what : the folder of an engine or of saved models, the name of an embedder
        (``mobilenet_v2``), or such models or an embedder themselves.
    out : the folder. All files take ``pictures``, float32 (n, 3, S, S) in [0, 255]:

        - ``features.onnx`` → ``features`` (n, d) of unit length, of whole pictures.
        - ``masked.onnx`` takes ``boxes`` (n, 4), too, shares of the sides → ``features`` of what
          the mask leaves; where the engine looks at photos so.
        - ``boxes.onnx`` → ``boxes`` (n, 4): of the joint network, where it says where to look.
        - ``category.onnx`` → ``probabilities`` (n, C) and ``features`` for the vote, (n, d).

        ``export.json`` says S of each, the differences found and the names of the categories.

    Returns
    -------
    File's name and output → how much onnxruntime's differ at most from the network's own.

    Raises
    ------
    InputError where there is nothing to export, for a network that ONNX cannot express, one whose
    export differs by more than `TOLERANCE`, and where onnx or onnxruntime is not installed.
    """
    source = _source(what)
    parts = _of_embedder(source) if isinstance(source, Embedder) else _of_models(source)
    differences: dict[str, float] = {}
    files: dict[str, object] = {}
    with atomic_dir(Path(out), marker=CARD) as draft:
        for name, part in parts.items():
            model, found = _written(name, part)
            (draft / name).write_bytes(model)
            differences |= {f"{name} {output}": value for output, value in found.items()}
            files[name] = {"image_px": part.image_px, "differences": found}
        card: dict[str, object] = {"tolerance": TOLERANCE, "files": files}
        if isinstance(source, TrainedModels):
            card["categories"] = list(source.category.categories)
        (draft / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False), encoding="utf-8")
    return differences


def _source(what: str | Path | TrainedModels | Embedder) -> TrainedModels | Embedder:
    if isinstance(what, TrainedModels | Embedder):
        return what
    if not Path(what).is_dir() and is_known(str(what)):
        return Embedder.from_pretrained(str(what))
    if not Path(what).is_dir():
        raise InputError(
            f"there is no engine {str(what)!r}, and no embedder of that name",
            cure="Name the folder of an engine or of saved models, or an embedder as mobilenet_v2",
        )
    if (Path(what) / "embedder").is_dir():  # an engine over an embedder
        folder = settled(Path(what))
        check_manifest(folder)
        stages = read_stages(folder, pick_device())
        assert isinstance(stages, WholeDescriber)
        return stages.of_pictures
    return TrainedModels.open(what)


def _of_embedder(embedder: Embedder) -> dict[str, _Part]:
    if not isinstance(embedder.network, nn.Module):
        raise InputError(
            f"the embedder {embedder.name!r} is a function, and no network",
            cure="Make it a torch.nn.Module; that also lets it run on a GPU",
        )
    mean, std = (torch.tensor(colour).view(1, 3, 1, 1) * 255 for colour in embedder.normalisation)

    def features(network: nn.Module, pictures: Tensor) -> Tensor:
        return normalize(network((pictures - mean) / std).float(), dim=1)

    part = _Part(embedder.network, embedder.image_px, features, ("features",))
    return {"features.onnx": part}


def _of_models(models: TrainedModels) -> dict[str, _Part]:
    describer, category = models.serving, models.category
    net, px = describer.net, describer.image_px
    parts = {
        "features.onnx": _Part(net, px, FeatureNet.embed, ("features",)),
        "category.onnx": _Part(
            category.net, category.crop_px, _judge, ("probabilities", "features")
        ),
    }
    if describer.look == "mask":
        parts["masked.onnx"] = _Part(net, px, _masked, ("features",), takes_boxes=True)
    if describer.locates and describer.localiser is None:
        joint = models.network
        parts["boxes.onnx"] = _Part(joint, models.image_px, JointNet.locate, ("boxes",))
    return parts


def _masked(network: FeatureNet, pictures: Tensor, boxes: Tensor) -> Tensor:
    return network.embed(pictures, boxes, MASK_SLOPE)


def _judge(network: CategoryNet, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """As `vsa.category.model.judge`."""
    logits, feature = network(pictures)
    return torch.softmax(logits, dim=1), normalize(feature.float(), dim=1)


class _Whole(nn.Module):
    """A part as a module, on the CPU."""

    def __init__(self, part: _Part) -> None:
        super().__init__()
        self.network = copy.deepcopy(part.network).cpu().eval()
        self._compute = part.compute

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self._compute(self.network, *inputs)


def _written(name: str, part: _Part) -> tuple[bytes, dict[str, float]]:
    """The bytes of a file, tried; and how far it is from the network, by its outputs' names."""
    network, generator = _Whole(part), torch.Generator().manual_seed(0)
    shape = (_N_TRIED, 3, part.image_px, part.image_px)
    inputs = {"pictures": torch.rand(shape, generator=generator) * 255}
    if part.takes_boxes:
        inputs["boxes"] = torch.tensor([0.2, 0.1, 0.7, 0.9]).repeat(_N_TRIED, 1)
    model = to_onnx(network, inputs, part.outputs)
    found = greatest_difference(network, model, inputs, part.outputs)
    for output, difference in found.items():
        if not difference <= TOLERANCE:  # NaN, too
            raise InputError(
                f"{output} of {name} differ by {difference:.1e} from the network's own, more than "
                f"the tolerance of {TOLERANCE:.0e}",
                cure="Use it with torch, and report this",
            )
    return model, found
