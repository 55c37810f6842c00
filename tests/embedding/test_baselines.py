"""Features that nobody trained: ours, and somebody else's without an edit of the package."""

import numpy as np
import pytest
import torch

from vsa.data.descriptors import colour_histogram
from vsa.models.embedder import EMBEDDERS, Embedder
from vsa.runtime.errors import InputError
from vsa.study.embedding import variants
from vsa.study.embedding.baselines import (
    BASELINES,
    HISTOGRAM,
    baseline_identity,
    baselines,
    describe_by,
)
from vsa.study.embedding.finished import gather
from vsa.study.embedding.results import _Results
from vsa.study.ledger.ledger import Ledger
from vsa.study.run import make_run


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(EMBEDDERS, "_entries", {**EMBEDDERS})
    monkeypatch.setattr(BASELINES, "_entries", {**BASELINES})


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)


def mean_colour(images):
    return images.mean((1, 2)) + 1


def bright():
    return Embedder(lambda pictures: pictures.amax((2, 3)) + 9, image_px=24)


def test_features_are_brought_to_unit_length_and_those_that_have_it_left_alone(images):
    BASELINES.register("mean colour", mean_colour)
    (found,) = describe_by("mean colour", images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    (histogram,) = describe_by(HISTOGRAM, images)
    np.testing.assert_array_equal(histogram, colour_histogram(images))


def test_registered_embedders_are_baselines_too(images):
    EMBEDDERS.register("bright", bright)
    BASELINES.register("an embedder as it is", bright())
    assert baselines()[-2:] == ("an embedder as it is", "bright")
    for name in ("an embedder as it is", "bright"):
        np.testing.assert_array_equal(describe_by(name, images)[0], bright().embed(images))


@pytest.mark.parametrize(
    ("describe", "problem"),
    [
        (lambda images: images, r"gives \(6, 16, 16, 3\) for 6 images"),
        (lambda images: mean_colour(images)[1:], r"gives \(5, 3\) for 6 images"),
        (lambda images: mean_colour(images) * np.nan, "gives NaN"),
        (lambda images: images["a"], "fails .IndexError"),
    ],
)
def test_what_gives_no_features_is_named(images, describe, problem):
    BASELINES.register("mine", describe)
    with pytest.raises(InputError, match=f"the feature baseline 'mine' {problem}"):
        describe_by("mine", images)


def test_features_of_one_length_for_photos_and_catalogue(images):
    BASELINES.register("mine", lambda images: np.ones((len(images), len(images))))
    with pytest.raises(InputError, match=r"\[6, 4\] dimensions"):
        describe_by("mine", images, images[:4])


def test_an_unknown_one_is_answered_with_the_nearest(images):
    with pytest.raises(InputError, match="Did you mean colour histogram"):
        describe_by("colour histogramme", images)


def test_a_baseline_is_known_by_its_weights_and_by_somebody_s_source(tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_WEIGHTS_DIR", str(tmp_path))
    before = baseline_identity("ImageNet MobileNetV2")
    torch.save({}, tmp_path / "mobilenet_v2-imagenet.pth")
    assert baseline_identity("ImageNet MobileNetV2") != before
    found = set()
    for number, describe in enumerate((mean_colour, lambda images: mean_colour(images) ** 2)):
        BASELINES.register(f"mine {number}", describe)
        found.add(baseline_identity(f"mine {number}").split()[-1])
    assert len(found) == 2
    EMBEDDERS.register("bright", bright)
    assert bright().identity.split()[-1] in baseline_identity("bright")


@pytest.mark.parametrize("name", ["clicks", "category network", "true boxes"])
def test_a_baseline_cannot_go_by_the_name_of_a_method(name):
    BASELINES.register(name, mean_colour)
    with pytest.raises(InputError, match=f"goes by the name '{name}'"):
        variants.untrained()


def test_a_registered_one_stands_in_the_notebook_s_table_and_a_bad_one_is_left_out(
    make_lab, tmp_path, monkeypatch
):
    monkeypatch.setenv("VSA_REPORTS_DIR", str(tmp_path / "reports"))
    for group in ("_NOTEBOOK", "_CONTROLS", "_PUBLISHED", "_SENSITIVITY"):
        monkeypatch.setattr(variants, group, ())
    monkeypatch.setattr(variants, "OTHER_MASKS", ())
    for name in ("DETECTOR", "SUPERVISED"):
        monkeypatch.setattr(variants, name, HISTOGRAM)
    EMBEDDERS.register("bright", bright)
    EMBEDDERS.register("broken", lambda: Embedder(lambda pictures: pictures, image_px=8))
    BASELINES.register("mean colour", mean_colour)
    finished = gather([make_lab(tmp_path / "jobs")])
    assert {"bright", "mean colour", HISTOGRAM} < set(finished.jobs)
    assert "'broken' cannot be made: the embedder '<lambda>' gives" in finished.left_out["broken"]
    ledger = Ledger.open(make_run("synthetic", "smoke", 0), "03_click_mined_training")
    _Results(ledger, finished, 50, 0).features()
    assert {"bright", "mean colour", HISTOGRAM} < set(ledger.table("features").index)
