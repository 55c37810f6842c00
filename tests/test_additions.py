"""Rows that join an engine: its index, its table of results and its reference set."""

from __future__ import annotations

import shutil
from contextlib import closing

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_engine import N_ITEMS, small_shop

from vsa.additions import FOLDER
from vsa.category.model import predict
from vsa.embedding.extract import describe
from vsa.engine import Stages, VisualSearch
from vsa.index.index import Index
from vsa.runtime.errors import InputError

ALL = Stages(category=False, box=False, rerank=False)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return small_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def folder(shop, tmp_path):
    return shutil.copytree(shop.folder, tmp_path / "engine")


def new_rows(root, n: int = 1, seed: int = 1) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    pictures = rng.integers(0, 256, (n, 4, 4, 3), np.uint8).repeat(16, 1).repeat(16, 2)
    names = [f"new-{seed}-{i}" for i in range(n)]
    for name, picture in zip(names, pictures, strict=True):
        Image.fromarray(picture).save(root / f"{name}.png")
    table = pd.DataFrame(
        {
            "image_id": names,
            "product_id": names,
            "category": "toys",
            "path": [f"{name}.png" for name in names],
        }
    )
    return table, pictures


def found(engine, picture):
    return engine.search(Image.fromarray(picture), 5, box=None, stages=ALL)


def test_a_row_joins_index_table_and_references(shop, folder):
    root = shop.folder.parent
    table, pictures = new_rows(root, 2)
    with closing(VisualSearch.open(folder)) as engine:
        before = len(engine.category.reference)
        ids = engine.add(table)
        assert ids.tolist() == [N_ITEMS, N_ITEMS + 1]
        assert engine.catalogue["image_id"].to_pylist()[-2:] == table.image_id.tolist()
        assert engine.category.reference.id.tolist()[before:] == table.image_id.tolist()
    with closing(VisualSearch.open(folder)) as engine:
        assert len(engine.index) == len(engine.catalogue) == N_ITEMS + 2
        category, device = shop.models.category, shop.models.category.device
        # what a whole catalogue would have been described as
        wanted = describe(shop.models.network, pictures, device).features
        stored = engine.index.search(wanted, 1)
        assert stored[1][:, 0].tolist() == ids.tolist()
        np.testing.assert_allclose(stored[0][:, 0], 1, atol=2e-3)
        big = np.stack(
            [
                np.array(Image.fromarray(p).resize((72, 72), Image.Resampling.BICUBIC))
                for p in pictures
            ]
        )
        _, references = predict(category.net, big, category.crop_px, device)
        np.testing.assert_allclose(engine.category.reference_features[-2:], references, atol=1e-3)
        answer = found(engine, pictures[0])
        assert table.image_id[0] in answer.results.image_id.to_list()
        # the vote knows the picture: nearest is itself, with its category
        nearest = answer.category.neighbours.iloc[0]
        assert (nearest.id, nearest.category) == (table.image_id[0], "toys")


def test_an_open_engine_of_another_process_sees_it_with_the_next_search(shop, folder):
    table, pictures = new_rows(shop.folder.parent, seed=2)
    with closing(VisualSearch.open(folder)) as other, closing(VisualSearch.open(folder)) as engine:
        engine.add(table)
        answer = found(other, pictures[0])
        assert table.image_id[0] in answer.results.image_id.to_list()
        assert other.category.reference.id.iloc[-1] == table.image_id[0]


def test_what_was_interrupted_before_the_index_counts_for_nothing(shop, folder, monkeypatch):
    table, _ = new_rows(shop.folder.parent, seed=3)
    with closing(VisualSearch.open(folder)) as engine:
        with monkeypatch.context() as patch:
            patch.setattr(Index, "add", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                engine.add(table)
        assert len(engine.index) == N_ITEMS
    with closing(VisualSearch.open(folder)) as engine:
        assert table.image_id[0] not in engine.category.reference.id.to_list()
        again, _ = new_rows(shop.folder.parent, seed=4)
        (number,) = engine.add(again)
        assert engine.catalogue["image_id"][number].as_py() == again.image_id[0]
        (number,) = engine.add(table)  # and it can be tried again
        assert engine.catalogue["image_id"][number].as_py() == table.image_id[0]


def test_what_cannot_join_is_told_and_leaves_the_engine_as_it_was(shop, folder):
    table, _ = new_rows(shop.folder.parent, seed=5)
    with closing(VisualSearch.open(folder)) as engine:
        for changed, told in (
            (table.assign(image_id="i0"), "'i0' is in the catalogue already"),
            (table.assign(category="boats"), "built without the category 'boats'"),
            (table.drop(columns="product_id"), "'product_id' is missing"),
            (table.assign(path="none.png"), "none.png"),
        ):
            with pytest.raises(InputError, match=told):
                engine.add(changed)
        assert len(engine.catalogue) == len(engine.index) == N_ITEMS
        assert not (folder / FOLDER).exists()


def test_a_damaged_addition_is_named(shop, folder):
    table, _ = new_rows(shop.folder.parent, seed=6)
    with closing(VisualSearch.open(folder)) as engine:
        engine.add(table)
    (path,) = (folder / FOLDER).glob("*.arrow")
    path.write_bytes(path.read_bytes()[:-9] + b"damaged!!")
    with pytest.raises(InputError, match="checksum is wrong"):
        VisualSearch.open(folder)
