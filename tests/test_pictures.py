"""An index over a folder of pictures, from the command line on."""

import os
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from vsa import cli, pictures
from vsa.embedding.joint import JointNet
from vsa.pictures import Pictures, build
from vsa.runtime.errors import InputError


def _small_network(device):
    torch.manual_seed(0)
    net = JointNet("mobilenet_v2", 1280)
    net.head = nn.Linear(1280, 1280, bias=False)
    nn.init.eye_(net.head.weight)
    return net.to(device.device, memory_format=device.memory_format).eval()


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A folder of twelve different pictures, one of them in a folder of its own."""
    monkeypatch.setattr(pictures, "imagenet_network", _small_network)
    monkeypatch.setattr(pictures, "_SIZE_PX", 64)
    folder = tmp_path / "shop"
    (folder / "more").mkdir(parents=True)
    for number in range(12):
        _paint(folder / ("more" if number == 11 else "") / f"{number:02d}.png", number)
    (folder / "note.txt").write_text("not a picture")
    return folder


def _paint(path, seed):
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (4, 4, 3), np.uint8)
    Image.fromarray(blocks.repeat(20, 0).repeat(20, 1)).save(path)


def counts(added=0, replaced=0, unchanged=0, unreadable=0, skipped=1):
    """What became of the shop's entries; its note is skipped."""
    return {
        "added": added,
        "replaced": replaced,
        "unchanged": unchanged,
        "unreadable": unreadable,
        "skipped": skipped,
    }


def test_a_picture_finds_itself(shop, tmp_path):
    assert build(tmp_path / "index", shop).counts == counts(added=12)
    with Pictures(tmp_path / "index") as own:
        for name in ("03.png", "more/11.png"):
            found = own.search(shop / name, k=3)
            assert found.name.iloc[0] == name
            assert found.similarity.iloc[0] == pytest.approx(1, abs=0.01)
            assert len(found) == 3


def test_new_and_changed_pictures_are_added_and_the_same_ones_left(shop, tmp_path):
    build(tmp_path / "index", shop)
    _paint(shop / "12.png", 12)
    _paint(shop / "03.png", 99)
    os.utime(shop / "03.png", ns=(1, 1))
    (shop / "broken.png").write_text("no picture at all")
    with Pictures(tmp_path / "index", writable=True) as own:
        assert own.add(shop).counts == counts(added=1, replaced=1, unchanged=11, unreadable=1)
        assert own.add(shop).counts == counts(unchanged=13, unreadable=1)
        assert own.search(shop / "03.png", 1).name.tolist() == ["03.png"]
        assert own.search(shop / "12.png", 1).name.tolist() == ["12.png"]
        assert len(own.index) == 13


def test_deleted_pictures_are_gone(shop, tmp_path):
    build(tmp_path / "index", shop)
    with Pictures(tmp_path / "index", writable=True) as own:
        own.delete(["03.png"])
        assert "03.png" not in own.search(shop / "03.png", 12).name.tolist()
        with pytest.raises(InputError, match=r"no picture '03\.png'"):
            own.delete(["04.png", "03.png"])
        assert len(own.index) == 11


def test_an_interrupted_build_goes_on(shop, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "_CHUNK", 4)
    calls = []

    def describe(net, images, *args, **options):
        calls.append(len(images))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(net, images, *args, **options)

    real = pictures.describe
    monkeypatch.setattr(pictures, "describe", describe)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "index", shop)
    assert not (tmp_path / "index").exists()
    build(tmp_path / "index", shop)
    assert calls == [4, 4, 4, 4]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index", "shop"]


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["vsa", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def test_the_command_line_builds_searches_and_checks(shop, tmp_path, monkeypatch, capsys):
    index = tmp_path / "index"
    assert run(monkeypatch, "index", "build", index, shop) == 0
    assert run(monkeypatch, "search", index, shop / "05.png", "-k", "2") == 0
    assert "05.png" in capsys.readouterr().out.splitlines()[-2]
    assert run(monkeypatch, "index", "delete", index, "05.png") == 0
    assert run(monkeypatch, "index", "add", index, shop) == 0
    assert run(monkeypatch, "index", "compact", index) == 0
    assert run(monkeypatch, "index", "verify", index) == 0
    assert run(monkeypatch, "index", "stats", index) == 0
    shown = capsys.readouterr().out
    assert "the index is whole" in shown
    assert "12  items\n" in shown


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["index", "build", "index", "nowhere"], "no such folder"),
        (["index", "build", "index", "empty"], "no pictures in this folder"),
        (["index", "stats", "nowhere"], "no index here"),
        (["search", "nowhere", "shop/01.png"], "no index here"),
        (["search", "index", "shop/note.txt"], "not an image"),
    ],
)
def test_what_is_wrong_is_said(shop, tmp_path, monkeypatch, capsys, arguments, text):
    build(tmp_path / "index", shop)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *arguments) == 2
    assert text in capsys.readouterr().err
