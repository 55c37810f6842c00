"""An index over a folder of pictures, from the command line on."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import nn

from vsa import cli, pictures
from vsa.data.decoding import ImageError
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


def test_an_open_index_that_was_rebuilt_says_so(shop, tmp_path):
    build(tmp_path / "index", shop)
    with Pictures(tmp_path / "index") as own:
        (shop / "03.png").rename(shop / "33.png")
        build(tmp_path / "index", shop)
        with pytest.raises(InputError, match="moved, removed or replaced"):
            own.search(shop / "04.png")


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


def test_kept_parts_are_of_the_pictures_they_were_made_of(shop, tmp_path, monkeypatch):
    """Another folder's pictures of equal names, sizes and times are described anew."""
    other = tmp_path / "other"
    for number in range(3):
        for folder, seed in ((shop, number), (other, 50 + number)):
            path = folder / f"{number:02d}.bmp"  # all of one size
            path.parent.mkdir(exist_ok=True)
            _paint(path, seed)
            os.utime(path, ns=(10**18, 10**18))
    for path in shop.rglob("*.png"):
        path.unlink()

    def fail(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(pictures, "write_index", fail)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path / "index", shop)
    assert list(tmp_path.glob(".index-parts/*.npz"))
    build(tmp_path / "index", other)
    with Pictures(tmp_path / "index") as own:
        for number in range(3):
            found = own.search(other / f"{number:02d}.bmp", 1)
            assert found.name[0] == f"{number:02d}.bmp"
            assert found.similarity[0] == pytest.approx(1, abs=0.01)


def test_another_network_describes_anew(shop, tmp_path, monkeypatch):
    calls = []

    def describe(net, images, *args, **options):
        calls.append(len(images))
        return real(net, images, *args, **options)

    def fail(*_, **__):
        raise KeyboardInterrupt

    real = pictures.describe
    monkeypatch.setattr(pictures, "describe", describe)
    with monkeypatch.context() as broken:
        broken.setattr(pictures, "write_index", fail)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path / "index", shop)

    def other_network(device):
        net = _small_network(device)
        with torch.no_grad():
            net.backbone.features[0][0].weight += 0.01
        return net

    monkeypatch.setattr(pictures, "imagenet_network", other_network)
    build(tmp_path / "index", shop)
    assert calls == [12, 12]


def test_pictures_that_were_only_touched_or_moved_are_left_as_they_are(shop, tmp_path, monkeypatch):
    build(tmp_path / "index", shop)
    os.utime(shop / "03.png", ns=(1, 1))
    moved = shop.rename(tmp_path / "moved")
    monkeypatch.setattr(pictures, "load_image", pytest.fail)
    with Pictures(tmp_path / "index", writable=True) as own:
        assert own.add(moved).counts == counts(unchanged=12)


def test_a_folder_that_was_moved_is_the_same_folder_from_then_on(shop, tmp_path):
    build(tmp_path / "index", shop)
    moved = shop.rename(tmp_path / "moved")
    with Pictures(tmp_path / "index", writable=True) as own:
        assert own.add(moved).counts == counts(unchanged=12)
        _paint(moved / "03.png", 99)
        assert own.add(moved).counts == counts(replaced=1, unchanged=11)


def test_an_unreadable_picture_of_an_equal_name_is_counted_and_takes_no_place(shop, tmp_path):
    build(tmp_path / "index", shop)
    other = tmp_path / "other"
    other.mkdir()
    (other / "03.png").write_text("no picture at all")
    _paint(other / "new.png", 72)
    with Pictures(tmp_path / "index", writable=True) as own:
        taken = own.add(other, replace=True)
        assert taken.counts == counts(added=1, unreadable=1, skipped=0)
        assert own.search(shop / "03.png", 1).name.tolist() == ["03.png"]


def test_what_could_not_be_read_is_read_once_it_can_be(shop, tmp_path, monkeypatch):
    def cannot(*_):
        raise ImageError("HEIC without pillow-heif")

    with monkeypatch.context() as without:
        without.setattr(pictures, "load_image", cannot)
        with pytest.raises(InputError, match="none of the pictures can be read"):
            build(tmp_path / "index", shop)
    monkeypatch.setattr(pictures, "FORMATS", ("HEIF",))
    assert build(tmp_path / "index", shop).counts == counts(added=12)


def test_a_part_that_was_cut_off_is_made_anew(shop, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(pictures, "write_index", fail)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path / "index", shop)
    for part in tmp_path.glob(".index-parts/*.npz"):
        os.truncate(part, 100)
    assert build(tmp_path / "index", shop).counts == counts(added=12)


def test_another_folders_pictures_do_not_displace_those_of_equal_names(shop, tmp_path):
    build(tmp_path / "index", shop)
    other = tmp_path / "other"
    other.mkdir()
    for name, seed in (("03.png", 70), ("04.png", 71), ("new.png", 72)):
        _paint(other / name, seed)
    with Pictures(tmp_path / "index", writable=True) as own:
        with pytest.raises(InputError, match=r"2 names are those of .*shop, as '03\.png'"):
            own.add(other)
        assert len(own.index) == 12
        assert own.search(shop / "03.png", 1).name.tolist() == ["03.png"]
        taken = own.add(other, replace=True)
        assert taken.counts == counts(added=1, replaced=2, skipped=0)
        assert own.search(other / "03.png", 1).name.tolist() == ["03.png"]


def test_everything_is_accounted_for(shop, tmp_path, monkeypatch, capsys):
    (shop / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
    (shop / "b.jpg").write_text("no picture at all")
    (shop / "c.jfif").write_bytes((shop / "00.png").read_bytes())
    (shop / os.fsdecode(b"caf\xe9.png")).write_bytes((shop / "01.png").read_bytes())
    assert run(monkeypatch, "index", "build", tmp_path / "index", shop) == 0
    lines = capsys.readouterr().out.splitlines()
    expected = counts(added=14, unreadable=2)
    assert lines[:5] == [f"{value:>12,}  {name}" for name, value in expected.items()]
    assert lines[5:7] == [
        "unreadable: a.heic: HEIC without pillow-heif",
        "unreadable: b.jpg: not an image",
    ]
    table = pd.read_csv(tmp_path / "index" / "left-out.csv").set_index("name")
    assert table.reason.to_dict() == {
        "note.txt": "not a picture's name (.txt)",
        "a.heic": "HEIC without pillow-heif",
        "b.jpg": "not an image",
    }
    with Pictures(tmp_path / "index") as own:
        assert "caf\\xe9.png" in own.search(shop / "01.png", 2).name.tolist()


def test_a_name_that_the_terminal_cannot_show_is_shown_all_the_same():
    code = "from vsa import cli; cli.speak_any_name(); print('鞋.png')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "\\u978b.png\n", done.stderr


@pytest.mark.parametrize("spoil", [lambda p: p.unlink(), lambda p: os.truncate(p, 100)])
def test_lost_names_are_noticed(shop, tmp_path, monkeypatch, capsys, spoil):
    index = tmp_path / "index"
    build(index, shop)
    spoil(index / "pictures.parquet")
    for command in (
        ["index", "verify", index],
        ["verify", index],
        ["search", index, shop / "00.png"],
        ["index", "add", index, shop],
    ):
        assert run(monkeypatch, *command) == 2
        assert "pictures.parquet: the file is missing or damaged" in capsys.readouterr().err


def test_a_changed_name_is_noticed(shop, tmp_path):
    build(tmp_path / "index", shop)
    path = tmp_path / "index" / "pictures.parquet"
    table = pq.read_table(path)
    names = table.column("name").to_pylist()
    names[3] = "else.png"
    place = table.schema.get_field_index("name")
    changed = table.set_column(place, "name", pa.array(names, table.schema.field("name").type))
    pq.write_table(changed, path)
    with pytest.raises(InputError, match="damaged"):
        Pictures(tmp_path / "index")


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
