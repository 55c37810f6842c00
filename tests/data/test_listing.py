"""Every entry below a folder is a picture, or left out with a reason."""

import os

import pytest
from PIL import Image

from vsa.data.listing import SKIPPED, UNREADABLE, list_pictures
from vsa.runtime.errors import InputError


@pytest.fixture
def folder(tmp_path):
    top = tmp_path / "pictures"
    (top / "sub" / "deeper").mkdir(parents=True)
    return top


def left_out(listing):
    rows = listing.left_out
    return dict(zip(rows.name, zip(rows.what, rows.reason, strict=True), strict=True))


def test_pictures_go_by_all_their_usual_names(folder):
    names = ["a.jpg", "b.JPEG", "c.jpe", "d.jfif", "e.jif", "f.PNG", "g.webp", "h.gif", "i.bmp"]
    names += ["j.dib", "k.tif", "l.TIFF", "m.avif", "n.heic", "o.heif", "sub/deeper/p.jpg"]
    for name in names:
        (folder / name).touch()
    listing = list_pictures(folder)
    assert listing.pictures.name.tolist() == names
    assert listing.left_out.empty
    assert listing.pictures.id.is_unique
    assert listing.pictures.stamp.is_unique


def test_everything_else_is_left_out_with_its_reason(folder, tmp_path):
    for name in ("a.jpg", "note.txt", "README", ".hidden.jpg"):
        (folder / name).touch()
    (folder / ".git").mkdir()
    (folder / ".git" / "b.jpg").touch()
    os.mkfifo(folder / "pipe.jpg")
    (folder / "nowhere.jpg").symlink_to(tmp_path / "gone")
    (folder / "sub" / "self").symlink_to(folder)
    (folder / "sub" / "round.jpg").symlink_to("round.jpg")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "c.jpg").touch()
    (folder / "linked").symlink_to(elsewhere)
    (folder / "again").symlink_to(elsewhere)
    listing = list_pictures(folder)
    assert listing.pictures.name.tolist() == ["a.jpg", "again/c.jpg"]
    assert left_out(listing) == {
        "note.txt": (SKIPPED, "not a picture's name (.txt)"),
        "README": (SKIPPED, "not a picture's name (no suffix)"),
        ".hidden.jpg": (SKIPPED, "hidden"),
        ".git": (SKIPPED, "hidden"),
        "pipe.jpg": (SKIPPED, "not a regular file"),
        "nowhere.jpg": (UNREADABLE, "a link to nothing"),
        "sub/round.jpg": (UNREADABLE, "a link to nothing"),
        "sub/self": (SKIPPED, "a link to a folder that is listed already"),
        "linked": (SKIPPED, "a link to a folder that is listed already"),
    }


def test_a_folder_that_cannot_be_read_is_named(folder, monkeypatch):
    (folder / "a.jpg").touch()

    def scandir(path):
        if os.fspath(path).endswith("deeper"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    real = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)
    listing = list_pictures(folder)
    assert left_out(listing) == {
        "sub/deeper": (UNREADABLE, "the folder cannot be read: Permission denied")
    }


def test_a_name_need_not_be_utf8(folder):
    path = os.fsencode(folder) + b"/caf\xe9.jpg"
    Image.new("RGB", (4, 4)).save(os.fsdecode(path), "JPEG")
    listing = list_pictures(folder)
    assert listing.pictures.name.tolist() == ["caf\\xe9.jpg"]
    assert listing.pictures.path[0].read_bytes()


def test_no_two_names_become_one_and_suffixes_need_not_be_utf8_either(folder):
    place = os.fsencode(folder)
    for name in (b"caf\xe9.png", b"caf\\xe9.png", b"note.\xe9t"):
        open(place + b"/" + name, "wb").close()
    listing = list_pictures(folder)
    assert sorted(listing.pictures.name) == ["caf\\\\xe9.png", "caf\\xe9.png"]
    assert left_out(listing) == {"note.\\xe9t": (SKIPPED, "not a picture's name (.\\xe9t)")}


def test_a_stamp_tells_a_file_that_took_anothers_place_with_its_size_and_time(folder):
    path, other = folder / "a.jpg", folder / "b.jpg"
    for file, content in ((path, b"first"), (other, b"other")):
        file.write_bytes(content)
        os.utime(file, ns=(10**18, 10**18))
    before = list_pictures(folder).pictures.stamp[0]
    other.replace(path)
    after = list_pictures(folder).pictures.stamp[0]
    assert before != after


def test_no_folder_is_an_error(folder):
    with pytest.raises(InputError, match="no such folder"):
        list_pictures(folder / "nowhere")
