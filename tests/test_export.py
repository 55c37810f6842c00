"""Networks as ONNX: equal to stated tolerance, as files and as what answers in an engine."""

from __future__ import annotations

import dataclasses
import json
import sys

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from arithmetic import NEAR
from PIL import Image
from small_engine import N_ITEMS, shaken, small_shop
from torch import nn

import vsa
from vsa import cli, onnx_files
from vsa.category.model import predict
from vsa.embedding.extract import describe, locate
from vsa.embedding.joint import JointNet
from vsa.models.backbones import make_backbone
from vsa.runtime.device import pick_device
from vsa.runtime.errors import InputError
from vsa.runtime.inference import is_frozen, ready
from vsa.runtime.onnx import greatest_difference, to_onnx
from vsa.trained import TrainedModels


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return small_shop(tmp_path_factory.mktemp("shop"))


def run(file, **inputs: np.ndarray) -> list[np.ndarray]:
    """As anybody would, who has no torch."""
    opened = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return opened.run(None, inputs)


def channels_first(pictures: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2), np.float32)


def test_files_of_an_engine_compute_what_its_networks_do(shop, tmp_path):
    found = vsa.export(shop.folder, tmp_path / "onnx")
    expected = {"features.onnx", "masked.onnx", "boxes.onnx", "category.onnx"}
    assert {name.split()[0] for name in found} == expected
    assert all(difference <= 1e-4 for difference in found.values())
    assert max(found.values()) > 0  # something was compared
    models, device = TrainedModels.open(shop.folder), pick_device()
    device = dataclasses.replace(device, autocast_dtype=None)
    pictures = channels_first(shop.pictures)
    boxes = locate(models.network, shop.pictures, device)
    np.testing.assert_allclose(
        run(tmp_path / "onnx/boxes.onnx", pictures=pictures)[0], boxes, atol=1e-4
    )
    for name, given, more in (
        ("features.onnx", None, {}),
        ("masked.onnx", boxes, {"boxes": boxes}),
    ):
        own = describe(models.serving.net, shop.pictures, device, boxes=given).features
        made = run(tmp_path / "onnx" / name, pictures=pictures, **more)[0]
        np.testing.assert_allclose(made, own, atol=1e-4)
    own = predict(models.category.net, shop.pictures, 64, device)
    made = run(tmp_path / "onnx/category.onnx", pictures=pictures)
    for one, other in zip(made, own, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    card = json.loads((tmp_path / "onnx/export.json").read_text())
    assert card["categories"] == ["bags", "shoes", "toys"]
    assert card["files"]["boxes.onnx"]["image_px"] == 64


@pytest.mark.parametrize("shape", [(9, 12), (12, 12), (8, 5)])
def test_maps_are_averaged_into_cells_as_torch_does(shape):
    torch.manual_seed(0)
    pool, maps = nn.Sequential(nn.AdaptiveAvgPool2d((8, 5))), torch.randn(2, 3, *shape)
    model = to_onnx(pool, {"maps": maps}, ["cells"])
    assert greatest_difference(pool, model, {"maps": maps}, ["cells"])["cells"] < 1e-6
    assert isinstance(pool[0], nn.AdaptiveAvgPool2d)  # what was given is left as it was


def test_an_embedder_is_exported_with_its_normalisation(tmp_path):
    torch.manual_seed(0)
    network, _ = make_backbone("mobilenet_v2", pretrained=False)
    embed = vsa.Embedder(shaken(network), image_px=64, mean=(0.2, 0.3, 0.4), std=(0.5, 0.6, 0.7))
    vsa.export(embed, tmp_path / "onnx")
    pictures = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), np.uint8)
    made = run(tmp_path / "onnx/features.onnx", pictures=channels_first(pictures))[0]
    np.testing.assert_allclose(made, embed.embed(pictures), atol=NEAR)


@pytest.mark.parametrize("architecture", ["googlenet_4a", "googlenet", "mobilenet_v2", "resnet18"])
def test_onnxruntime_answers_as_the_networks_that_were_trained(architecture):
    torch.manual_seed(0)
    net = shaken(JointNet(architecture, 32))
    device = pick_device("onnx")
    frozen = ready(net, device)
    rng = np.random.default_rng(0)
    for n_images, size_px in ((4, 64), (1, 96), (2, 81)):
        images = rng.integers(0, 256, (n_images, size_px, size_px, 3), np.uint8)
        for boxes in (None, "own"):
            trained, fast = (describe(n, images, device, boxes=boxes) for n in (net, frozen))
            np.testing.assert_allclose(fast.features, trained.features, atol=1e-4)
            np.testing.assert_allclose(fast.boxes, trained.boxes, atol=1e-4)
    assert not list(frozen.backbone.parameters())  # no network of torch's is left in it
    assert is_frozen(frozen)
    assert not is_frozen(net)


def test_an_engine_answers_the_same_by_either_back_end(shop):
    with pytest.raises(InputError, match="back end 'onyx'"):
        vsa.VisualSearch.open(shop.folder, backend="onyx")
    pages = []
    for backend in ("torch", "onnx"):
        engine = vsa.VisualSearch.open(shop.folder, backend=backend)
        pages.append([engine.search(shop.folder.parent / f"{row}.png") for row in range(20)])
        engine.close()
    for by_torch, by_onnx in zip(*pages, strict=True):
        np.testing.assert_allclose(by_onnx.box, by_torch.box, atol=NEAR)
        np.testing.assert_allclose(by_onnx.category.fused, by_torch.category.fused, atol=1e-3)
        likeness = by_torch.results.set_index("image_id").similarity
        other = by_onnx.results.set_index("image_id").similarity
        assert len(set(likeness.index) ^ set(other.index)) <= 4  # of 60; ties at the page's end
        both = likeness.index.intersection(other.index)
        np.testing.assert_allclose(other[both], likeness[both], atol=NEAR)
    assert N_ITEMS > 60  # so that a page says something


def test_networks_of_onnxruntime_are_not_saved_as_if_they_were_whole(shop, tmp_path):
    frozen = ready(shop.models.network, pick_device("onnx"))
    with pytest.raises(InputError, match="frozen to answer faster"):
        dataclasses.replace(shop.models, network=frozen).save(tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_an_unknown_back_end_is_named():
    with pytest.raises(InputError, match=r"unknown back end 'onxx'. Did you mean onnx\?"):
        pick_device("onxx")


class _Sorted(nn.Module):
    def forward(self, pictures):
        return torch.linalg.eigvalsh(pictures.mean(1))


def test_what_onnx_cannot_say_is_refused_and_leaves_nothing(tmp_path):
    embed = vsa.Embedder(_Sorted(), image_px=16, name="eigen")
    with pytest.raises(InputError, match="cannot be written as ONNX"):
        vsa.export(embed, tmp_path / "onnx")
    function = vsa.Embedder(lambda pictures: pictures.mean((2, 3)), image_px=16, name="colour")
    with pytest.raises(InputError, match="'colour' is a function, and no network"):
        vsa.export(function, tmp_path / "onnx")
    with pytest.raises(InputError, match="no engine 'nowhere', and no embedder of that name"):
        vsa.export("nowhere", tmp_path / "onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_computes_something_else_is_not_kept(shop, tmp_path, monkeypatch):
    def mistaken(network, inputs, outputs):
        return to_onnx(_Halved(network), inputs, outputs)

    monkeypatch.setattr(onnx_files, "to_onnx", mistaken)
    with pytest.raises(InputError, match=r"differ by .* more than the tolerance of 1e-04"):
        vsa.export(shop.folder, tmp_path / "onnx")
    assert list(tmp_path.iterdir()) == []


class _Halved(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, pictures, *rest):
        return self.network(pictures / 2, *rest)


def test_the_command_says_how_close_each_file_is(shop, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["vsa", "export", str(shop.folder), str(tmp_path / "onnx")])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert all(float(line.split()[0]) <= 1e-4 for line in lines)
    assert (tmp_path / "onnx/category.onnx").is_file()


def test_an_engine_over_an_embedder_is_exported_as_that_embedder(tmp_path):
    torch.manual_seed(0)
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    embedder = vsa.Embedder.from_pretrained("mobilenet_v2")
    table = pd.DataFrame({"image_path": [f"{number}.png" for number in range(4)]})
    table.assign(product_id=table.image_path, category="any").to_csv(
        tmp_path / "catalogue.csv", index=False
    )
    table.to_csv(tmp_path / "queries.csv", index=False)
    shop = vsa.load_dataset(f"folder:{tmp_path}")
    folder = vsa.build(shop, embedder, out=tmp_path / "engine", selection=None)
    of_engine = vsa.export(folder, tmp_path / "of-engine")
    of_embedder = vsa.export(embedder, tmp_path / "of-embedder")
    assert of_engine.keys() == of_embedder.keys() == {"features.onnx features"}
    assert max(of_engine.values()) < 1e-4
