"""Networks and what is read from them, with weights made by arithmetic."""

from __future__ import annotations

import io

import numpy as np
import torch
from golden.methods import (
    CPU,
    NETWORK,
    TRAINING,
    Numbers,
    gradient_norms,
    method,
    pictures,
    uniform,
    unit,
    with_weights,
)
from PIL import Image
from torch.nn.functional import cross_entropy

from vsa.category import model as category_model
from vsa.category.model import CategoryNet, predict
from vsa.data import crops, decoding, descriptors
from vsa.data import images as squares
from vsa.embedding import boxes as located
from vsa.embedding import extract, joint, local
from vsa.embedding.joint import JointNet, soft_mask
from vsa.models import backbones, embedder
from vsa.models.backbones import make_backbone, make_trunk
from vsa.models.embedder import Embedder
from vsa.runtime.batches import to_tensor
from vsa.study.embedding import detector
from vsa.study.embedding.detector import make_detector, train_detector

ARCHITECTURE, PX = "googlenet_4a", 32


def joint_net(seed: int = 0) -> JointNet:
    """A joint network whose boxes differ from image to image."""
    net = with_weights(JointNet(ARCHITECTURE, 8), seed, first="localiser")
    with torch.no_grad():
        net.localiser.head[-1].weight.mul_(0.2)
    return net


def photographs() -> dict[str, bytes]:
    """Files of one picture, as a PNG in several ways and as a JPEG."""
    photo = Image.fromarray(pictures(1, 48)[0]).resize((60, 40))
    clear, turned = photo.copy(), Image.Exif()
    clear.putalpha(photo.convert("L"))
    turned[0x0112] = 6
    found = {}
    for name, image, options in (
        ("PNG", photo, {}),
        ("grey", photo.convert("L"), {}),
        ("transparent", clear, {}),
        ("turned", photo, {"exif": turned}),
        ("JPEG", photo, {"quality": 95}),
    ):
        stream = io.BytesIO()
        image.save(stream, "JPEG" if name == "JPEG" else "PNG", **options)
        found[name] = stream.getvalue()
    return found


@method("objectness", located, TRAINING)
def objectness() -> Numbers:
    net = with_weights(local.LocalFeatures(ARCHITECTURE)).eval()
    maps = local.local_features(net, pictures(2, 64), CPU)
    photos, clicked = np.abs(uniform(6, 8, 8, 5)), np.abs(uniform(4, 8, 8, 5, seed=1))
    clicked[:, 2:6, 2:6, 0] += 1
    photos[:, 1:5, 2:7, 0] += 0.5
    drawn = np.tile(np.float32([0.2, 0.1, 0.9, 0.7]), (6, 1))
    by_clicks = located.learn_from_clicks(photos, clicked, np.arange(4) + 1, 0.25)
    return {
        "maps": maps.mean(axis=(1, 2))[:, ::16],
        "first centre": local.first_centre(net, CPU),
        "goods": located.before_ground(clicked).mean(axis=(1, 2)),
        "score by clicks": by_clicks,
        "score by boxes": located.learn_from_boxes(photos, drawn, 0.25),
        "boxes": located.best_boxes(photos @ by_clicks, 0.25),
    }


@method("decoding", decoding, TRAINING)
def decoded() -> Numbers:
    made = {name: np.asarray(decoding.decode(file)) for name, file in photographs().items()}
    return {name: image[::5, ::5].astype(np.float32) for name, image in made.items()}


@method("squares", squares, TRAINING)
def squared() -> Numbers:
    files = photographs().items()
    return {name: squares.load_image(file, 8).astype(np.float32) for name, file in files}


@method("crops", crops, TRAINING)
def cropped() -> Numbers:
    box = crops.with_margin(np.array([[0.2, 0.3, 0.7, 0.9]], np.float32))
    files = photographs().items()
    found = {
        name: crops.crop_square(decoding.decode(file), box[0], 8).astype(np.float32)
        for name, file in files
    }
    return found | {"box": box}


@method("descriptors", descriptors, NETWORK)
def described() -> Numbers:
    images = pictures(2, 40)
    return {
        "weak features": descriptors.weak_features(images),
        "hash": descriptors.perceptual_hash(images),
        "sharpness": descriptors.sharpness(images),
        "contrast": descriptors.contrast(images),
    }


@method("backbones", backbones, NETWORK)
def backbone_outputs() -> Numbers:
    images = torch.from_numpy(uniform(2, 3, 64, 64))
    found = {}
    for name in ("googlenet", "googlenet_4a", "resnet18", "resnet50", "mobilenet_v2"):
        network, n_features = make_backbone(name, pretrained=False)
        trunk, _ = make_trunk(name)
        with torch.inference_mode():
            out = with_weights(network).eval()(images)
            cells = with_weights(trunk).eval()(images)
        assert out.shape == (2, n_features)
        found[name] = out[:, ::32]
        found[f"trunk of {name}"] = cells.mean(dim=(2, 3))[:, ::8]
    return found


@method("embedder", embedder, NETWORK)
def embedded() -> Numbers:
    network, _ = make_backbone(ARCHITECTURE, pretrained=False)
    made = Embedder(with_weights(network).eval(), image_px=PX, name="made", device=CPU)
    return {"features": made.embed(pictures(3, PX))[:, ::16]}


@method("category network", category_model, NETWORK)
def category_network() -> Numbers:
    net = with_weights(CategoryNet(ARCHITECTURE, 3, pretrained=False))
    images = pictures(4, PX + 4)
    logits, _ = net.train()(to_tensor(images, CPU))
    loss = cross_entropy(logits, torch.tensor([0, 1, 2, 0]))
    loss.backward()
    probabilities, features = predict(net, images, PX, CPU)
    return {"loss": loss, **gradient_norms(net)} | {
        "probabilities": probabilities,
        "features": features[:, ::16],
    }


@method("joint network", joint, NETWORK)
def joint_network() -> Numbers:
    images = to_tensor(pictures(4, PX), CPU)
    found: dict[str, object] = {}
    target = torch.from_numpy(unit(4, 8, seed=1))
    for what in ("features", "boxes", "both"):
        net = joint_net().train()
        boxes = None if what == "features" else net.locate(images)
        loss = torch.zeros(())
        if what != "boxes":
            features = net.embed(images, boxes, 12.0)
            loss = loss + (features * target).sum()
            found[f"features, {what}"] = features
        if boxes is not None:
            loss = loss + (boxes * torch.arange(1.0, 5.0)).mean()
            found[f"boxes, {what}"] = boxes
        loss.backward()
        found |= {f"{name}, {what}": norm for name, norm in gradient_norms(net).items()}
    corners = torch.tensor([[0.2, 0.3, 0.7, 0.9]], requires_grad=True)
    mask = soft_mask(corners, 6, 5, 30.0)
    (mask * torch.arange(30.0).view(1, 1, 6, 5)).sum().backward()
    return found | {"mask": mask, "gradient of corners": corners.grad}


@method("extraction", extract, NETWORK)
def extracted() -> Numbers:
    net, images = joint_net(), pictures(3, PX)
    given = np.array([[0.1, 0.2, 0.6, 0.8]] * 3, np.float32)
    found = {}
    for name, boxes in (("whole", None), ("own", "own"), ("given", given)):
        said = extract.describe(net, images, CPU, boxes=boxes, batch_size=2)
        found |= {f"features, {name}": said.features, f"boxes, {name}": said.boxes}
    return found


@method("detector", detector, TRAINING)
def detector_losses() -> Numbers:
    net, _ = make_backbone(ARCHITECTURE, pretrained=False)
    made = with_weights(make_detector(ARCHITECTURE, with_weights(net).state_dict(), PX))
    torch.manual_seed(0)  # of which proposals are judged, not of any weight
    boxes = np.array([[0.2, 0.2, 0.7, 0.7], [0.3, 0.1, 0.8, 0.6]], np.float32)
    log = train_detector(made, pictures(2, PX), boxes, 2, 1e-4, CPU, seed=0)
    found = detector.detect(made, pictures(2, PX), CPU)
    return {"loss": log.loss.to_numpy(), "shape of boxes": np.array(found.shape, np.int64)}
