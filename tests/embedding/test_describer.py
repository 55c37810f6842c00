"""How a photo is looked at: whole, behind a mask, or again at what a box shows."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from arithmetic import NEAR
from PIL import Image

from vsa.data.crops import crop_square, with_margin
from vsa.data.images import load_images, square
from vsa.embedding.describer import (
    Describer,
    Lead,
    describe_photos,
    mean_features,
    read_describer,
    write_describer,
)
from vsa.embedding.extract import describe, locate
from vsa.embedding.joint import FeatureNet, JointNet
from vsa.runtime.device import pick_device

PX = 64
BOX = np.float32([0.1, 0.2, 0.6, 0.9])


def close(first: np.ndarray, second: np.ndarray) -> None:
    np.testing.assert_allclose(first, second, atol=1e-6)


@pytest.fixture(scope="module")
def joint():
    torch.manual_seed(0)
    net = JointNet("googlenet_4a", 16)
    torch.nn.init.normal_(net.localiser.head[-1].weight, std=0.1)  # boxes differ
    return net.eval()


@pytest.fixture
def photo():
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    return Image.fromarray(pixels).resize((120, 90))


def test_each_look_shows_the_network_another_picture(joint, photo):
    device = pick_device()
    names = ("whole", "mask", "crop", "both")
    looks = {look: Describer(look, joint, PX, look) for look in names}
    found = {look: one.describe(photo, BOX, device) for look, one in looks.items()}
    picture = square(photo, PX)[None]
    crop = crop_square(photo, with_margin(BOX[None])[0], PX)[None]
    close(found["mask"], describe(joint, picture, device, boxes=BOX[None]).features[0])
    close(found["crop"], describe(joint, crop, device).features[0])
    close(
        looks["whole"].describe(photo, None, device), describe(joint, picture, device).features[0]
    )
    whole = looks["whole"].describe(photo, None, device)
    close(found["both"], mean_features(whole[None], found["crop"][None])[0])
    close(np.linalg.norm(found["both"]), 1)
    for look in looks.values():  # whatever it does with boxes of its own
        close(look.describe(photo, BOX, device, is_given=True), found["crop"])


def test_views_that_pass_together_are_described_as_each_alone(joint, photo):
    device = replace(pick_device(), autocast_dtype=None)
    asked = [(None, False), (BOX, False), (BOX, True), (BOX / 2, False), (None, False)]
    photos = [photo.rotate(90 * turn, expand=True) for turn in range(len(asked))]
    for look in ("whole", "mask", "crop", "both"):
        describer = Describer(look, joint, PX, look)
        several = list(zip(photos, asked, strict=True))
        views = [describer.view(one, box, is_given=given) for one, (box, given) in several]
        found = describer.features(views, device)
        for row, (one, (box, given)) in enumerate(several):
            alone = describer.describe(one, box, device, is_given=given)
            np.testing.assert_allclose(found[row], alone, atol=1e-5)


def test_photos_in_files_are_described_as_each_alone(joint, photo, tmp_path):
    device = pick_device()
    names = [f"{i}.png" for i in range(3)]
    for turn, name in enumerate(names):
        photo.rotate(90 * turn, expand=True).save(tmp_path / name)
    for look in ("whole", "mask", "crop", "both"):
        describer = Describer(look, joint, PX, look)
        squares = load_images(tmp_path, names, 32)
        boxes = locate(joint, squares, device)
        found = describe_photos(describer, tmp_path, names, boxes, device)
        for row, name in enumerate(names):
            one = Image.open(tmp_path / name)
            alone = describer.describe(one, boxes[row] if describer.locates else None, device)
            np.testing.assert_allclose(found[row], alone, atol=1e-5)


def test_the_mean_of_looks_is_a_direction_and_never_nan():
    first, second = np.float32([[1, 0], [1, 0]]), np.float32([[0, 1], [-1, 0]])
    found = mean_features(first, second)
    np.testing.assert_allclose(found, [[0.5**0.5, 0.5**0.5], [0, 0]], rtol=1e-6)


@pytest.mark.parametrize(("dim", "adapted"), [(None, False), (16, False), (16, True)])
def test_a_describer_is_read_as_it_was_written(dim, adapted, photo, tmp_path):
    torch.manual_seed(0)
    net = FeatureNet("googlenet_4a", dim, adapted=adapted).eval()
    assert net.dim == (dim or 512)
    lead = Lead("mAP", 0.05, 0.01, 0.09, 60) if dim else None
    before = Describer("mine", net, PX, "crop", margin=0.2, lead=lead)
    write_describer(tmp_path, before)
    after = read_describer(tmp_path, pick_device())
    assert replace(after, net=net) == before
    device = pick_device()
    np.testing.assert_array_equal(
        before.describe(photo, BOX, device), after.describe(photo, BOX, device)
    )


def test_a_joint_network_is_written_as_one_that_describes(joint, photo, tmp_path):
    write_describer(tmp_path, Describer("joint", joint, PX, "crop"))
    after, device = read_describer(tmp_path, pick_device()), pick_device()
    assert not isinstance(after.net, JointNet)
    before = Describer("joint", joint, PX, "crop").describe(photo, BOX, device)
    np.testing.assert_array_equal(after.describe(photo, BOX, device), before)


def test_an_adaptation_is_a_linear_map_of_unit_features(photo):
    torch.manual_seed(0)
    net, plain = FeatureNet("googlenet_4a", 16, adapted=True).eval(), FeatureNet("googlenet_4a")
    plain.backbone.load_state_dict(net.backbone.state_dict())
    images, device = square(photo, PX)[None], pick_device()
    linear = net.head.linear
    feature = describe(plain.eval(), images, device).features @ linear.weight.detach().numpy().T
    feature += linear.bias.detach().numpy()
    expected = feature / np.linalg.norm(feature)
    np.testing.assert_allclose(describe(net, images, device).features, expected, atol=NEAR)
    embedder = Describer("mine", net, PX, "whole").embedder(device)
    np.testing.assert_allclose(embedder.embed(images), expected, atol=NEAR)
