"""`vsa dedup`: groups of copies in a folder, which to keep, and a contact sheet."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vsa import cli
from vsa.copies import find_copies, write_sheet
from vsa.runtime.errors import InputError


def painted(seed: int, size: int = 160) -> Image.Image:
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    whole = Image.fromarray(blocks.repeat(40, 0).repeat(40, 1))
    return whole.resize((size, size), Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path):
    """Five pictures: one with three copies, one with one, a flat one and one that is none."""
    place = tmp_path / "pictures"
    (place / "more").mkdir(parents=True)
    for seed in range(5):
        painted(seed).save(place / f"{seed}.png")
    painted(1).save(place / "1-again.bmp")
    painted(1, 80).save(place / "a-smaller-1.png")
    painted(1, 320).save(place / "more" / "1-larger.png")
    painted(2).save(place / "2.jpg", quality=95, subsampling=0)
    Image.new("RGB", (50, 50), "grey").save(place / "flat.png")
    (place / "none.png").write_bytes(b"no picture")
    (place / "note.txt").touch()
    return place


def test_groups_are_found_and_the_largest_picture_stays(folder):
    found = find_copies(folder)
    assert found[found.group == 0].name.tolist() == [
        "more/1-larger.png",
        "1-again.bmp",
        "1.png",
        "a-smaller-1.png",
    ]
    first = found[found.group == 0].iloc[0]
    assert (first.keep, first.reason, first.copy_of) == (True, "", "")
    assert (first.width, first.height) == (320, 320)
    others = found[found.group == 0].iloc[1:]
    assert set(others.copy_of) == {"more/1-larger.png"}
    assert set(others.reason) <= {"identical", "near-identical"}
    assert set(found[found.group == 1].name) == {"2.png", "2.jpg"}
    assert found[found.group == 1].keep.sum() == 1
    alone = found[found.group == -1].set_index("name")
    assert alone.keep[alone.keep].index.tolist() == ["0.png", "3.png", "4.png"]
    assert alone.reason["flat.png"] == "low quality: flat"
    assert alone.reason["none.png"] == "unreadable: not an image"
    assert len(found) == 11
    assert found.keep.sum() == 5


def test_the_sheet_shows_the_one_to_keep_in_green(folder, tmp_path):
    assert write_sheet(folder, find_copies(folder), tmp_path / "sheet.png") == 2
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.array(sheet.convert("RGB"))
    green = (pixels == (0x00, 0x9E, 0x73)).all(axis=2)
    orange = (pixels == (0xD5, 0x5E, 0x00)).all(axis=2)
    assert green.sum() > 0
    # of frames of one size there are two green ones and four orange ones
    assert orange.sum() / green.sum() == pytest.approx(2, abs=0.01)
    assert green[:, :150].sum() == green.sum(), "the first of each row"


def test_where_nothing_is_a_copy_there_is_no_sheet(tmp_path):
    painted(0).save(tmp_path / "0.png")
    found = find_copies(tmp_path)
    assert found.keep.tolist() == [True]
    assert write_sheet(tmp_path, found, tmp_path / "sheet.png") == 0
    assert not (tmp_path / "sheet.png").exists()


def test_a_folder_without_pictures_is_told(tmp_path):
    (tmp_path / "none.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="no picture that can be read among 1"):
        find_copies(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        find_copies(tmp_path / "nowhere")


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["vsa", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def test_the_command_writes_both(folder, tmp_path, monkeypatch, capsys):
    table, sheet = tmp_path / "copies.csv", tmp_path / "copies.png"
    assert run(monkeypatch, "dedup", folder, "--csv", table, "--sheet", sheet) == 0
    told = capsys.readouterr().out
    for line in ("11  pictures", "5  to keep", "2  groups of copies"):
        assert line in told
    assert pd.read_csv(table).keep.sum() == 5
    assert Image.open(sheet).size[0] > 1000
    # tighter limits leave the JPEG in
    assert run(monkeypatch, "dedup", folder, "--csv", table, "--max-distance", "0.0001") == 0
    assert pd.read_csv(table).keep.sum() > 5
    assert run(monkeypatch, "dedup", folder, "--csv", table, "--max-distance", "-1") == 2
    assert "max_distance is -1" in capsys.readouterr().err
