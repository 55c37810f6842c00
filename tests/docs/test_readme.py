"""What README says in code works, and what it points to is there."""

import functools
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import torch
from coloured_squares import TRAINING
from made_pictures import photo
from published_run import make_published_run

import vsa
from vsa.models.backbones import make_backbone
from vsa.models.embedder import EMBEDDERS
from vsa.runtime.paths import ROOT
from vsa.study.run import make_run

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PYTHON = re.findall(r"^```python\n(.*?)^```", README, re.M | re.S)
TREE = re.search(r"^```\n(vsa/ .*?)^```", README, re.M | re.S)
TINY_SHOP = {"n_products_per_category": 4, "image_px": 32}


def _small_embedder():
    torch.manual_seed(0)
    network, _ = make_backbone("mobilenet_v2", pretrained=False)
    return vsa.Embedder(network, image_px=32)


@pytest.mark.slow
def test_what_is_written_for_python_works(tmp_path, monkeypatch, capsys):
    """All of it, one block after the other, at a tiny size."""
    monkeypatch.chdir(tmp_path)
    for kind, settings in (("load_dataset", TINY_SHOP), ("train", TRAINING)):
        small = functools.partial(getattr(vsa, kind), settings=settings)
        monkeypatch.setattr(vsa, kind, small)
    monkeypatch.setitem(EMBEDDERS._entries, "mobilenet_v2", _small_embedder)
    monkeypatch.setitem(EMBEDDERS._versions, "mobilenet_v2", 1)
    asked = []
    monkeypatch.setattr(
        vsa,
        "reproduce",
        lambda dataset, profile, set: asked.append(make_run(dataset, profile, 0, set).name),
    )
    for dataset in ("synthetic", "grocery"):
        make_published_run("laptop", dataset)
    photo(64, 48, seed=0).save("photo.jpg")
    paths = [Path(f"{number}.png") for number in range(300)]
    for number, path in enumerate(paths):
        photo(16, 16, seed=number).save(path)
    listing = {"image_id": "new", "product_id": "new", "category": "shirt"}
    listing["path"] = str(paths[0].absolute())
    names = {"photos": paths, "rows": pd.DataFrame([listing])}
    for block in PYTHON:
        exec(compile(block, "README.md", "exec"), names)
    assert len(PYTHON) == 5
    assert names["answer"].results.shape[0] > 0
    assert names["ids"][:, 0].tolist() == [0, 1]
    assert len(names["index"]) == 299
    assert asked[0].startswith("synthetic-smoke-margin-0.3-")
    assert "C2" in capsys.readouterr().out
    names["engine"].close()
    names["index"].close()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    links = re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8"))
    assert links
    for link in links:
        if link.startswith("http"):
            continue
        path, _, heading = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), link
        if heading:
            titles = re.findall(r"^#+ (.*)", target.read_text(encoding="utf-8"), re.M)
            assert heading in {title.lower().replace(" ", "-") for title in titles}, link


def _layout() -> list[tuple[Path, list[str]]]:
    """What each line of the layout names: files or folders, and the files among their words."""
    parents: list[Path] = []
    named: list[tuple[Path, list[str]]] = []
    for line in TREE[1].splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        files = re.findall(r"\b\w+\.py", line)
        if depth < 10:  # not a line's continuation
            heads = re.split(r"\s\s+", line.strip())[0].split()
            parents = [*parents[:depth], Path(*parents[depth - 1 : depth], heads[-1])]
            rooms = [Path(*parents[depth - 1 : depth], head) for head in heads]
            files = [file for file in files if file not in heads]
        named += [(room, files) for room in rooms]
    return named


def test_what_the_layout_names_is_there():
    for place, files in _layout():
        assert (ROOT / place).exists(), place
        for file in files:
            assert (ROOT / place / file).exists(), (place, file)
    assert (Path("vsa/study/ledger"), ["ledger.py", "bootstrap.py", "claims.py"]) in _layout()


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("category/search.py", "vote"),
        ("category/fusion.py", "fuse"),
        ("embedding/mining.py", "mine"),
        ("embedding/losses.py", "per_query"),
        ("embedding/joint.py", "soft_mask"),
        ("index/plain.py", "hamming"),
        ("ranking/models.py", "GbdtLr"),
        ("study/ledger/bootstrap.py", "paired_difference"),
    ],
)
def test_what_somebody_looks_for_is_where_the_layout_says(place, name):
    text = (ROOT / "vsa" / place).read_text(encoding="utf-8")
    assert re.search(rf"^(def|class) {name}\b", text, re.M)
    assert place.rpartition("/")[2] in TREE[1]


@pytest.mark.skipif(not shutil.which("make"), reason="make is not there")
@pytest.mark.parametrize(
    ("asked", "told", "not_told"),
    [
        (["MINUTES=8", "JOBS=mask*"], ['--minutes "$MINUTES"', '--jobs "$JOBS"'], []),
        ([], ["vsa study"], ["--minutes", "--jobs"]),
    ],
)
def test_make_hands_a_slice_of_a_study_on(asked, told, not_told):
    command = ["make", "-n", "-C", str(ROOT), "study", *asked]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(words in said for words in told), said
    assert not any(words in said for words in not_told), said
