import numpy as np
import pytest
import torch
from torch import nn

from vsa.embedding.joint import MIN_SIDE, JointNet, Localiser, soft_mask
from vsa.models.backbones import make_backbone

ARCHITECTURES = ("googlenet", "googlenet_4a", "resnet18", "resnet50", "mobilenet_v2")


def h(z, k):
    return 1 / (1 + np.exp(-k * z))


def test_mask_is_the_papers_formula():
    box, k, height, width = (0.2, 0.3, 0.7, 0.9), 12.0, 5, 8
    found = soft_mask(torch.tensor([box]), height, width, k)[0, 0].numpy()
    for row in range(height):
        for column in range(width):
            x, y = (column + 0.5) / width, (row + 0.5) / height
            expected = (h(x - box[0], k) - h(x - box[2], k)) * (h(y - box[1], k) - h(y - box[3], k))
            assert found[row, column] == pytest.approx(expected, abs=1e-6)


def test_mask_is_sharp_for_a_large_slope_and_one_for_a_box_far_outside():
    mask = soft_mask(torch.tensor([[0.25, 0.25, 0.75, 0.75]]), 8, 8, 500.0)[0, 0]
    assert torch.equal(mask.round(), torch.nn.functional.pad(torch.ones(4, 4), (2, 2, 2, 2)))
    assert soft_mask(torch.tensor([[-1.0, -1.0, 2.0, 2.0]]), 8, 8, 30.0).min() > 0.999


def test_mask_has_a_gradient_for_every_side():
    box = torch.tensor([[0.3, 0.3, 0.6, 0.6]], requires_grad=True)
    soft_mask(box, 16, 16, 10.0).sum().backward()
    left, top, right, bottom = box.grad[0]
    assert left < 0 < right
    assert top < 0 < bottom


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_backbone_makes_a_joint_network(architecture):
    torch.manual_seed(0)
    net = JointNet(architecture, 16).eval()
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        boxes = net.locate(images)
        features = net.embed(images, boxes, 20.0)
    assert boxes.shape == (2, 4)
    assert features.shape == (2, 16)
    assert torch.allclose(features.norm(dim=1), torch.ones(2), atol=1e-5)


def test_untrained_localiser_says_the_middle():
    torch.manual_seed(0)
    localiser = Localiser("googlenet_4a").eval()
    with torch.inference_mode():
        boxes = localiser(torch.randn(4, 3, 64, 64))
    assert torch.allclose(boxes, torch.tensor([0.25, 0.25, 0.75, 0.75]), atol=0.06)


def test_boxes_stay_in_the_image_and_above_the_smallest_side():
    torch.manual_seed(0)
    localiser = Localiser("googlenet_4a").eval()
    with torch.inference_mode():
        localiser.head[-1].weight.mul_(1e5)
        boxes = localiser(torch.randn(64, 3, 64, 64))
    assert boxes.min() >= 0
    assert boxes.max() <= 1 + 1e-6
    assert (boxes[:, 2:] - boxes[:, :2]).min() >= MIN_SIDE - 1e-6


def test_pixels_outside_of_a_hard_mask_do_not_count():
    torch.manual_seed(0)
    net = JointNet("googlenet_4a", 8).eval()
    image = torch.randint(0, 256, (1, 3, 64, 64)).float()
    other = image.clone()
    other[..., 48:] = 255 - other[..., 48:]
    box = torch.tensor([[0.1, 0.1, 0.6, 0.9]])
    with torch.inference_mode():
        assert torch.allclose(
            net.embed(image, box, 1000.0), net.embed(other, box, 1000.0), atol=1e-5
        )
        assert not torch.allclose(net.embed(image), net.embed(other), atol=1e-3)


def test_both_branches_start_from_one_backbone():
    torch.manual_seed(1)
    backbone, _ = make_backbone("googlenet_4a", pretrained=False)
    net = JointNet("googlenet_4a", 8)
    net.load_backbone(backbone.state_dict())
    key = "0.conv.weight"
    assert torch.equal(net.backbone.state_dict()[key], backbone.state_dict()[key])
    assert torch.equal(net.localiser.trunk.state_dict()[key], backbone.state_dict()[key])


@pytest.mark.parametrize("features", [True, False])
def test_frozen_norms_keep_their_statistics(features):
    net = JointNet("mobilenet_v2", 8, frozen_norm=True)
    net.train_branches(features=features, boxes=True)
    norms = [
        next(module for module in branch.modules() if isinstance(module, nn.BatchNorm2d))
        for branch in (net.backbone, net.localiser.trunk)
    ]
    before = [norm.running_mean.clone() for norm in norms]
    images = torch.randint(0, 256, (2, 3, 64, 64))
    net.embed(images, net.locate(images), slope=8.0)
    assert all(map(torch.equal, before, [norm.running_mean for norm in norms]))
    assert net.localiser.head[1].training, "its own norm learns"
