import pytest
import torch

from vsa.models.backbones import make_backbone, make_trunk
from vsa.runtime.errors import InputError


@pytest.mark.parametrize(
    ("architecture", "length"),
    [
        ("googlenet", 1024),
        ("googlenet_4a", 512),
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
    "architecture", ["googlenet", "googlenet_4a", "resnet18", "resnet50", "mobilenet_v2"]
)
def test_a_trunk_is_the_start_of_its_backbone(architecture):
    trunk, n_channels = make_trunk(architecture)
    backbone, _ = make_backbone(architecture, pretrained=False)
    assert set(trunk.state_dict()) < set(backbone.state_dict())
    assert trunk.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, n_channels, 8, 8)


def test_unknown_architecture():
    with pytest.raises(InputError, match="googlenet"):
        make_backbone("alexnet", pretrained=False)


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
