"""An index over a folder of pictures, from the command line on."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import vsa
from vsa import cli, pictures
from vsa.data.decoding import ImageError
from vsa.index.build import build_index
from vsa.models.backbones import make_backbone
from vsa.models.embedder import EMBEDDERS, Embedder
from vsa.pictures import DEFAULT_EMBEDDER, Pictures, build
from vsa.runtime.errors import InputError


def _small():
    torch.manual_seed(0)
    return Embedder(make_backbone("mobilenet_v2", pretrained=False)[0], image_px=64)


def register(monkeypatch, entry, name=DEFAULT_EMBEDDER):
    """Let an embedder be known for as long as a test takes."""
    monkeypatch.setitem(EMBEDDERS._entries, name, entry)
    monkeypatch.setitem(EMBEDDERS._versions, name, 1)


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A folder of twelve different pictures, one of them in a folder of its own."""
    register(monkeypatch, _small)
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


def test_a_box_says_what_of_a_photo_is_searched_for(shop, tmp_path, monkeypatch, capsys):
    build(tmp_path / "index", shop)
    scene = Image.new("RGB", (400, 200), "grey")
    scene.paste(Image.open(shop / "05.png").resize((120, 120)), (240, 40))
    scene.save(tmp_path / "scene.png")
    box = [0.63, 0.28, 0.87, 0.72]  # its margin reaches the picture's edge, about
    with Pictures(tmp_path / "index") as own:
        found = own.search(tmp_path / "scene.png", 1, box=box)
        whole = own.search(tmp_path / "scene.png", 1)
    assert found.name.tolist() == ["05.png"]
    assert found.similarity[0] > whole.similarity[0]

    def search(*arguments):
        monkeypatch.setattr(sys, "argv", ["vsa", "search", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, capsys.readouterr()

    asked = (tmp_path / "index", tmp_path / "scene.png")
    assert "05.png" in search(*asked, "-k", 1, "--box", *box)[1].out
    for wrong, told in (
        ([10, 20, 300, 400], "the box [10, 20, 300, 400] seems to be in pixels"),
        ([0.5, 0.5, 0.501, 0.9], "smaller than a pixel"),
        ([1.2, 0.5, 1.5, 0.9], "lies outside of the photo"),
    ):
        code, said = search(*asked, "--box", *wrong)
        assert code == 2
        assert told in said.err
    code, said = search(*asked, asked[1], "--box", *box)
    assert code == 2
    assert "one photo at a time" in said.err


def test_new_and_changed_pictures_are_added_and_the_same_ones_left(shop, tmp_path):
    build(tmp_path / "index", shop)
    _paint(shop / "12.png", 12)
    _paint(shop / "03.png", 99)
    os.utime(shop / "03.png", ns=(1, 1))
    (shop / "broken.png").write_text("no picture at all")
    with Pictures(tmp_path / "index") as own:
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
    with Pictures(tmp_path / "index") as own:
        own.delete(["03.png"])
        assert "03.png" not in own.search(shop / "03.png", 12).name.tolist()
        with pytest.raises(InputError, match=r"'03\.png' is not in the catalogue"):
            own.delete(["04.png", "03.png"])
        assert len(own.index) == 11


def test_an_interrupted_build_goes_on(shop, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "_CHUNK", 4)
    calls = []

    def embed(embedder, images, **options):
        calls.append(len(images))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(embedder, images, **options)

    real = Embedder.embed
    monkeypatch.setattr(Embedder, "embed", embed)
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
        broken.setattr(pictures, "write_engine", fail)
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

    def embed(embedder, images, **options):
        calls.append(len(images))
        return real(embedder, images, **options)

    def fail(*_, **__):
        raise KeyboardInterrupt

    real = Embedder.embed
    monkeypatch.setattr(Embedder, "embed", embed)
    with monkeypatch.context() as broken:
        broken.setattr(pictures, "write_engine", fail)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path / "index", shop)

    register(monkeypatch, _other)
    build(tmp_path / "index", shop)
    assert calls == [12, 12]


def _other():
    """As `_small`, with one weight a little different."""
    embedder = _small()
    with torch.no_grad():
        embedder.network.features[0][0].weight[0, 0, 0, 0] += 0.01
    return embedder


def _colours():
    return Embedder(lambda pictures: pictures.mean((2, 3)), image_px=16)


def test_an_index_is_asked_by_the_embedder_that_made_it(shop, tmp_path, monkeypatch):
    """A registered one of 3 dimensions; of a photo, the feature is that of the indexed picture."""
    register(monkeypatch, _colours, "colours")
    assert (
        run(monkeypatch, "index", "build", tmp_path / "index", shop, "--embedder", "colours") == 0
    )
    with Pictures(tmp_path / "index") as own:
        assert own.embedder.name == "colours"
        assert (own.embedder.dim, own.embedder.image_px) == (3, 16)
        _paint(shop / "12.png", 12)
        assert own.add(shop).counts == counts(added=1, unchanged=12)
        assert own.search(shop / "12.png", 1).name.tolist() == ["12.png"]


def test_another_embedder_of_the_same_name_is_refused(shop, tmp_path, monkeypatch, capsys):
    index = tmp_path / "index"
    build(index, shop)
    _paint(shop / "12.png", 12)
    for other in (_other, _colours):
        register(monkeypatch, other)
        for command in (["search", index, shop / "00.png"], ["index", "add", index, shop]):
            assert run(monkeypatch, *command) == 2
            assert "is not the one that described the pictures" in capsys.readouterr().err
    register(monkeypatch, _small)
    with Pictures(index) as own:
        assert own.add(shop).counts == counts(added=1, unchanged=12), "nothing was added before"


def test_an_embedder_of_another_dimension_is_refused_whatever_it_says_it_is(
    shop, tmp_path, monkeypatch
):
    build(tmp_path / "index", shop)
    with Pictures(tmp_path / "index") as own:
        identity = own.embedder.identity
    monkeypatch.setattr(Embedder, "identity", identity)
    register(monkeypatch, _colours)
    with Pictures(tmp_path / "index") as own, pytest.raises(InputError, match="3-d, and not"):
        own.search(shop / "00.png")


def test_an_index_whose_embedder_is_gone_says_so_and_can_still_be_pruned(
    shop, tmp_path, monkeypatch, capsys
):
    index = tmp_path / "index"
    with monkeypatch.context() as plugged_in:
        register(plugged_in, _colours, "colours")
        build(index, shop, embedder="colours")
    for command in (["search", index, shop / "00.png"], ["index", "add", index, shop]):
        assert run(monkeypatch, *command) == 2
        message = capsys.readouterr().err
        assert "described by the embedder 'colours', which is not there" in message
        assert "VSA_PLUGINS" in message
    assert run(monkeypatch, "index", "delete", index, "03.png") == 0


def test_an_unknown_embedder_makes_nothing(shop, tmp_path, monkeypatch, capsys):
    arguments = ["index", "build", tmp_path / "index", shop, "--embedder", "mobilenet_v4"]
    assert run(monkeypatch, *arguments) == 2
    assert "Did you mean mobilenet_v" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def test_absent_weights_are_reported(shop, tmp_path, monkeypatch):
    monkeypatch.delitem(EMBEDDERS._entries, DEFAULT_EMBEDDER)
    monkeypatch.setenv("VSA_WEIGHTS_DIR", str(tmp_path))
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", _no_network)
    with pytest.raises(InputError, match="no usable ImageNet weights of mobilenet_v2"):
        build(tmp_path / "index", shop)


def _no_network(*_, **__):
    raise OSError("no network")


def test_pictures_that_were_only_touched_or_moved_are_left_as_they_are(shop, tmp_path, monkeypatch):
    build(tmp_path / "index", shop)
    os.utime(shop / "03.png", ns=(1, 1))
    moved = shop.rename(tmp_path / "moved")
    monkeypatch.setattr(pictures, "load_image", pytest.fail)
    with Pictures(tmp_path / "index") as own:
        assert own.add(moved).counts == counts(unchanged=12)


def test_a_folder_that_was_moved_is_the_same_folder_from_then_on(shop, tmp_path):
    build(tmp_path / "index", shop)
    moved = shop.rename(tmp_path / "moved")
    with Pictures(tmp_path / "index") as own:
        assert own.add(moved).counts == counts(unchanged=12)
        _paint(moved / "03.png", 99)
        assert own.add(moved).counts == counts(replaced=1, unchanged=11)


def test_an_unreadable_picture_of_an_equal_name_is_counted_and_takes_no_place(shop, tmp_path):
    build(tmp_path / "index", shop)
    other = tmp_path / "other"
    other.mkdir()
    (other / "03.png").write_text("no picture at all")
    _paint(other / "new.png", 72)
    with Pictures(tmp_path / "index") as own:
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
        broken.setattr(pictures, "write_engine", fail)
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
    with Pictures(tmp_path / "index") as own:
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
    assert lines[:5] == [f"{value:>14,}  {name}" for name, value in expected.items()]
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
    (rows,) = (index / "rows").iterdir()
    spoil(rows)
    for command in (
        ["index", "verify", index],
        ["verify", index],
        ["search", index, shop / "00.png"],
        ["index", "add", index, shop],
    ):
        assert run(monkeypatch, *command) == 2
        assert "rows" in (told := capsys.readouterr().err)
        assert "missing" in told or "checksum is wrong" in told


def test_what_was_seen_may_be_lost(shop, tmp_path, monkeypatch):
    """Pictures are then read again, and found to be the same."""
    build(tmp_path / "index", shop)
    (tmp_path / "index" / "seen.parquet").write_bytes(b"damaged")
    (tmp_path / "index" / "left-out.csv").unlink()
    with Pictures(tmp_path / "index") as own:
        assert own.add(shop).counts == counts(unchanged=12)
        monkeypatch.setattr(pictures, "load_image", pytest.fail)
        assert own.add(shop).counts == counts(unchanged=12)


def test_an_index_of_an_earlier_version_says_how_to_mend_that(shop, tmp_path, monkeypatch, capsys):
    index = tmp_path / "index"
    build_index(index, np.eye(8, 4, dtype=np.float32), n_bits=64)
    assert run(monkeypatch, "index", "stats", index) == 0  # a vsa.Index is one still
    assert "    asymmetric  distance of codes" in capsys.readouterr().out
    assert run(monkeypatch, "search", index, shop / "00.png") == 2
    assert "Build it again: `vsa index build" in capsys.readouterr().err
    assert run(monkeypatch, "index", "build", index, shop) == 2
    assert "holds other things" in capsys.readouterr().err
    (index / "pictures.parquet").touch()  # but the pictures' own is replaced
    assert run(monkeypatch, "index", "build", index, shop) == 0
    assert run(monkeypatch, "search", index, shop / "00.png") == 0


def test_what_else_is_in_the_folder_is_not_lost(shop, tmp_path):
    build(tmp_path / "index", shop)
    (tmp_path / "index" / "thesis.txt").touch()
    with pytest.raises(InputError, match=r"holds 'thesis\.txt' too"):
        build(tmp_path / "index", shop)


def test_one_of_torchvisions_travels_with_its_weights(shop, tmp_path, monkeypatch):
    monkeypatch.delitem(EMBEDDERS._entries, DEFAULT_EMBEDDER)
    build(tmp_path / "index", shop)
    with Pictures(tmp_path / "index") as own:
        before = own.search(shop / "03.png", 3)
    monkeypatch.setenv("VSA_WEIGHTS_DIR", str(tmp_path))
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", _no_network)
    (tmp_path / "index").rename(tmp_path / "elsewhere")
    with Pictures(tmp_path / "elsewhere") as own:
        pd.testing.assert_frame_equal(own.search(shop / "03.png", 3), before)


def test_rows_name_the_file_that_a_picture_comes_from(shop, tmp_path):
    build(tmp_path / "index", shop)
    with vsa.VisualSearch.open(tmp_path / "index") as engine:
        answer = engine.search(shop / "more" / "11.png", 1)
        assert answer.category is None
        assert list(answer.box) == [0, 0, 1, 1]
        assert answer.results.path[0] == str(shop / "more" / "11.png")


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["vsa", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def test_the_command_line_builds_searches_and_checks(shop, tmp_path, monkeypatch, capsys):
    index = tmp_path / "index"
    assert run(monkeypatch, "index", "build", index, shop) == 0
    assert run(monkeypatch, "search", index, shop / "05.png", "-k", "2") == 0
    alone = capsys.readouterr().out.splitlines()[-2:]
    assert "05.png" in alone[0]
    photos = [shop / "05.png", shop / "06.png"]
    assert run(monkeypatch, "search", index, *photos, "-k", "2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [lines[0], lines[3]] == [f"{photo}:" for photo in photos]
    assert lines[1:3] == alone
    assert "06.png" in lines[4]
    assert run(monkeypatch, "index", "delete", index, "05.png") == 0
    assert run(monkeypatch, "index", "add", index, shop) == 0
    assert run(monkeypatch, "index", "compact", index) == 0
    assert run(monkeypatch, "index", "verify", index) == 0
    assert run(monkeypatch, "index", "stats", index) == 0
    shown = capsys.readouterr().out
    assert "the index is whole" in shown
    assert "12  pictures\n" in shown


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["index", "build", "index", "nowhere"], "no such folder"),
        (["index", "build", "index", "empty"], "no pictures in this folder"),
        (["index", "stats", "nowhere"], "no engine here"),
        (["search", "nowhere", "shop/01.png"], "no engine here"),
        (["search", "index", "shop/note.txt"], "not an image"),
    ],
)
def test_what_is_wrong_is_said(shop, tmp_path, monkeypatch, capsys, arguments, text):
    build(tmp_path / "index", shop)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *arguments) == 2
    assert text in capsys.readouterr().err
