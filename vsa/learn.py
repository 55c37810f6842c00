"""The LEARN path: a shop and its click log → trained models, of which `vsa.build` makes an engine.

pictures with categories → classifier → page views → triplets → joint network
                                                   ↘ adapted features ↗  → the describer to serve
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from vsa.category import batches, head, model
from vsa.category import task as category_task
from vsa.category import train as train_category
from vsa.category.fusion import choose_fusion
from vsa.category.model import predict
from vsa.category.predictor import CategoryPredictor
from vsa.category.search import nearest_references
from vsa.category.settings import ClassifierSettings
from vsa.category.task import CategoryTask
from vsa.category.train import train_classifier
from vsa.data import decoding, descriptors
from vsa.data import images as squares
from vsa.data.descriptors import DESCRIPTOR_PX, weak_features
from vsa.data.images import load_images
from vsa.data.load import fingerprint_dataset
from vsa.data.schema import Dataset
from vsa.embedding import joint, mining, triplets
from vsa.embedding import task as embedding_task
from vsa.embedding import train as train_joint
from vsa.embedding.adapt import mapping
from vsa.embedding.boxes import learn_objectness
from vsa.embedding.candidates import (
    ADAPTED,
    ADAPTED_BOTH,
    ADAPTED_CROP,
    ADAPTED_OBJECT,
    CANDIDATES,
    JOINT_CROP,
    MASKED,
    NO_PRODUCTS,
    PLAIN,
    PLAIN_CROP,
    PLAIN_OBJECT,
    Validation,
    choose,
)
from vsa.embedding.describer import Describer, adapted, describe_photos, mean_features, plain
from vsa.embedding.extract import describe, locate
from vsa.embedding.joint import JointNet
from vsa.embedding.losses import LOSSES
from vsa.embedding.mining import Mining
from vsa.embedding.recipe import make_stages, train_stages
from vsa.embedding.settings import EmbeddingSettings
from vsa.embedding.task import EmbeddingTask, mine_clicks
from vsa.embedding.train import Images
from vsa.embedding.triplets import from_clicks
from vsa.embedding.which_clicks import adapt_by_best, triplet_sources
from vsa.models import backbones, embedder
from vsa.models.backbones import BACKBONES, weights_key
from vsa.models.embedder import Embedder
from vsa.runtime import training
from vsa.runtime.device import Device, pick_device
from vsa.runtime.errors import InputError, NotApplicable
from vsa.runtime.fingerprint import key, libraries
from vsa.runtime.settings import change_settings
from vsa.trained import TrainedModels


@dataclass(frozen=True, kw_only=True)
class LearningSettings:
    """Of the classifier, and of the network that is trained from clicks."""

    category: ClassifierSettings = field(default_factory=ClassifierSettings)
    embedding: EmbeddingSettings = field(default_factory=EmbeddingSettings)


def train(
    shop: Dataset,
    *,
    loss: str = "paper",
    backbone: str = "googlenet",
    pretrained: bool = True,
    joint_only: bool = False,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
) -> TrainedModels:
    """Train the stages of a search on a shop and its click log (paper sections 3.1 and 3.2).

    The classifier is trained first; its features help to filter the clicks, and its weights are
    what the joint network starts from. Beside it stand a pretrained network as it is and a linear
    adaptation of its features; which of them describes, and whether photos are looked at whole,
    behind a mask or at their box again, is chosen by `vsa.embedding.candidates`. That, λ, the
    fusion's weight, ε and γ are chosen on ``val`` queries; photos of ``test`` are never looked at.
    Photos need no product to be learned from: clicks are enough. Where no ``val`` photo has one
    either, their clicks, which nothing learned from, choose what is served, and no click is
    filtered; a warning and the models' ``notes`` say so. No ranker is trained, which would need a
    log of purchases.

    Parameters
    ----------
    shop : with categories, page views (``shop.pvlog``), and products of ``val`` queries if known.
    loss : a name of `vsa.losses`.
    backbone : a name of `vsa.backbones`, of both networks.
    pretrained : start from ImageNet weights, as photographs ask for.
    joint_only : serve the joint network whatever a pretrained one would find; with
        ``pretrained=False`` no ImageNet weights are needed.
    settings : what is to differ from the defaults, by dotted names such as
        ``{"embedding.margin": 0.3, "category.n_steps": 200}``, see `LearningSettings`.
    seed : ≥ 0.
    folder : where finished stages and checkpoints are kept, so that a training that was
        interrupted goes on; without one it starts anew.

    Returns
    -------
    `vsa.TrainedModels`, for `vsa.build`.

    Raises
    ------
    InputError for a shop without clicks, or that lacks what training or choosing needs, for an
    unknown loss, backbone or setting, and for weights that are not at hand.

    Examples
    --------
    >>> from vsa.study.simulate.clicks import with_clicks
    >>> shop = with_clicks(vsa.load_dataset("synthetic"))  # doctest: +SKIP
    >>> model = vsa.train(shop, backbone="googlenet_4a", pretrained=False)  # doctest: +SKIP
    >>> vsa.build(shop, model, out="my.engine")  # doctest: +SKIP
    """
    if not isinstance(shop, Dataset):
        raise InputError(f"{shop!r} is no shop", cure="Give what vsa.load_dataset(...) returns")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed {seed!r} is not a whole number ≥ 0", cure="Pass seed=0, say")
    chosen = _settings(backbone, pretrained, settings or {})
    _ = LOSSES[loss], BACKBONES[backbone]
    if shop.pvlog is None:
        raise InputError(
            f"the shop {shop.name!r} has no page views and clicks to learn from",
            cure="Add a pvlog.csv, or simulate them: vsa.study.simulate.clicks.with_clicks(shop)",
        )
    device = pick_device()
    with TemporaryDirectory() as temporary:
        place = Path(folder or temporary)
        try:
            labels = category_task.make_task(shop, shop.catalogue.image_id)
            category_task.require_labels(labels, judged=False)
            task = _embedding_task(shop, chosen.embedding.image_px)
            place /= _key(shop, chosen, loss, seed, device)
            place.mkdir(parents=True, exist_ok=True)
            category = _learn_categories(shop, labels, chosen.category, device, seed, place)
            network, mined = _learn_from_clicks(
                task, category, chosen.embedding, loss, device, seed, place
            )
            describer = (
                _choose_look(task, shop.root, network, chosen.embedding, device)
                if joint_only
                else _choose_describer(
                    task, shop.root, network, mined, chosen.embedding, loss, device, seed
                )
            )
        except NotApplicable as reason:
            raise InputError(
                str(reason), cure="Add what is lacking, or train on another shop", file=shop.root
            ) from None
    notes = () if task.knows_validation else (NO_PRODUCTS,)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    px = chosen.embedding.image_px
    serving = None if describer.name == MASKED else describer  # the network is kept already
    return TrainedModels(category, network, px, describer=serving, notes=notes)


def _settings(backbone: str, pretrained: bool, changes: Mapping[str, Any]) -> LearningSettings:
    for name in changes:
        if name.rpartition(".")[2] in ("architecture", "pretrained"):
            raise InputError(
                f"{name} is no setting here", cure="Pass backbone=... and pretrained=..."
            )
    usual = LearningSettings(
        category=ClassifierSettings(architecture=backbone, pretrained=pretrained),
        embedding=EmbeddingSettings(architecture=backbone, pretrained=pretrained),
    )
    return change_settings(usual, changes)


def _embedding_task(shop: Dataset, size_px: int) -> EmbeddingTask:
    queries = shop.queries[shop.queries.split != "test"].reset_index(drop=True)
    catalogue = shop.catalogue.reset_index(drop=True)
    paths = [table.path.tolist() for table in (queries, catalogue)]
    images = Images(*(load_images(shop.root, some, size_px) for some in paths))
    asked, offered = (weak_features(load_images(shop.root, p, DESCRIPTOR_PX)) for p in paths)
    return embedding_task.make_task(
        queries, catalogue, shop.pvlog, images, (asked, offered), ("train", "val")
    )


def _learn_categories(
    shop: Dataset,
    task: CategoryTask,
    settings: ClassifierSettings,
    device: Device,
    seed: int,
    place: Path,
) -> CategoryPredictor:
    reference, val = (
        load_images(shop.root, table.path.tolist(), settings.stored_px)
        for table in (task.reference, task.val)
    )
    chosen = np.flatnonzero(task.reference.is_training)
    labels = task.labels(task.reference)
    net, _ = train_classifier(
        reference[chosen],
        labels[chosen],
        len(task.categories),
        settings,
        device,
        seed,
        "train classifier",
        place / "classifier-checkpoint.pth",
    )
    _, features = predict(net, reference, settings.seen_px, device, description="references")
    probabilities, asked = predict(
        net, val, settings.seen_px, device, description="validation photos"
    )
    distances, rows = nearest_references(asked, features)
    return CategoryPredictor(
        net,
        settings.stored_px,
        settings.seen_px,
        device,
        list(task.categories),
        task.reference[["id", "path", "category"]],
        features,
        choose_fusion(probabilities, distances, labels[rows], task.labels(task.val)),
    )


def _learn_from_clicks(
    task: EmbeddingTask,
    category: CategoryPredictor,
    settings: EmbeddingSettings,
    loss: str,
    device: Device,
    seed: int,
    place: Path,
) -> tuple[JointNet, Mining]:
    torch.manual_seed(seed)
    net = JointNet(settings.architecture, settings.feature_dim, frozen_norm=settings.pretrained)
    net.load_backbone(category.net.backbone.state_dict())
    net.to(device.device, memory_format=device.memory_format)
    embed = Embedder(net.backbone, image_px=settings.image_px, name="classifier", device=device)
    before = embed.embed(task.images.queries), embed.embed(task.images.catalogue)
    mined = mine_clicks(task, before, seed)
    source = from_clicks(mined.filtered, len(task.queries), len(task.catalogue))
    stages = make_stages(loss, settings)
    train_stages(net, stages, source, task.images, device, seed, place, "train")
    return net.eval(), mined


def _choose_describer(
    task: EmbeddingTask,
    root: Path,
    network: JointNet,
    mined: Mining,
    settings: EmbeddingSettings,
    loss: str,
    device: Device,
    seed: int,
) -> Describer:
    """The candidate that validation photos choose; each is asked for what it says of them."""
    base = plain(settings.describer, settings.describer_px, device)
    again = replace(base, look="crop")
    photos, offered = task.queries.path.tolist(), task.catalogue.path.tolist()
    boxes = locate(network, task.images.queries, device)
    views = {
        PLAIN: describe_photos(base, root, photos, None, device),
        PLAIN_CROP: describe_photos(again, root, photos, boxes, device),
    }
    catalogue = describe_photos(base, root, offered, None, device)
    judged, learn = Validation.of(task), task.rows("train")
    val = judged.rows
    found = adapt_by_best(
        [*views.values()],
        catalogue,
        triplet_sources(mined, len(photos), len(offered)),
        learn,
        settings,
        loss,
        seed,
        lambda to: float(
            np.mean([judged.score(to(view[val]), to(catalogue)) for view in views.values()])
        ),
    )
    joint = Describer(MASKED, network, settings.image_px, "mask")
    px = settings.objectness_px
    goods = replace(again, localiser=learn_objectness(task, root, settings.describer, px, device))
    asked = [photos[row] for row in val]
    boxes_of_goods = goods.boxes(
        network, settings.image_px, lambda px: load_images(root, asked, px), device
    )
    candidates = {
        PLAIN: base,
        PLAIN_OBJECT: replace(goods, name=PLAIN_OBJECT),
        ADAPTED: adapted(base, found.head, "whole", ADAPTED),
        ADAPTED_OBJECT: adapted(goods, found.head, "crop", ADAPTED_OBJECT),
        ADAPTED_CROP: adapted(base, found.head, "crop", ADAPTED_CROP),
        ADAPTED_BOTH: adapted(goods, found.head, "both", ADAPTED_BOTH),
        MASKED: joint,
        JOINT_CROP: replace(joint, name=JOINT_CROP, look="crop"),
    }
    of_joint = describe(network, task.images.catalogue, device).features
    to = mapping(found.head)
    of_goods = describe_photos(goods, root, asked, boxes_of_goods, device)
    precisions = {
        PLAIN: judged.precisions(views[PLAIN][val], catalogue),
        PLAIN_OBJECT: judged.precisions(of_goods, catalogue),
        ADAPTED: judged.precisions(to(views[PLAIN][val]), to(catalogue)),
        ADAPTED_OBJECT: judged.precisions(to(of_goods), to(catalogue)),
        ADAPTED_CROP: judged.precisions(to(views[PLAIN_CROP][val]), to(catalogue)),
        ADAPTED_BOTH: judged.precisions(
            mean_features(to(views[PLAIN][val]), to(of_goods)), to(catalogue)
        ),
    } | {
        name: judged.precisions(
            describe_photos(candidates[name], root, asked, boxes[val], device), of_joint
        )
        for name in (MASKED, JOINT_CROP)
    }
    in_order = {name: precisions[name] for name in CANDIDATES}
    return candidates[choose(in_order, judged.groups).name]


def _choose_look(
    task: EmbeddingTask, root: Path, network: JointNet, settings: EmbeddingSettings, device: Device
) -> Describer:
    """The way of the joint network that validation photos choose: behind a mask, or at a crop."""
    masked = Describer(MASKED, network, settings.image_px, "mask")
    ways = (masked, replace(masked, name=JOINT_CROP, look="crop"))
    judged = Validation.of(task)
    asked = [task.queries.path.iloc[row] for row in judged.rows]
    boxes = locate(network, task.images.queries[judged.rows], device)
    catalogue = describe(network, task.images.catalogue, device).features
    precisions = {
        way.name: judged.precisions(describe_photos(way, root, asked, boxes, device), catalogue)
        for way in ways
    }
    chosen = choose(precisions, judged.groups).name
    return next(way for way in ways if way.name == chosen)


def _key(shop: Dataset, settings: LearningSettings, loss: str, seed: int, device: Device) -> str:
    """A folder of checkpoints is that of one shop, settings and code."""
    methods: list[Any] = [decoding, squares, descriptors, backbones, embedder, training, model]
    methods += [batches, train_category, head, joint, mining, triplets, train_joint]
    stages = make_stages(loss, settings.embedding).values()
    category = settings.category
    return key(
        {
            **{method.__name__: method.VERSION for method in methods},
            **{f"loss {stage.loss}": LOSSES.identity(stage.loss) for stage in stages},
            "backbone": BACKBONES.identity(category.architecture),
            **libraries("torch", "torchvision"),
        },
        settings=[settings.category, settings.embedding],
        weights=weights_key(category.architecture) if category.pretrained else "",
        shop=fingerprint_dataset(shop, shop.name),
        seed=seed,
        device=repr(device),
    )
