"""Losses, training, mining, votes and rankers."""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import torch
from golden.methods import (
    CPU,
    EXACT,
    LOSS,
    NETWORK,
    TRAINING,
    Numbers,
    method,
    pictures,
    uniform,
    unit,
    with_weights,
)
from golden.networks import ARCHITECTURE, PX, joint_net

from vsa.category import batches as category_batches
from vsa.category import fusion, search, selection
from vsa.category import head as category_head
from vsa.category import train as category_train
from vsa.category.batches import crop_batches
from vsa.category.model import CategoryNet
from vsa.category.settings import ClassifierSettings, HeadSettings
from vsa.embedding import adapt as adaptation
from vsa.embedding import losses, mining, train, triplets, which_clicks
from vsa.embedding.joint import JointNet
from vsa.embedding.losses import LOSSES, PAPER, TripletBatch, evaluate
from vsa.embedding.mining import FusedDistance, PageViews
from vsa.embedding.settings import EmbeddingSettings
from vsa.embedding.task import EmbeddingTask
from vsa.embedding.train import Images, Stage, train_boxes_supervised, train_stage
from vsa.ranking import features as ranking_features
from vsa.ranking import models as rankers
from vsa.ranking.settings import RankerSettings
from vsa.runtime import training
from vsa.runtime.training import Group, fit
from vsa.study.category import experiment as category_experiment
from vsa.study.embedding import folds, linear
from vsa.study.simulate.shoppers import PORTRAITS


def _loss_numbers(name: str) -> Numbers:
    photos, others = unit(6, 8), unit(6, 8, seed=1)
    clicked = photos + unit(6, 8, seed=2)
    clicked /= np.linalg.norm(clicked, axis=1, keepdims=True)
    others[:3] = clicked[:3] + 0.7 * others[:3]
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    sides = [torch.from_numpy(side).requires_grad_() for side in (photos, clicked, others)]
    ids = torch.tensor([3, 5, 5, 8, 9, 9])
    allowed = torch.from_numpy(uniform(6, 6, seed=3)) < 0.6
    loss = evaluate(name, TripletBatch(*sides, ids, allowed), 0.5)
    loss.value.backward()
    query, positive, negative = (side.grad for side in sides)
    return {
        "loss": loss.value,
        "active share": np.nan_to_num(loss.active_share, nan=-1.0),
        "gradient of queries": query,
        "gradient of positives": positive,
        "gradient of negatives": negative,
    }


for _name in LOSSES:
    if LOSSES.is_own(_name):
        _version = int(LOSSES.identity(_name).rpartition(" v")[2])
        method(f"loss {_name}", losses, LOSS, _version)(lambda name=_name: _loss_numbers(name))


@method("training loop", training, NETWORK)
def loop() -> Numbers:
    net = with_weights(torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Linear(4, 1)))

    def loss_of(batch: np.ndarray, step: int) -> tuple:
        return (net(torch.from_numpy(batch)) - step).square().mean(), {}

    groups = [Group(net[0].parameters(), 0.01), Group(net[1].parameters(), 0.1)]
    log = fit(
        net, groups, lambda first: (uniform(3, 5, seed=i) for i in range(first, 8)), loss_of, 8, ""
    )
    return {"loss": log.loss.to_numpy(), "weight": net[0].weight, "bias": net[1].bias}


def joint_training_once(trains: str) -> tuple[JointNet, pd.DataFrame]:
    """A network after three steps of a stage, and the log."""
    net = joint_net()
    stage = Stage(trains, 3, 4, PAPER, 0.4, 2e-5, 2e-5, (10.0, 20.0), 2.0)
    source = triplets.from_clicks(_triplets(), 6, 12)
    images = Images(pictures(6, PX, seed=1), pictures(12, PX, seed=2))
    with tempfile.TemporaryDirectory() as folder:
        log = train_stage(net, stage, source, images, CPU, 0, Path(folder, "checkpoint"))
    return net, log


@method("joint training", train, TRAINING)
def joint_training() -> Numbers:
    before = dict(joint_net().named_parameters())
    found = {}
    for trains in ("features", "boxes", "both"):
        net, log = joint_training_once(trains)
        found |= {f"{column}, {trains}": log[column] for column in ("loss", "feature_cosine")}
        for part in ("backbone", "localiser"):
            moved = [v - before[n] for n, v in net.named_parameters() if n.startswith(part)]
            found[f"{part} moved, {trains}"] = torch.cat([x.flatten() for x in moved]).norm()
    stage = Stage("boxes", 3, 4, PAPER, 0.4, 0.0, 2e-5)
    boxes = np.abs(uniform(6, 4, seed=4))
    images = pictures(6, PX, seed=1)
    log = train_boxes_supervised(joint_net(), boxes, images, stage, CPU, 0)
    return found | {"loss, supervised": log.loss}


@method("adaptation", adaptation, TRAINING)
def adapted() -> Numbers:
    few = EmbeddingSettings(adapted_dim=5, n_adapt_triplets=4, n_adapt_steps=8)
    source, scores = triplets.from_clicks(_triplets(), 6, 12), itertools.count()
    views, offered = [unit(6, 8), unit(6, 8, seed=1)], unit(12, 8, seed=2)
    found = adaptation.adapt(
        views, offered, source, np.arange(6), few, PAPER, 0, lambda to: next(scores)
    )
    queries, catalogue = (adaptation.apply(found.head, f) for f in (views[0], offered))
    # components have no sign of their own, and what is between two features needs none
    return {"loss": found.log.loss, "cosines": queries @ catalogue.T, "power": found.power}


@method("which clicks", which_clicks, TRAINING)
def adapted_by_best() -> Numbers:
    few = EmbeddingSettings(adapted_dim=5, n_adapt_triplets=4, n_adapt_steps=8)
    raw = _triplets()
    sources = {
        which_clicks.FILTERED: triplets.from_clicks(raw, 6, 12),
        which_clicks.RAW: triplets.from_clicks(
            dataclasses.replace(raw, positive=raw.positive[::-1].copy()), 6, 12
        ),
    }
    scores = itertools.count()
    views, offered = [unit(6, 8), unit(6, 8, seed=1)], unit(12, 8, seed=2)
    known = (np.arange(6), few, PAPER, 0, lambda to: next(scores))
    found = which_clicks.adapt_by_best(views, offered, sources, *known)
    queries, catalogue = (adaptation.apply(found.head, f) for f in (views[0], offered))
    return {
        "loss": found.log.loss,
        "cosines": queries @ catalogue.T,
        "is raw": int(found.clicks == which_clicks.RAW),
    }


@method("linear study", linear, TRAINING)
def linear_ground() -> Numbers:
    looking = SimpleNamespace(photos=lambda who, how: unit(6, 8), catalogue=unit(12, 8, seed=2))
    task = SimpleNamespace(rows=lambda split: np.arange(4), catalogue=range(12))
    lab = SimpleNamespace(task=task, looking=looking, settings=SimpleNamespace(adapted_dim=5))
    ground = linear.LinearStudy(lab, [0])._ground(np.arange(10))
    photos, catalogue = ground.features
    pages = linear.leave_out(_pages(), np.array([1, 4]))
    return {
        "cosines": photos @ catalogue.T,
        "images": pages.image,
        "clicked": pages.clicked.astype(int),
    }


@method("folds", folds, EXACT)
def folded() -> Numbers:
    queries = pd.DataFrame({"product_id": [f"p{i // 2}" for i in range(24)], "split": "train"})
    task = EmbeddingTask(queries, pd.DataFrame(), *[None] * 3)
    study = folds.FoldStudy(SimpleNamespace(task=task))
    parts = [study.part(fold).queries.split for fold in range(folds.N_FOLDS)]
    return {"folds": study.folds, "splits": pd.concat(parts).tolist()}


@method("category training", category_train, TRAINING)
def category_training() -> Numbers:
    few = ClassifierSettings(
        architecture=ARCHITECTURE,
        pretrained=False,
        store_px=PX + 4,
        crop_px=PX,
        n_steps=3,
        batch_size=4,
        learning_rate=2e-5,
    )
    images, labels = pictures(6, PX + 4), np.arange(6) % 3
    crops = [crop.mean(axis=(1, 2, 3)) for crop, _ in crop_batches(images, labels, few, 0)]
    net = with_weights(CategoryNet(ARCHITECTURE, 3, pretrained=False))
    with mock.patch.object(category_train, "CategoryNet", return_value=net):
        _, log = category_train.train_classifier(images, labels, 3, few, CPU, 0)
    return {"crops": np.array(crops), "loss": log.loss}


@method("category batches", category_batches, TRAINING)
def category_crops() -> Numbers:
    images, labels = pictures(6, PX + 4), np.arange(6)
    found: dict[str, np.ndarray] = {}
    for scale in (1.0, 0.4):
        few = ClassifierSettings(
            store_px=PX + 4, crop_px=PX, n_steps=2, batch_size=4, min_scale=scale
        )
        crops, shown = zip(*crop_batches(images, labels, few, 0), strict=True)
        found[f"crops, {scale}"] = np.concatenate(crops)[:, ::12, ::12].astype(np.float32)
        found[f"shown, {scale}"] = np.concatenate(shown)
    return found


@method("category head", category_head, TRAINING)
def category_softmax() -> Numbers:
    few = ClassifierSettings(
        architecture=ARCHITECTURE,
        min_scale=0.4,
        trains="head",
        head=HeadSettings(input_px=PX, n_crops=2, n_steps=8, batch_size=4, learning_rate=1e-2),
    )
    net = with_weights(CategoryNet(ARCHITECTURE, 3, pretrained=False))
    with mock.patch.object(category_head, "CategoryNet", return_value=net):
        views = category_head.look(pictures(6, PX), few, CPU)
        _, log = category_head.train_head(views, np.arange(6) % 3, 3, few, CPU, 0)
    return {"views": views[:, :, ::64], "loss": log.loss}


def _pages() -> PageViews:
    images = np.array([[0, 1, 2, 3, 4], [5, 6, 1, 7, -1], [8, 9, 10, 11, 0], [3, 2, 9, 5, -1]])
    clicked = np.array([[1, 0, 0, 1, 0], [0, 1, 0, 0, 0], [1, 0, 1, 0, 0], [0, 1, 0, 0, 0]], bool)
    return PageViews(np.array([0, 1, 2, 0]), images, clicked)


def _triplets() -> mining.Triplets:
    return mining.mine(_pages(), _distance()).triplets


def _distance() -> FusedDistance:
    parts = [(unit(6, 4, seed=i), unit(12, 4, seed=i + 1)) for i in (0, 2)]
    return FusedDistance(parts, _pages(), seed=0)


@method("mining", mining, NETWORK)
def mined() -> Numbers:
    distance = _distance()
    found = mining.mine(_pages(), distance)
    thresholds = mining.choose_thresholds(found, np.arange(6), np.arange(12) // 2)
    kept = found.filtered(np.median(found.click_distance), 0.9)
    return {
        "scales": distance.scales,
        "click distance": found.click_distance,
        "nonclick distance": found.nonclick_distance[np.isfinite(found.nonclick_distance)],
        "thresholds": np.nan_to_num([thresholds.epsilon, thresholds.gamma], posinf=9, neginf=-9),
        "queries": kept.query,
        "positives": kept.positive,
        "negatives": kept.negatives,
        "shuffled": mining.shuffle_clicks(_pages(), 0).clicked.astype(np.int64),
    }


@method("triplets", triplets, EXACT)
def drawn() -> Numbers:
    found = {}
    labels = (np.arange(6) % 3, np.arange(12) % 3)
    for name, source in (
        ("clicks", triplets.from_clicks(_triplets(), 6, 12)),
        ("pages", triplets.from_labels(*labels, _pages(), negatives="pages", seed=0)),
        ("catalogue", triplets.from_labels(*labels, _pages(), negatives="catalogue", seed=0)),
    ):
        one = source.draw(4, seed=0, step=1)
        found |= {f"{field}, {name}": getattr(one, field) for field in ("query", "positive")}
        found |= {f"negative, {name}": one.negative, f"allowed, {name}": one.allowed.astype(int)}
    return found


@method("vote", search, NETWORK)
def voted() -> Numbers:
    distances, rows = search.nearest_references(unit(3, 6), unit(40, 6, seed=1))
    return {"rows": rows, "vote": search.vote(distances, rows % 4, 4, 2.0)}


@method("fusion", fusion, NETWORK)
def fused() -> Numbers:
    model = np.abs(uniform(8, 3))
    model /= model.sum(axis=1, keepdims=True)
    distances, rows = search.nearest_references(unit(8, 6), unit(40, 6, seed=1))
    choice = fusion.choose_fusion(model, distances, rows % 3, np.arange(8) % 3)
    voted = search.vote(distances, rows % 3, 3, choice.decay)
    chosen = [float(choice.decay), float(choice.weight)]
    return {"chosen": chosen, "fused": fusion.fuse(model, voted, choice.weight)}


@method("refitted last layer", category_experiment, NETWORK)
def refitted() -> Numbers:
    features = {"reference": unit(30, 5), "val": unit(9, 5, seed=1), "test": unit(6, 5, seed=2)}
    task: Any = SimpleNamespace(val="", labels=lambda rows: np.arange(9) % 3, categories="abc")
    fit = category_experiment.fit_last_layer
    return {"probabilities": fit(features, np.arange(30), np.arange(30) % 3, task)["test"]}


@method("selection", selection, EXACT)
def selected() -> Numbers:
    images = pictures(7, 40)
    images[1] = images[0]
    images[2] = np.clip(images[0].astype(int) + 3, 0, 255)
    images[3] = 128
    catalogue = pd.DataFrame(
        {
            "image_id": [f"i{row}" for row in range(7)],
            "product_id": ["a", "a", "b", "c", "d", "e", "f"],
            "category": ["x"] * 6 + [""],
            "price": 1.0,
            "sales": [1.0, 5.0, 2.0, 1.0, 1.0, np.nan, 1.0],
        }
    )
    found = selection.select(catalogue, images)
    return {name: found[name].astype(str).tolist() for name in found}


@method("ranking features", ranking_features, NETWORK)
def page_features() -> Numbers:
    quality = np.abs(uniform(3, 5, 4)).astype(np.float64)
    quality[0, 0, :2] = np.nan
    filling = ranking_features.Filling.of(quality.reshape(-1, 4))
    return {
        "features": ranking_features.page_features(
            uniform(3, 5, seed=1), quality, filling, PORTRAITS
        )
    }


@method("rankers", rankers, NETWORK)
def ranked() -> Numbers:
    few = RankerSettings(n_trees=8, depth=3)
    x = uniform(600, ranking_features.PORTRAIT + len(PORTRAITS.names))
    seen = np.full(len(x), 4)
    bought = (2 * (x[:, 2] + x[:, 3] * x[:, 4] > 0.2) + (uniform(600, seed=1) > 0.5)).astype(
        np.int64
    )
    found = {}
    for name in rankers.RANKERS:
        ranker = rankers.make_ranker(name, few, 0)
        ranker.fit(x, seen, bought)
        ranker.tune(x[::2], seen[::2], bought[::2])
        found[name] = ranker.score(x[:20])
    return found
