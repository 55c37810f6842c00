"""Whole photo and true crop: an object in a corner is seen in its crop only."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from vsa.category import model
from vsa.category.task import CategoryTask
from vsa.data.schema import BOX, Dataset
from vsa.models.backbones import make_backbone
from vsa.runtime.device import pick_device
from vsa.study.category import experiment
from vsa.study.category.experiment import run_seeds, supervised
from vsa.study.category.looks import (
    CROP,
    LOOK_DIFFERENCES,
    LOOKS,
    WHOLE,
    look_at_crops,
    looks_figure,
    reading_of_looks,
    record_looks,
)
from vsa.study.category.results import answer_test_queries
from vsa.study.ledger.ledger import Ledger
from vsa.study.run import make_run

SET = "category.architecture=resnet18 embedding.architecture=resnet18 category.store_px=36"
SET += " category.crop_px=32 category.n_steps=40 category.batch_size=16 category.n_seeds=2"


def photos(root, prefix, n, fills):
    """Photos of two colours; the object fills all, or a corner of a photo of the other colour."""
    rows = []
    for i in range(n):
        side = 64 if fills else 16
        colours = [(180, 20, 20), (20, 20, 180)]
        photo = Image.new("RGB", (64, 64), colours[(i + (not fills)) % 2])
        photo.paste(colours[i % 2], (0, 0, side, side))
        photo.save(root / f"{prefix}{i}.png")
        box = [0, 0, 0.2, 0.2] if not fills else [0, 0, 1, 1]
        rows.append([f"{prefix}{i}", f"{prefix}{i}.png", "rb"[i % 2], f"{prefix}-p{i}", *box])
    return pd.DataFrame(rows, columns=["id", "path", "category", "product_id", *BOX])


@pytest.fixture
def shop(tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_REPORTS_DIR", str(tmp_path / "reports"))
    monkeypatch.setenv("VSA_ARTIFACTS_DIR", str(tmp_path / "artifacts"))
    reference = photos(tmp_path, "r", 24, fills=True).assign(is_training=True)
    val, test = photos(tmp_path, "v", 12, fills=True), photos(tmp_path, "t", 12, fills=False)
    test.loc[0, BOX] = np.nan
    task = CategoryTask(reference, val, test, ["b", "r"])
    return task, Dataset("tiny", tmp_path, pd.DataFrame(), pd.DataFrame(), pd.DataFrame())


@pytest.mark.slow
def test_a_crop_shows_what_the_whole_photo_hides(shop):
    task, dataset = shop
    run, device = make_run("synthetic", "smoke", 0, SET), pick_device()
    results = run_seeds(task, dataset, run, device)
    outcome = answer_test_queries(task, results, (1.0,))
    looks = look_at_crops(task, dataset, run, results, outcome, device)
    assert list(looks.rows) == list(range(1, 12)), "only photos whose box is known"
    ledger = Ledger.open(run, "02_category_fusion")
    record_looks(ledger, task, results, looks, 100)
    accuracy = ledger.intervals(LOOKS, "Accuracy@1")
    assert accuracy[f"{CROP} | model"].value > 0.9
    assert accuracy[f"{WHOLE} | model"].value < 0.5
    difference = ledger.intervals(LOOK_DIFFERENCES, "Accuracy@1 difference")["fusion"]
    assert difference.value == pytest.approx(
        accuracy[f"{CROP} | fusion"].value - accuracy[f"{WHOLE} | fusion"].value, abs=1e-3
    )
    assert looks_figure(ledger).words.name == "category_looks"
    assert "**fusion, true crop** ahead of **fusion, whole photo**" in reading_of_looks(ledger)


def test_without_boxes_only_whole_photos_are_judged(shop):
    task, dataset = shop
    blind = dataclasses.replace(task, test=task.test.assign(**dict.fromkeys(BOX, np.nan)))
    run = make_run("synthetic", "smoke", 0, SET)
    looks = look_at_crops(blind, dataset, run, [], None, pick_device())
    ledger = Ledger.open(run, "02_category_fusion")
    record_looks(ledger, blind, [], looks, 100)
    assert looks is None
    assert looks_figure(ledger) is None
    assert reading_of_looks(ledger).startswith("No box is known")


def test_seeds_look_once_through_a_frozen_network(shop, monkeypatch):
    task, dataset = shop
    run, asked = make_run("synthetic", "smoke", 0, SET), []
    head = dataclasses.replace(run.settings.category.head, input_px=32, n_crops=1, n_steps=8)
    settings = dataclasses.replace(run.settings.category, trains="head", pretrained=True, head=head)
    look = experiment.look

    def counted(*arguments):
        asked.append(arguments)
        return look(*arguments)

    monkeypatch.setattr(experiment, "look", counted)
    without_weights(monkeypatch)
    results = run_seeds(task, dataset, run, pick_device(), settings)
    assert len(asked) == 1
    first, second = (result.features["test"] for result in results)
    np.testing.assert_array_equal(first, second)
    assert supervised(settings) == dataclasses.replace(settings, trains="all")


def without_weights(monkeypatch):
    """The same random network stands for the pretrained one, each time it is made."""

    def made(architecture, *, pretrained):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return make_backbone(architecture, pretrained=False)

    monkeypatch.setattr(model, "make_backbone", made)
    monkeypatch.setattr(experiment, "weights_key", lambda architecture: "none")
