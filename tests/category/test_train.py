import copy
import dataclasses

import numpy as np
import pytest
import torch

from vsa.category import model as category_model
from vsa.category.batches import crop_batches, resized_crops
from vsa.category.head import look
from vsa.category.model import CategoryNet, extract, predict
from vsa.category.settings import HeadSettings
from vsa.category.train import train_classifier
from vsa.models.backbones import make_backbone
from vsa.runtime import training
from vsa.runtime.device import pick_device
from vsa.runtime.errors import InputError
from vsa.study.run import make_run

TINY = dataclasses.replace(
    make_run("synthetic", "smoke", 0).settings.category,
    architecture="resnet18",
    store_px=36,
    crop_px=32,
    n_steps=12,
    batch_size=16,
)


@pytest.fixture
def two_colours():
    """Reddish and bluish pictures: the easiest labels there are."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, (48, 36, 36, 3), dtype=np.uint8)
    labels = np.arange(48) % 2
    images[labels == 0, ..., 0] += 150
    images[labels == 1, ..., 2] += 150
    return images, labels


def test_training_learns_and_repeats_itself(two_colours):
    images, labels = two_colours
    device = pick_device()
    net, log = train_classifier(images, labels, 2, TINY, device, seed=3)
    probabilities, features = predict(net, images, TINY.crop_px, device)
    assert (probabilities.argmax(axis=1) == labels).mean() > 0.9
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-4)
    assert len(log) == TINY.n_steps
    _, log_again = train_classifier(images, labels, 2, TINY, device, seed=3)
    np.testing.assert_allclose(log.loss, log_again.loss, rtol=1e-4)
    _, log_other = train_classifier(images, labels, 2, TINY, device, seed=4)
    assert not np.allclose(log.loss, log_other.loss)


def test_prediction_does_not_depend_on_the_batch(two_colours):
    images, _ = two_colours
    device = pick_device()
    net = CategoryNet("resnet18", 2, pretrained=False)
    whole, _ = predict(net, images, 32, device, batch_size=48)
    parts, _ = predict(net, images, 32, device, batch_size=7)
    np.testing.assert_allclose(whole, parts, atol=1e-2 if device.autocast_dtype else 1e-5)


def test_prediction_of_nothing_is_empty():
    net = CategoryNet("resnet18", 3, pretrained=False)
    probabilities, features = predict(net, np.empty((0, 36, 36, 3), np.uint8), 32, pick_device())
    assert probabilities.shape == (0, 3)
    assert features.shape == (0, 512)


def test_an_epoch_shows_every_image_once():
    images = np.arange(32, dtype=np.uint8)[:, None, None, None] * np.ones((36, 36, 3), np.uint8)
    batches = list(crop_batches(images, np.arange(32), TINY, seed=0))
    assert len(batches) == TINY.n_steps
    shown = np.concatenate([labels for _, labels in batches[:2]])
    assert sorted(shown) == list(range(32))
    for crop, labels in batches:
        assert crop.shape == (16, 32, 32, 3)
        assert (crop[:, 0, 0, 0] == labels).all()


def test_a_diverging_loss_is_reported(two_colours):
    images, labels = two_colours
    hot = dataclasses.replace(TINY, learning_rate=1e30)
    with pytest.raises(training.Diverged, match="learning rate"):
        train_classifier(images, labels, 2, hot, pick_device(), seed=0)


def test_pretrained_batch_norms_keep_their_statistics():
    net = CategoryNet("resnet18", 2, pretrained=False)
    net.pretrained = True
    net.train()
    norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms
    assert not any(m.training for m in norms)
    assert net.head.training


def test_crops_have_any_size_between_the_least_and_the_whole():
    places = np.arange(40, dtype=np.uint8)
    ramps = np.broadcast_to(places[None, :, None], (40, 40, 3))[None].repeat(200, 0)
    crops = resized_crops(ramps, np.arange(200), 32, 0.5, np.random.default_rng(0))
    assert crops.shape == (200, 32, 32, 3)
    steps = crops[:, 0, -1, 0].astype(int) - crops[:, 0, 0, 0]  # of a mirrored one, negative
    assert 0.4 < (steps < 0).mean() < 0.6
    assert 18 <= np.abs(steps).min() <= 22
    assert 36 <= np.abs(steps).max() <= 39
    assert (crops == crops[:, :1]).all(), "a crop is not turned"


def test_a_crop_of_all_is_the_picture_or_its_mirror_image(two_colours):
    images, _ = two_colours
    crops = resized_crops(images, np.arange(48), 36, 1.0, np.random.default_rng(0))
    same = (crops == images).all(axis=(1, 2, 3))
    mirrored = (crops == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same ^ mirrored).all()
    assert 0 < same.sum() < 48


HEAD = dataclasses.replace(
    TINY,
    pretrained=True,
    trains="head",
    min_scale=0.5,
    head=HeadSettings(input_px=36, n_crops=2, n_steps=40, batch_size=16),
)


@pytest.fixture
def frozen(monkeypatch):
    """A random network stands for the pretrained one."""
    torch.manual_seed(0)
    trunk, n_features = make_backbone("resnet18", pretrained=False)
    monkeypatch.setattr(
        category_model, "make_backbone", lambda *_, **__: (copy.deepcopy(trunk), n_features)
    )
    return trunk


def test_a_softmax_learns_from_a_network_that_stays_as_it_is(two_colours, frozen):
    images, labels = two_colours
    device = pick_device()
    net, log = train_classifier(images, labels, 2, HEAD, device, seed=3)
    probabilities, _ = predict(net, images, HEAD.seen_px, device)
    assert (probabilities.argmax(axis=1) == labels).mean() > 0.9
    assert len(log) == HEAD.head.n_steps
    for name, value in frozen.state_dict().items():
        assert torch.equal(net.backbone.state_dict()[name].cpu(), value), name
    _, log_again = train_classifier(images, labels, 2, HEAD, device, seed=3)
    np.testing.assert_allclose(log.loss, log_again.loss, rtol=1e-4)


def test_views_are_the_whole_its_mirror_image_and_crops(two_colours, frozen):
    images, _ = two_colours
    device = pick_device()
    views = look(images[:5], HEAD, device)
    assert views.shape == (4, 5, 512)
    net = CategoryNet("resnet18", 2, pretrained=True).to(device.device)
    for view, shown in ((0, images[:5]), (1, images[:5, :, ::-1])):
        np.testing.assert_allclose(views[view], extract(net, shown, 36, device), atol=1e-4)


def test_a_softmax_needs_a_pretrained_network():
    with pytest.raises(InputError, match="random network"):
        dataclasses.replace(HEAD, pretrained=False)
