"""`vsa engine`: the whole life of one, from the command line."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_engine import N_ITEMS, small_catalogue, small_models, small_pictures
from test_growing import pictures_of

from vsa import cli
from vsa.models.embedder import EMBEDDERS, Embedder


@pytest.fixture
def run(monkeypatch, capsys):
    """Exit status, output and complaint of ``vsa ARGUMENTS``."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["vsa", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out, said.err

    return run


@pytest.fixture
def shop(tmp_path):
    """A folder shop of coloured squares, two of which are copies of others."""
    folder = tmp_path / "shop"
    folder.mkdir()
    small_pictures(folder)
    for row, other in ((10, 4), (11, 5)):
        (folder / f"{row}.png").write_bytes((folder / f"{other}.png").read_bytes())
    table = small_catalogue().rename(columns={"path": "image_path"})
    columns = ["image_path", "product_id", "category", "sales", "price"]
    table[columns].to_csv(folder / "catalogue.csv", index=False)
    photos = table[["image_path", "product_id"]].iloc[::3]
    photos.to_csv(folder / "queries.csv", index=False)
    return folder


@pytest.fixture
def models(shop, tmp_path):
    pictures = np.stack([np.array(Image.open(shop / f"{row}.png")) for row in range(N_ITEMS)])
    return small_models(pictures).save(tmp_path / "my.models")


def table_of(folder, names, **columns):
    """A table of new pictures, in a folder of its own."""
    folder.mkdir(exist_ok=True)
    for seed, name in enumerate(names, start=700):
        Image.fromarray(pictures_of(1, seed)[0]).save(folder / name)
    table = pd.DataFrame({"image_path": names, "product_id": names, "category": "toys"} | columns)
    table.to_csv(folder / "new.csv", index=False)
    return folder / "new.csv"


def test_an_engine_is_built_grows_shrinks_and_is_checked(run, shop, models, tmp_path):
    engine = tmp_path / "my.engine"
    code, told, _ = run("engine", "build", engine, f"folder:{shop}", "--models", models)
    assert code == 0
    assert f"{N_ITEMS - 2}  pictures in" in told
    assert "2  left out" in told

    table = table_of(tmp_path / "new", ["a.png", "b.png"])
    code, told, _ = run("engine", "add", engine, table)
    assert (code, f"{N_ITEMS}  pictures now" in told) == (0, True)
    assert "a.png" in run("search", engine, table.parent / "a.png")[1]

    (table.parent / "b.png").write_bytes((shop / "7.png").read_bytes())
    left_out = tmp_path / "left-out.csv"
    code, told, _ = run("engine", "update", engine, table, "--left-out", left_out)
    assert code == 0
    assert "left out: b.png: identical, a copy of 7.png" in told
    assert pd.read_csv(left_out).duplicate_of.tolist() == ["7.png"]
    assert run("engine", "update", engine, table, "--all")[0] == 0

    assert run("engine", "remove", engine, "a.png", "b.png", "3.png")[0] == 0
    for command in ("stats", "compact", "stats", "verify"):
        code, told, _ = run("engine", command, engine)
        assert code == 0
        assert command == "verify" or f"{N_ITEMS - 3}  pictures\n" in told
    assert "the engine is whole" in told
    assert "min_contrast" in run("engine", "stats", engine)[1]


def test_without_models_an_embedder_describes(run, shop, tmp_path, monkeypatch):
    def colours():
        return Embedder(lambda pictures: pictures.mean((2, 3)), image_px=16)

    monkeypatch.setitem(EMBEDDERS._entries, "colours", colours)
    monkeypatch.setitem(EMBEDDERS._versions, "colours", 1)
    engine = tmp_path / "my.engine"
    command = ("engine", "build", engine, f"folder:{shop}", "--embedder", "colours", "--all")
    code, told, _ = run(*command)
    assert (code, f"{N_ITEMS}  pictures in" in told) == (0, True)
    assert "20.png" in run("search", engine, shop / "20.png", "-k", 2)[1]
    table = table_of(tmp_path / "new", ["a.png"])
    assert run("engine", "add", engine, table)[0] == 0
    assert "a.png" in run("search", engine, table.parent / "a.png", "-k", 1)[1]
    code, _, told = run("index", "add", engine, tmp_path / "new")
    assert (code, "one of a shop" in told) == (2, True)


def test_a_picture_that_cannot_be_read_is_named_or_skipped(run, shop, models, tmp_path):
    engine = tmp_path / "my.engine"
    run("engine", "build", engine, f"folder:{shop}", "--models", models)
    table = table_of(tmp_path / "new", ["a.png", "b.png"])
    (table.parent / "b.png").write_bytes(b"no picture")
    code, _, told = run("engine", "add", engine, table)
    assert code == 2
    assert "b.png: the image cannot be used: not an image" in told
    code, told, _ = run("engine", "add", engine, table, "--skip-unreadable")
    assert code == 0
    assert "left out: b.png: unreadable: not an image" in told
    assert f"{N_ITEMS - 1}  pictures now" in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["stats", "nowhere"], "no engine here"),
        (["verify", "nowhere"], "no engine here"),
        (["add", "nowhere", "none.csv"], "there is no such table"),
        (["remove", "nowhere", "a"], "no engine here"),
        (["build", "here", "folder:nowhere", "--models", "nowhere"], "no trained models here"),
        (["build", "here", "synthetic", "--n-bits", "65"], "Take a multiple of 64"),
        (["build", "here", "synthetic", "--embedder", "mobilenet_v4"], "Did you mean"),
    ],
)
def test_what_is_wrong_is_one_paragraph(run, tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    code, _, complaint = run("engine", *arguments)
    assert code == 2
    (line,) = complaint.splitlines()
    assert told in line


def test_each_command_has_its_help(run):
    commands = ["build", "add", "update", "remove", "compact", "verify", "stats"]
    told = run("engine", "--help")[1]
    for command in commands:
        assert command in told
        assert "--help" in run("engine", command, "--help")[1]
