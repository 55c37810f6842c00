"""The offline path: a shop and trained models → an engine's folder, or nothing."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_engine import N_ITEMS, NAMES, small_catalogue, small_models, small_pictures, small_shop

import vsa
from vsa import offline
from vsa.data.decoding import ImageError
from vsa.data.schema import Dataset
from vsa.engine import Stages, VisualSearch
from vsa.index.index import Index
from vsa.index.tuning import choose_params
from vsa.offline import write_engine
from vsa.ranking.features import Filling
from vsa.ranking.forest import Forest
from vsa.ranking.models import LeafTable
from vsa.ranking.segments import Segments
from vsa.ranking.serve import QualityRanker
from vsa.runtime.checked import write_manifest
from vsa.runtime.errors import InputError

ALONE = Stages(category=False, box=False)


def shop(root: Path, n_photos: int = 12) -> Dataset:
    """Coloured squares for sale, two of which are copies of others, and photos of some of them."""
    small_pictures(root)
    for row, other in ((10, 4), (11, 5)):
        (root / f"{row}.png").write_bytes((root / f"{other}.png").read_bytes())
    queries = pd.DataFrame(
        {
            "query_id": [f"q{row}" for row in range(n_photos)],
            "path": [f"{row}.png" for row in range(n_photos)],
            "split": ["train", "val", "test"] * (n_photos // 3),
        }
    )
    return Dataset("mine", root, small_catalogue(), queries, pd.DataFrame())


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return small_models(small_pictures(tmp_path_factory.mktemp("pictures")))


def ranker(segments: Segments) -> QualityRanker:
    forest = Forest(np.zeros((1, 1), int), np.zeros((1, 1)), np.zeros((1, 1, 2), int), 1)
    return QualityRanker(LeafTable(forest, np.zeros((1, 2)), 0.0), Filling(0, 0, 0), 0.5, segments)


def test_an_engine_is_built_of_a_shop_by_the_public_names(tmp_path, models):
    assert callable(vsa.build)
    made = vsa.build(shop(tmp_path), models, out=tmp_path / "my.engine")
    with closing(vsa.VisualSearch.open(made)) as engine:
        kept = set(engine.catalogue["image_id"].to_pylist())
        assert len(kept) == len(engine.index) == N_ITEMS - 2  # copies are left out
        assert engine.root == tmp_path
        for row in (0, 50):
            found = engine.search(tmp_path / f"{row}.png", 3, stages=ALONE).results
            assert found.image_id[0] == f"i{row}"
            assert found.similarity[0] == pytest.approx(1, abs=2e-3)


def test_all_pictures_are_indexed_if_none_is_selected(tmp_path, models):
    made = vsa.build(shop(tmp_path), models, tmp_path / "my.engine", selection=None)
    with Index.open(made / "index") as index:
        assert len(index) == N_ITEMS


def test_validation_photos_choose_what_the_index_searches(tmp_path, models, monkeypatch):
    asked = []

    def noted(index, features, *rest):
        asked.append(features)
        return choose_params(index, features, *rest)

    monkeypatch.setattr(offline, "choose_params", noted)
    vsa.build(shop(tmp_path), models, tmp_path / "one.engine")
    [features] = asked
    assert len(features) == 4  # of twelve photos, a third is of that split
    vsa.build(shop(tmp_path, 0), models, tmp_path / "other.engine")
    assert len(asked) == 1
    with closing(VisualSearch.open(tmp_path / "other.engine")) as engine:
        assert len(engine.search(tmp_path / "0.png", 3).results) == 3


def test_the_ranker_travels_with_the_engine_where_quality_is_known(tmp_path, models):
    segments = Segments(("browser", "collector"), (0.25, 0.75))
    ranked = dataclasses.replace(models, ranker=ranker(segments))
    mine = shop(tmp_path)
    with closing(VisualSearch.open(vsa.build(mine, ranked, tmp_path / "one.engine"))) as engine:
        assert engine.ranker.segments == segments
        page = engine.search(tmp_path / "0.png", segment="collector").results
        assert page.score.notna().all()
    nothing = dict.fromkeys(("sales", "conversion_rate", "applause_rate", "price"), np.nan)
    bare = dataclasses.replace(mine, catalogue=mine.catalogue.assign(**nothing))
    with closing(VisualSearch.open(vsa.build(bare, ranked, tmp_path / "two.engine"))) as engine:
        assert engine.ranker is None


def test_a_category_that_the_models_do_not_know_is_refused_before_any_work(tmp_path, models):
    mine = shop(tmp_path)
    catalogue = mine.catalogue.assign(category=[*NAMES, "hats"] * 22 + NAMES[:2])
    with pytest.raises(InputError, match="not trained for hats"):
        vsa.build(dataclasses.replace(mine, catalogue=catalogue), models, tmp_path / "my.engine")
    assert not (tmp_path / "my.engine").exists()


def test_other_peoples_folders_are_refused_before_any_work(tmp_path, models, monkeypatch):
    monkeypatch.setattr(offline, "load_images", lambda *_: 1 / 0)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.txt").touch()
    with pytest.raises(InputError, match="holds other things"):
        vsa.build(shop(tmp_path), models, tmp_path / "theirs")
    assert (tmp_path / "theirs" / "thesis.txt").exists()


def test_what_goes_wrong_leaves_the_engine_that_was_there(tmp_path, models):
    mine, folder = shop(tmp_path), tmp_path / "my.engine"
    vsa.build(mine, models, folder)
    before = (folder / "checksums.json").read_bytes()
    (tmp_path / "7.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"7\.png"):
        vsa.build(mine, models, folder)
    for row in range(N_ITEMS):
        Image.new("RGB", (64, 64)).save(tmp_path / f"{row}.png")
    with pytest.raises(InputError, match="selection leaves no picture"):
        vsa.build(mine, models, folder)
    assert (folder / "checksums.json").read_bytes() == before
    VisualSearch.open(folder).close()


def test_networks_of_an_open_engine_are_not_kept(tmp_path):
    made = small_shop(tmp_path)
    with closing(VisualSearch.open(made.folder)) as engine:
        frozen = dataclasses.replace(made.models, network=engine.network)
        with pytest.raises(InputError, match="as they were trained"):
            write_engine(tmp_path / "two", frozen, made.features, small_catalogue(), tmp_path)
    assert not (tmp_path / "two").exists()


def test_an_engine_of_another_version_is_refused(tmp_path):
    folder = small_shop(tmp_path).folder
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"format": 2}))
    write_manifest(folder)
    with pytest.raises(InputError, match="no engine of format 3"):
        VisualSearch.open(folder)


def test_building_an_engine_needs_no_part_of_the_study():
    program = "import sys, vsa; vsa.build, vsa.rankers; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    loaded = done.stdout.split()
    assert "vsa.offline" in loaded, done.stderr
    assert not [name for name in loaded if name.startswith(("vsa.study", "matplotlib"))]
