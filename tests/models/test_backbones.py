import subprocess
import sys
from collections import OrderedDict

import pytest
import torch
from torch import nn

from vsa.category.model import CategoryNet
from vsa.embedding.joint import JointNet
from vsa.models.backbones import (
    BACKBONES,
    Backbone,
    make_backbone,
    make_trunk,
    weights_key,
    without_weights,
)
from vsa.runtime.errors import InputError
from vsa.study.embedding.detector import make_detector


@pytest.mark.parametrize(
    ("architecture", "length"),
    [
        ("googlenet", 1024),
        ("googlenet_4a", 512),
        ("googlenet_3b", 480),
        ("resnet18", 512),
        ("resnet50", 2048),
        ("mobilenet_v2", 1280),
    ],
)
def test_features_have_the_stated_length(architecture, length):
    network, n_features = make_backbone(architecture, pretrained=False)
    assert n_features == length
    assert network.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, length)


@pytest.mark.parametrize(
    "architecture",
    ["googlenet", "googlenet_4a", "googlenet_3b", "resnet18", "resnet50", "mobilenet_v2"],
)
def test_a_trunk_is_the_start_of_its_backbone(architecture):
    trunk, n_channels = make_trunk(architecture)
    backbone, _ = make_backbone(architecture, pretrained=False)
    assert set(trunk.state_dict()) <= set(backbone.state_dict())
    assert trunk.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, n_channels, 8, 8)


def test_an_unknown_architecture_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="Did you mean resnet50"):
        make_backbone("resnet-50", pretrained=False)


def test_a_backbone_without_imagenet_weights_says_which_have_them():
    with pytest.raises(InputError, match=r"googlenet_4a.* no ImageNet weights.*mobilenet_v2"):
        make_backbone("googlenet_4a", pretrained=True)
    assert weights_key("googlenet_4a") == ""


def _patches(pretrained):
    parts = {
        "stem": nn.Sequential(nn.Conv2d(3, 16, 8, stride=8), nn.BatchNorm2d(16), nn.ReLU()),
        "pool": nn.AdaptiveAvgPool2d(1),
        "flat": nn.Flatten(),
    }
    return nn.Sequential(OrderedDict(parts)), 16


@pytest.fixture
def register(monkeypatch):
    """Let a backbone be known for as long as a test takes."""
    monkeypatch.setattr(BACKBONES, "_entries", {**BACKBONES})
    return BACKBONES.register


def test_a_stranger_s_backbone_classifies_locates_and_detects(register):
    register("patches", Backbone(_patches, trunk=("stem",)))
    images = torch.rand(2, 3, 64, 64)
    logits, feature = CategoryNet("patches", 5, pretrained=False).eval()(images)
    assert (logits.shape, feature.shape) == ((2, 5), (2, 16))
    net = JointNet("patches", 8).eval()
    backbone, _ = make_backbone("patches", pretrained=False)
    net.load_backbone(backbone.state_dict())
    weights = net.localiser.trunk.state_dict()["stem.0.weight"]
    assert torch.equal(weights, backbone.state_dict()["stem.0.weight"])
    assert net.embed(images, net.locate(images), 30.0).shape == (2, 8)
    detector = make_detector("patches", backbone.state_dict(), 64).eval()
    assert len(detector(list(images))) == 2


def test_networks_that_are_to_be_loaded_draw_no_weights_unless_they_are_a_stranger_s(register):
    register("patches", Backbone(_patches, trunk=("stem",)))
    for architecture in ("googlenet_4a", "patches"):
        trained = JointNet(architecture, 8)
        state = torch.get_rng_state()
        with without_weights(architecture):
            net = JointNet(architecture, 8)
        is_own = architecture != "patches"
        assert torch.equal(torch.get_rng_state(), state) == is_own  # none were drawn
        net.load_state_dict(trained.state_dict(), assign=True)
        images = torch.rand(1, 3, 64, 64)
        assert torch.equal(net.eval().locate(images), trained.eval().locate(images))


def test_networks_that_are_to_be_loaded_need_no_compiler_of_torchs():
    code = (
        "import sys\n"
        "from vsa.embedding.joint import JointNet\n"
        "from vsa.models.backbones import without_weights\n"
        "with without_weights('googlenet'):\n"
        "    JointNet('googlenet', 8)\n"
        "print([name for name in sys.modules if name.startswith('torch._dynamo')])\n"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_trying_a_backbone_leaves_its_statistics_and_its_mode(register):
    register("patches", Backbone(_patches, trunk=("stem",)))
    network, _ = make_backbone("patches", pretrained=False)
    assert network.training
    assert network.stem[1].num_batches_tracked == 0


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda pretrained: nn.Flatten(), "makes no pair"),
        (lambda pretrained: (nn.Flatten(), 7), r"gives \(2, 12288\) .*, not \(2, 7\)"),
        (lambda pretrained: (nn.Linear(5, 7), 7), "fails on pictures"),
    ],
)
def test_what_is_no_backbone_is_refused_when_it_is_made(register, make, problem):
    register("wrong", Backbone(make))
    with pytest.raises(InputError, match=f"the backbone 'wrong' {problem}"):
        make_backbone("wrong", pretrained=False)


def test_what_is_no_backbone_at_all_is_refused_when_it_is_registered(register):
    with pytest.raises(InputError, match="of type function"):
        register("wrong", _patches)


@pytest.mark.parametrize(
    ("trunk", "problem"),
    [
        ((), "does not say which parts"),
        (("stern",), "no module that its trunk names"),
        (("stem", "pool"), r"gives \(2, 16, 1, 1\)"),
    ],
)
def test_a_trunk_that_cannot_locate_is_refused(register, trunk, problem):
    register("patches", Backbone(_patches, trunk=trunk))
    with pytest.raises(InputError, match=problem):
        make_trunk("patches")


def test_a_backbone_of_somebody_s_own_is_known_by_its_source(register):
    register("patches", Backbone(_patches, trunk=("stem",)))
    assert not BACKBONES.is_own("patches")
    assert BACKBONES.is_own("mobilenet_v2")
    assert BACKBONES.identity("patches").startswith("patches v1 ")


def test_another_file_of_weights_has_another_key(tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_WEIGHTS_DIR", str(tmp_path))
    published = weights_key("resnet18")
    assert published.startswith("resnet18-")
    keys = set()
    for content in (b"one", b"two"):
        (tmp_path / "resnet18-imagenet.pth").write_bytes(content)
        keys.add(weights_key("resnet18"))
    assert len(keys | {published}) == 3


def test_local_weights_are_used(tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_WEIGHTS_DIR", str(tmp_path))
    source, _ = make_backbone("mobilenet_v2", pretrained=False)
    from torchvision.models import mobilenet_v2

    whole = mobilenet_v2()
    torch.save(whole.state_dict(), tmp_path / "mobilenet_v2-imagenet.pth")
    loaded, _ = make_backbone("mobilenet_v2", pretrained=True)
    first = "features.0.0.weight"
    assert torch.equal(loaded.state_dict()[first], whole.state_dict()[first])
    assert not torch.equal(source.state_dict()[first], whole.state_dict()[first])


@pytest.mark.parametrize("content", [b"", b"not a state dict"])
def test_broken_weights_are_reported(tmp_path, monkeypatch, content):
    monkeypatch.setenv("VSA_WEIGHTS_DIR", str(tmp_path))
    (tmp_path / "mobilenet_v2-imagenet.pth").write_bytes(content)
    with pytest.raises(InputError, match="no usable ImageNet weights"):
        make_backbone("mobilenet_v2", pretrained=True)


def test_weights_of_another_architecture_are_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_WEIGHTS_DIR", str(tmp_path))
    from torchvision.models import resnet18

    torch.save(resnet18().state_dict(), tmp_path / "mobilenet_v2-imagenet.pth")
    with pytest.raises(InputError, match="not those of mobilenet_v2"):
        make_backbone("mobilenet_v2", pretrained=True)


def test_no_network_and_no_file_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_WEIGHTS_DIR", str(tmp_path))

    def refuse(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    with pytest.raises(InputError, match="VSA_WEIGHTS_DIR"):
        make_backbone("mobilenet_v2", pretrained=True)
