"""Pictures → unit features, by whatever network somebody brings."""

import doctest
import io
import os
import subprocess
import sys
import threading
from collections import OrderedDict
from functools import partial

import numpy as np
import pytest
import torch
from arithmetic import NEAR
from PIL import Image
from torch import nn
from torchvision.models import mobilenet_v2

import vsa
from vsa.data.decoding import ImageError
from vsa.data.images import load_image
from vsa.models import embedder as embedder_module
from vsa.models.embedder import EMBEDDERS, Embedder
from vsa.runtime.errors import InputError

PX = 32


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (10, PX, PX, 3), np.uint8)


def colours(pictures):
    return pictures.mean((2, 3))


def small_network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.fixture
def register(monkeypatch):
    """Let an embedder be known for as long as a test takes."""
    monkeypatch.setattr(EMBEDDERS, "_entries", {**EMBEDDERS})
    return EMBEDDERS.register


def test_a_network_sees_normalised_pictures_and_its_vectors_become_unit_features(images):
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    embed = Embedder(colours, image_px=PX, mean=mean, std=std)
    expected = (images.mean((1, 2)) / 255 - mean) / std
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = embed.embed(images, batch_size=4)
    assert (found.dtype, found.shape, embed.dim, embed.name) == (np.float32, (10, 3), 3, "colours")
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_function_may_give_an_array(images):
    found = Embedder(lambda pictures: colours(pictures).numpy(), image_px=PX).embed(images)
    np.testing.assert_array_equal(found, Embedder(colours, image_px=PX).embed(images))


def test_files_bytes_and_open_images_have_the_feature_of_their_array(tmp_path):
    rng = np.random.default_rng(1)
    photo = Image.fromarray(rng.integers(0, 256, (50, 40, 3), np.uint8))
    photo.save(tmp_path / "photo.png")
    content = (tmp_path / "photo.png").read_bytes()
    embed = Embedder(small_network(), image_px=PX)
    expected = embed.embed(load_image(photo, PX)[None])
    one = embed(str(tmp_path / "photo.png"))
    assert one.shape == (8,)
    np.testing.assert_array_equal(one, expected[0])
    sources = [tmp_path / "photo.png", content, io.BytesIO(content), photo]
    np.testing.assert_allclose(embed(sources), expected.repeat(4, 0), atol=1e-6)
    np.testing.assert_allclose(embed(source for source in sources[:2]), expected.repeat(2, 0))
    assert embed([]).shape == (0, 8)
    with pytest.raises(ImageError, match=r"none\.png"):
        embed([photo, tmp_path / "none.png"])


def test_images_of_another_size_are_resized_and_mapped_ones_left_alone(images, tmp_path):
    sizes = []

    def network(pictures):
        sizes.append(tuple(pictures.shape[2:]))
        return colours(pictures)

    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    Embedder(network, image_px=48).embed(mapped)
    assert set(sizes) == {(48, 48)}


def test_no_image(images):
    assert Embedder(colours, image_px=PX).embed(images[:0]).shape == (0, 3)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, PX, PX), np.uint8),
        np.zeros((4, PX, PX, 4), np.uint8),
        np.zeros((4, PX, PX, 3), np.float32),
        [1, 2],
    ],
)
def test_what_are_no_images_is_refused(wrong):
    with pytest.raises(InputError, match="images are uint8"):
        Embedder(colours, image_px=PX).embed(wrong)


@pytest.mark.parametrize(
    ("network", "problem"),
    [
        (lambda x: x, r"gives \(1, 3, 32, 32\) for 1 pictures"),
        (lambda x: x.mean(), r"gives \(\) for 1 pictures"),
        (lambda x: torch.zeros(7, 3), r"gives \(7, 3\) for 1 pictures"),
        (lambda x: torch.zeros(1, 0), r"gives \(1, 0\)"),
        (lambda x: colours(x) * float("nan"), "gives NaN or infinite"),
        (lambda x: colours(x) / 0, "gives NaN or infinite"),
        (lambda x: x @ torch.zeros(5, 5), r"fails on pictures \(1, 3, 32, 32\) \(RuntimeError"),
        (lambda x: None, "fails on pictures"),
        (3, "cannot be called, being of type int"),
    ],
)
def test_a_network_that_does_not_do_its_part_is_named_at_once(network, problem):
    with pytest.raises(InputError, match=rf"the embedder 'mine' {problem}"):
        Embedder(network, image_px=PX, name="mine")


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda x: x[:, :2], r"gives \(10, 2\) for 10 pictures, not \(10, 3\)"),
        (lambda x: x[:-1], r"gives \(9, 3\) for 10 pictures"),
        (lambda x: torch.where(torch.arange(10)[:, None] == 3, torch.nan, x), "NaN"),
        (lambda x: x * (torch.arange(10)[:, None] != 3), "zero throughout"),
    ],
)
def test_a_network_that_goes_wrong_later_is_named_too(images, spoil, problem):
    def network(pictures):
        vectors = colours(pictures)
        return spoil(vectors) if len(vectors) > 1 else vectors

    embed = Embedder(network, image_px=PX, name="mine")
    with pytest.raises(InputError, match=f"the embedder 'mine' .*{problem}"):
        embed.embed(images)


@pytest.mark.parametrize(
    "settings",
    [{"image_px": 0}, {"image_px": 32.0}, {"std": (0, 1, 1)}, {"mean": (0.5,)}],
)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(InputError, match="the embedder 'colours'"):
        Embedder(colours, **({"image_px": PX} | settings))


# Identity --------------------------------------------------------------------------------------


def identity(network, image_px=PX, **options):
    return Embedder(network, image_px=image_px, name="same", **options).identity


def test_whatever_is_computed_differently_has_another_identity():
    scaled = partial(torch.mul, torch.tensor(2.0))
    found = [
        identity(small_network()),
        identity(small_network(seed=1)),
        identity(small_network(), 48),
        identity(small_network(), mean=(0.5, 0.5, 0.5)),
        identity(nn.Sequential(*small_network(), nn.ReLU(), nn.Linear(8, 8))),
        identity(nn.Sequential(*small_network(), nn.Tanh())),
        identity(nn.Sequential(*small_network(), nn.Sigmoid())),
        identity(colours),
        identity(lambda x: colours(x) * 2),
        identity(lambda x: scaled(colours(x))),
    ]
    assert len(set(found)) == len(found)
    assert found[0] == identity(small_network())
    assert found[7] == identity(colours)


def around(network):
    def describe(pictures):
        return network(pictures)

    return describe


class Around:
    def __init__(self, network):
        self.network = network

    def __call__(self, pictures):
        return self.network(pictures)

    def describe(self, pictures):
        return self.network(pictures)


@pytest.mark.parametrize(
    "wrap",
    [around, Around, lambda n: Around(n).describe, lambda n: partial(n), lambda n: n.forward],
)
def test_the_weights_of_a_network_inside_a_function_count(wrap):
    first, again, other = (identity(wrap(small_network(seed))) for seed in (0, 0, 1))
    assert first == again
    assert first != other


class Net(nn.Module):
    def __init__(self, scale, shift=0.0, *, at="here"):
        super().__init__()
        self.layer, self.scale = small_network(), scale
        self.settings = {"at": at}
        self.register_buffer("shift", torch.full((8,), shift), persistent=False)

    def forward(self, x):
        return self.scale * self.layer(x) + self.shift


def test_plain_attributes_and_buffers_that_are_not_saved_count():
    around_net = [identity(nn.Sequential(Net(scale))) for scale in (0.1, 5.0)]
    found = [
        identity(Net(0.1)),
        identity(Net(5.0)),
        identity(Net(0.1, shift=1.0)),
        identity(Net(0.1, at="there")),
        *around_net,
    ]
    assert len(set(found)) == len(found)
    assert identity(Net(0.1)) == found[0]


def test_an_identity_does_not_change_by_use(images):
    embed = Embedder(Net(0.1), image_px=PX, name="same")
    embed.embed(images)
    assert embed.identity == identity(Net(0.1))
    other = Embedder(Net(0.1), image_px=PX, name="same")
    assert identity(through(other)) == identity(through(embed))


def through(embed):
    def describe(pictures):
        return embed.embed(np.zeros((len(pictures), PX, PX, 3), np.uint8))

    return describe


def test_the_order_of_modules_counts():
    parts = {"a": nn.Conv2d(3, 3, 1), "b": nn.ReLU()}
    after = {"pool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten()}
    one = nn.Sequential(OrderedDict(parts | after))
    other = nn.Sequential(OrderedDict({"b": parts["b"], "a": parts["a"]} | after))
    assert identity(one) != identity(other)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_a_network_of_torchscript_is_known_by_all_that_was_saved(tmp_path):
    found = []
    for number, scale in enumerate((0.1, 5.0, 0.1)):
        path = tmp_path / f"{number}.pt"
        torch.jit.trace(Net(scale).eval(), torch.zeros(1, 3, PX, PX)).save(path)
        found.append(identity(torch.jit.load(path)))
    assert found[0] == found[2]
    assert found[0] != found[1]


def test_a_network_that_holds_what_no_cache_can_know_is_refused():
    network = Net(0.1)
    network.lock = threading.Lock()
    embed = Embedder(network, image_px=PX)
    with pytest.raises(InputError, match=r"Net holds an object of type _thread\.lock"):
        _ = embed.identity


@pytest.mark.by_hand
def test_identities_of_torchvision_s_are_the_same_in_each_process_and_quick(tmp_path):
    torch.save(mobilenet_v2().state_dict(), tmp_path / "mobilenet_v2-imagenet.pth")
    code = (
        "import time, vsa\n"
        "embed = vsa.Embedder.from_pretrained('mobilenet_v2', image_px=32)\n"
        "start = time.process_time()\n"
        "print(embed.identity, time.process_time() - start)\n"
    )
    found = []
    for seed in "12":
        settings = {"PYTHONHASHSEED": seed, "VSA_WEIGHTS_DIR": str(tmp_path)}
        command = [sys.executable, "-c", code]
        found.append(subprocess.check_output(command, env=os.environ | settings, text=True))
    known, seconds = zip(*(line.rsplit(maxsplit=1) for line in found), strict=True)
    assert known[0] == known[1]
    assert min(map(float, seconds)) < 2


def test_the_identity_is_the_same_in_another_process(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import torch, vsa\n"
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.layer = nn.Conv2d(3, 8, 4, stride=4)\n"
        "    def forward(self, x):\n"
        "        return self.layer(x).mean((2, 3))\n"
        "@vsa.embedders.register('mine')\n"
        "def mine():\n"
        "    torch.manual_seed(0)\n"
        "    return vsa.Embedder(Net(), image_px=32)\n"
    )
    code = "import vsa; print(vsa.Embedder.from_pretrained('mine').identity)"

    def identity():
        environment = os.environ | {"VSA_PLUGINS": str(tmp_path / "mine.py")}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    first = identity()
    assert first.startswith("mine 32 px ")
    assert identity() == first
    source = (tmp_path / "mine.py").read_text()
    (tmp_path / "mine.py").write_text(source.replace("mean((2, 3))", "amax((2, 3))"))
    assert identity() != first


# By name ---------------------------------------------------------------------------------------


def test_a_network_of_torchvision_s_with_weights_of_a_file(tmp_path, monkeypatch, images):
    monkeypatch.setenv("VSA_WEIGHTS_DIR", str(tmp_path))
    torch.manual_seed(0)
    whole = mobilenet_v2()
    torch.save(whole.state_dict(), tmp_path / "mobilenet_v2-imagenet.pth")
    embed = Embedder.from_pretrained("mobilenet_v2", image_px=PX)
    assert (embed.name, embed.image_px, embed.dim) == ("mobilenet_v2", PX, 1280)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pictures = ((torch.from_numpy(images) / 255 - mean) / std).permute(0, 3, 1, 2)
    whole.classifier = nn.Identity()
    with torch.inference_mode():
        expected = nn.functional.normalize(whole.eval()(pictures), dim=1)
    np.testing.assert_allclose(embed.embed(images), expected, atol=NEAR)


def test_a_size_that_a_network_cannot_take_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("vsa.models.embedder.make_headless", _untrained)
    with pytest.raises(InputError, match=r"'vit_b_32' fails .*224.*image_px"):
        Embedder.from_pretrained("vit_b_32", image_px=96)


def _untrained(model, *, pretrained):
    from vsa.models.torchvision_models import make_headless

    return make_headless(model, pretrained=False)


def test_a_registered_embedder_is_found_first_and_by_its_name(register, images):
    register("resnet18", lambda: Embedder(colours, image_px=PX))
    found = Embedder.from_pretrained("resnet18")
    assert (found.name, found.dim) == ("resnet18", 3)
    assert found.identity.startswith("resnet18 32 px ")
    with pytest.raises(InputError, match="takes pictures of 32 px, not of 224"):
        Embedder.from_pretrained("resnet18", image_px=224)


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("resnet-50", "Did you mean resnet50"),
        ("open_clip", "such as mobilenet_v2.*VSA_PLUGINS"),
        ("fasterrcnn_resnet50_fpn", "."),
    ],
)
def test_an_unknown_name_is_answered_with_what_there_is(name, cure):
    with pytest.raises(InputError, match=f"unknown embedder '{name}'.*{cure}"):
        Embedder.from_pretrained(name)


def _needs_something_else():
    raise ImportError("No module named open_clip")


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: Embedder(lambda x: x, image_px=PX), r"the embedder '<lambda>' gives \(1, 3"),
        (_needs_something_else, "ImportError: No module named open_clip"),
    ],
)
def test_a_registered_embedder_that_fails_is_named(register, make, problem):
    register("mine", make)
    with pytest.raises(InputError, match=f"the registered embedder 'mine' .*{problem}"):
        Embedder.from_pretrained("mine")


def test_what_makes_no_embedder_is_refused(register):
    with pytest.raises(InputError, match="Register a function"):
        register("mine", Embedder(colours, image_px=PX))
    register("mine", lambda: colours)
    with pytest.raises(InputError, match="'mine' makes a function"):
        Embedder.from_pretrained("mine")


def test_the_public_names():
    assert vsa.Embedder is Embedder
    assert vsa.embedders is EMBEDDERS


def test_the_example_of_the_docstring():
    found = doctest.testmod(embedder_module, optionflags=doctest.ELLIPSIS)
    assert found.attempted > 0
    assert found.failed == 0
