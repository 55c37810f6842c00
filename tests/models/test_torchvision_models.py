"""Any classification network of torchvision's, without its head."""

import subprocess
import sys

import pytest
import torch
from torchvision import models

from vsa.models.torchvision_models import make_headless, model_names, trained_input


@pytest.mark.parametrize(
    ("model", "image_px", "length"),
    [
        ("convnext_tiny", 64, 768),
        ("densenet121", 64, 1024),
        ("efficientnet_b0", 64, 1280),
        ("googlenet", 64, 1024),
        ("inception_v3", 96, 2048),
        ("mobilenet_v3_small", 64, 1024),
        ("shufflenet_v2_x0_5", 64, 1024),
        ("squeezenet1_1", 64, 512),
        ("swin_t", 64, 768),
        ("vit_b_16", 224, 768),
    ],
)
def test_the_input_of_the_last_layer_is_the_feature(model, image_px, length):
    """Put back upon it, the head gives the logits that the whole network gives."""
    assert model in model_names()
    torch.manual_seed(0)
    network, n_features = make_headless(model, pretrained=False)
    torch.manual_seed(0)
    quiet = {"aux_logits": False, "init_weights": False}
    options = quiet if model in ("googlenet", "inception_v3") else {}
    whole = models.get_model(model, weights=None, **options).eval()
    assert n_features == length
    images = torch.rand(2, 3, image_px, image_px)
    with torch.inference_mode():
        feature = network.eval()(images)
        assert feature.shape == (2, length)
        head = [m for m in whole.modules() if isinstance(m, torch.nn.Linear | torch.nn.Conv2d)][-1]
        seen = []
        head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        whole(images)
    pooled = seen[0].mean((2, 3)) if seen[0].ndim == 4 else seen[0]
    assert torch.allclose(feature, pooled, atol=1e-5)


def test_there_is_no_dropout_where_the_head_was():
    network, _ = make_headless("mobilenet_v2", pretrained=False)
    assert not any(isinstance(module, torch.nn.Dropout) for module in network.modules())


def test_only_networks_that_classify_pictures_are_named():
    assert {"mobilenet_v2", "vit_b_16", "swin_t"} < set(model_names())
    assert not any("rcnn" in name or "raft" in name for name in model_names())


def test_the_input_is_that_of_the_weights():
    found = trained_input("efficientnet_v2_s")
    assert (found.image_px, found.mean) == (384, (0.485, 0.456, 0.406))
    assert trained_input("mobilenet_v2").image_px == 224


def test_torchvision_comes_without_torchs_compiler_which_is_there_when_it_is_wanted():
    code = (
        "import sys\n"
        "from vsa.models.torchvision_models import make_headless\n"
        "make_headless('mobilenet_v2', pretrained=False)\n"
        "print([name for name in sys.modules if name.startswith('torch._dynamo')])\n"
        "pooling = sys.modules['torchvision.ops.roi_align']\n"
        "print(pooling.is_compile_supported('cpu'))\n"
        "from torch._dynamo import utils\n"
        "print(utils.is_compile_supported('cpu'))\n"
    )
    told = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert told[0] == "[]"
    assert told[1] == told[2]


def test_a_torchvision_that_wants_more_of_the_compiler_gets_it():
    code = (
        "import sys, torch\n"
        "from vsa.models import torchvision_models as ours\n"
        "sys.modules[ours._COMPILER] = stand_in = ours._StandIn(ours._COMPILER)\n"
        "from torch._dynamo.utils import is_compile_supported, same\n"
        "print(same.__module__, sys.modules[ours._COMPILER] is not stand_in)\n"
    )
    told = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert told == ["torch._dynamo.utils", "True"]
