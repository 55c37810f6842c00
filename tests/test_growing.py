"""Rows that join, change in and leave an engine: index, table of results and reference set."""

from __future__ import annotations

import dataclasses
import shutil
from contextlib import closing

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_engine import N_ITEMS, small_shop

from vsa.category.model import predict
from vsa.data.decoding import ImageError
from vsa.embedding.extract import describe
from vsa.engine import Stages, VisualSearch
from vsa.index.index import Index
from vsa.row_files import FOLDER, part_files
from vsa.runtime.errors import InputError
from vsa.store import Store

ALL = Stages(category=False, box=False, rerank=False)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return small_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def folder(shop, tmp_path):
    return shutil.copytree(shop.folder, tmp_path / "engine")


@pytest.fixture
def engine(folder):
    with closing(VisualSearch.open(folder)) as opened:
        yield opened


def pictures_of(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 4, 4, 3), np.uint8).repeat(16, 1).repeat(16, 2)


def new_rows(root, n: int = 1, seed: int = 1) -> tuple[pd.DataFrame, np.ndarray]:
    pictures = pictures_of(n, seed)
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


def found(engine, picture, k=5):
    return engine.search(Image.fromarray(picture), k, box=None, stages=ALL)


def first(engine, picture) -> str:
    return found(engine, picture).results.image_id[0]


def is_whole(engine, n: int) -> None:
    """Rows, items and references are of one state, of `n` pictures."""
    engine.verify()
    assert len(engine.catalogue) == len(engine.index) == engine.stats()["pictures"] == n


def test_a_row_joins_index_table_and_references(shop, folder):
    root = shop.folder.parent
    table, pictures = new_rows(root, 2)
    with closing(VisualSearch.open(folder)) as engine:
        before = len(engine.category.reference)
        change = engine.add(table)
        assert change.image_ids == table.image_id.tolist()
        assert change.left_out.empty
        assert engine.catalogue["image_id"].to_pylist()[-2:] == table.image_id.tolist()
        assert engine.category.reference.id.tolist()[before:] == table.image_id.tolist()
    with closing(VisualSearch.open(folder)) as engine:
        is_whole(engine, N_ITEMS + 2)
        category, device = shop.models.category, shop.models.category.device
        # what a whole catalogue would have been described as
        wanted = describe(shop.models.network, pictures, device).features
        stored = engine.index.search(wanted, 1)
        assert stored[1][:, 0].tolist() == [N_ITEMS, N_ITEMS + 1]
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


def test_an_updated_row_has_its_new_picture_words_and_reference(shop, engine):
    root = shop.folder.parent
    table, (old,) = new_rows(root, seed=11)
    engine.add(table)
    (new,) = pictures_of(1, seed=12)
    Image.fromarray(new).save(root / "newer.png")
    changed = table.assign(path="newer.png", category="bags", price=7.0)
    assert engine.update(changed).image_ids == table.image_id.tolist()
    is_whole(engine, N_ITEMS + 1)
    answer = found(engine, new)
    assert answer.results.image_id[0] == table.image_id[0]
    assert answer.results.price[0] == 7
    assert answer.results.similarity[0] == pytest.approx(1, abs=2e-3)
    nearest = answer.category.neighbours.iloc[0]
    assert (nearest.id, nearest.category) == (table.image_id[0], "bags")
    assert engine.category.reference.id.tolist().count(table.image_id[0]) == 1
    assert table.image_id[0] not in found(engine, old, 1).results.image_id.to_list()
    # one of those that it was built with
    engine.update(changed.assign(image_id="i5", path="newer.png"), select=False)
    assert set(found(engine, new, 2).results.image_id) == {"i5", table.image_id[0]}
    is_whole(engine, N_ITEMS + 1)


def test_put_lets_new_rows_join_and_replaces_those_that_are_there(shop, engine):
    table, pictures = new_rows(shop.folder.parent, 2, seed=12)
    table.loc[0, "image_id"] = "i7"
    change = engine.put(table)
    assert change.image_ids == ["i7", table.image_id[1]]
    assert [first(engine, picture) for picture in pictures] == change.image_ids
    is_whole(engine, N_ITEMS + 1)


def test_a_removed_row_is_gone_from_index_table_and_references(shop, engine, folder):
    table, (picture,) = new_rows(shop.folder.parent, seed=13)
    engine.add(table)
    with closing(VisualSearch.open(folder)) as other:
        engine.remove([table.image_id[0], "i5"])
        for one in (engine, other):
            is_whole(one, N_ITEMS - 1)
            assert not {"i5", table.image_id[0]} & set(one.catalogue["image_id"].to_pylist())
            assert table.image_id[0] not in one.category.reference.id.to_list()
            assert first(one, picture) != table.image_id[0]
            assert first(one, shop.pictures[5]) != "i5"
    engine.add(table)  # and may come again
    assert first(engine, picture) == table.image_id[0]
    is_whole(engine, N_ITEMS)


def test_references_of_the_training_go_with_their_picture(shop, tmp_path):
    """Until compaction, and after it, in whichever process."""
    models = shop.models
    ids = ["i4", "elsewhere", "i5"]
    stage = dataclasses.replace(models.category, reference=models.category.reference.assign(id=ids))
    from small_engine import small_catalogue

    from vsa.offline import write_engine

    made = write_engine(
        tmp_path / "engine",
        dataclasses.replace(models, category=stage),
        shop.features,
        small_catalogue(),
        shop.folder.parent,
    )
    with closing(VisualSearch.open(made)) as engine, closing(VisualSearch.open(made)) as other:
        engine.remove(["i5"])
        for one in (engine, other):
            assert one.category.reference.id.tolist() == ["i4", "elsewhere"]
        engine.compact()
        is_whole(engine, N_ITEMS - 1)
        assert other.category.reference.id.tolist() == ["i4", "elsewhere"]
    with closing(VisualSearch.open(made)) as engine:
        assert engine.category.reference.id.tolist() == ["i4", "elsewhere"]
        assert len(engine.category.reference_features) == 2


def test_selection_leaves_out_what_building_would_and_says_so(shop, engine):
    root = shop.folder.parent
    table, (_, blank, _, _) = new_rows(root, 4, seed=14)
    Image.fromarray(np.full_like(blank, 90)).save(root / table.path[1])  # flat
    Image.fromarray(shop.pictures[7]).save(root / table.path[2])  # what i7 shows
    near = shop.pictures[8].astype(int) + 1
    Image.fromarray(near.clip(0, 255).astype(np.uint8)).save(root / table.path[3])
    change = engine.add(table)
    assert change.image_ids == [table.image_id[0]]
    told = change.left_out.set_index("image_id")
    assert told.reason.to_dict() == {
        table.image_id[1]: "low quality: flat",
        table.image_id[2]: "identical",
        table.image_id[3]: "near-identical",
    }
    assert told.duplicate_of.to_list() == ["", "i7", "i8"]
    is_whole(engine, N_ITEMS + 1)
    # within what is given at once, the best seller stays
    twins, _ = new_rows(root, 2, seed=15)
    (root / twins.path[1]).write_bytes((root / twins.path[0]).read_bytes())
    change = engine.add(twins.assign(sales=[1.0, 2.0]))
    assert change.image_ids == [twins.image_id[1]]
    assert change.left_out.duplicate_of.to_list() == [twins.image_id[1]]
    # what is removed stands for nobody
    engine.remove(["i7"])
    assert engine.add(table.iloc[[2]]).image_ids == [table.image_id[2]]
    # and whoever wants all of them says so
    assert len(engine.add(table.iloc[[1, 3]], select=False)) == 2
    is_whole(engine, N_ITEMS + 4)


def test_an_update_is_no_copy_of_what_it_replaces_and_stays_as_it_was_if_left_out(shop, engine):
    root = shop.folder.parent
    same = pd.DataFrame(
        {"image_id": ["i5"], "product_id": ["p"], "category": ["bags"], "path": ["5.png"]}
    )
    assert engine.update(same).image_ids == ["i5"]
    assert engine.search(root / "5.png", 1, stages=ALL).results.product_id[0] == "p"
    change = engine.update(same.assign(path="6.png"))  # another one's picture
    assert change.left_out.duplicate_of.to_list() == ["i6"]
    assert engine.search(root / "5.png", 1, stages=ALL).results.image_id[0] == "i5"
    is_whole(engine, N_ITEMS)


def test_compaction_changes_nothing_but_the_files(shop, engine, folder):
    table, pictures = new_rows(shop.folder.parent, 3, seed=16)
    with closing(VisualSearch.open(folder)) as other:
        engine.add(table)
        engine.remove([table.image_id[2], "i3"])
        before = [found(engine, picture).results for picture in (*pictures, shop.pictures[3])]
        neighbours = found(engine, pictures[0]).category.neighbours
        found(other, pictures[0])
        engine.compact()
        assert len(list((folder / FOLDER).iterdir())) == 1
        assert engine.stats()["changes since compaction"] == 0
        for one in (engine, other):
            is_whole(one, N_ITEMS + 1)
            for page, picture in zip(before, (*pictures, shop.pictures[3]), strict=True):
                pd.testing.assert_frame_equal(found(one, picture).results, page)
            again = found(one, pictures[0]).category.neighbours
            pd.testing.assert_frame_equal(again, neighbours)
        # numbers of what was removed are not given again
        engine.add(table.iloc[[2]])
        assert first(other, pictures[2]) == table.image_id[2]
        assert engine.store.current().rows.items[-1] == N_ITEMS + 3
        engine.compact()
        is_whole(engine, N_ITEMS + 2)
    with closing(VisualSearch.open(folder)) as again:
        is_whole(again, N_ITEMS + 2)
        assert first(again, pictures[1]) == table.image_id[1]


def test_an_open_engine_of_another_process_sees_it_with_the_next_search(shop, folder):
    table, pictures = new_rows(shop.folder.parent, seed=2)
    with closing(VisualSearch.open(folder)) as other, closing(VisualSearch.open(folder)) as engine:
        engine.add(table)
        answer = found(other, pictures[0])
        assert table.image_id[0] in answer.results.image_id.to_list()
        assert other.category.reference.id.iloc[-1] == table.image_id[0]


def test_a_change_that_is_seen_half_way_is_seen_whole_later(shop, folder, monkeypatch):
    """Another process looks while rows are written and the index does not have them yet."""
    table, pictures = new_rows(shop.folder.parent, seed=21)
    exchange = Index.exchange
    with closing(VisualSearch.open(folder)) as other, closing(VisualSearch.open(folder)) as engine:
        seen = []

        def looked_at(*arguments):
            found(other, shop.pictures[0])
            with Store(folder) as third:
                seen.append(len(third))
            exchange(*arguments)

        monkeypatch.setattr(Index, "exchange", looked_at)
        engine.add(table)
        assert seen == [N_ITEMS]
        assert first(other, pictures[0]) == table.image_id[0]
        assert other.category.reference.id.iloc[-1] == table.image_id[0]


def test_what_was_interrupted_before_the_index_counts_for_nothing(shop, folder, monkeypatch):
    table, _ = new_rows(shop.folder.parent, seed=3)
    with closing(VisualSearch.open(folder)) as engine:
        with monkeypatch.context() as patch:
            patch.setattr(Index, "exchange", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                engine.add(table)
        is_whole(engine, N_ITEMS)
    with closing(VisualSearch.open(folder)) as engine:
        assert table.image_id[0] not in engine.category.reference.id.to_list()
        again, _ = new_rows(shop.folder.parent, seed=4)
        engine.add(again)
        assert engine.catalogue["image_id"].to_pylist()[-1] == again.image_id[0]
        engine.add(table)  # and it can be tried again
        assert engine.catalogue["image_id"].to_pylist()[-1] == table.image_id[0]
        is_whole(engine, N_ITEMS + 2)


def test_what_cannot_join_is_told_and_leaves_the_engine_as_it_was(shop, engine, folder):
    table, _ = new_rows(shop.folder.parent, seed=5)
    for changed, told in (
        (table.assign(image_id="i0"), "'i0' is in the catalogue already"),
        (table.assign(category="boats"), "built without the category 'boats'"),
        (table.drop(columns="product_id"), "'product_id' is missing"),
        (table.assign(path="none.png"), "none.png"),
    ):
        with pytest.raises(InputError, match=told):
            engine.add(changed)
    with pytest.raises(InputError, match=r"'new-5-0' is not in the catalogue"):
        engine.update(table)
    with pytest.raises(InputError, match=r"'nobody' is not in the catalogue"):
        engine.remove(["i0", "nobody"])
    with pytest.raises(InputError, match="on_error is 'ignore'"):
        engine.add(table, on_error="ignore")
    is_whole(engine, N_ITEMS)
    assert len(list((folder / FOLDER).iterdir())) == 1


def test_a_picture_that_cannot_be_read_is_named_and_the_rest_joins_if_asked(shop, engine):
    root = shop.folder.parent
    table, pictures = new_rows(root, 3, seed=17)
    (root / table.path[1]).write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"new-17-1\.png"):
        engine.add(table)
    is_whole(engine, N_ITEMS)
    for select in (True, False):
        change = engine.add(table, on_error="skip", select=select)
        assert change.image_ids == [table.image_id[0], table.image_id[2]]
        told = [(table.image_id[1], "unreadable: not an image", "")]
        assert list(change.left_out.itertuples(index=False, name=None)) == told
        assert first(engine, pictures[2]) == table.image_id[2]
        is_whole(engine, N_ITEMS + 2)
        engine.remove(change.image_ids)
    assert len(engine.add(table.iloc[[1]], on_error="skip")) == 0


def test_of_two_writers_the_second_is_refused_at_once(shop, engine, folder):
    table, _ = new_rows(shop.folder.parent, seed=18)
    with Store(folder) as other, other.writing():
        for act in (lambda: engine.add(table), lambda: engine.remove(["i1"]), engine.compact):
            with pytest.raises(InputError, match="another writer has the index open"):
                act()
    assert len(engine.add(table)) == 1


def test_an_engine_that_was_moved_while_open_refuses_changes_and_answers(shop, engine, folder):
    table, _ = new_rows(shop.folder.parent, seed=19)
    folder.rename(folder.with_name("moved"))
    for act in (lambda: engine.add(table), lambda: engine.remove(["i1"]), engine.compact):
        with pytest.raises(InputError, match=r"moved, removed or replaced.*Open it where it is"):
            act()
    assert first(engine, shop.pictures[3]) == "i3"
    with closing(VisualSearch.open(folder.with_name("moved"))) as again:
        is_whole(again, N_ITEMS)


def test_a_flipped_byte_anywhere_is_found(shop, folder):
    table, _ = new_rows(shop.folder.parent, seed=20)
    with closing(VisualSearch.open(folder)) as engine:
        engine.add(table)
    files = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]
    files = [path for path in files if "live." not in path.name]  # see test_faults
    assert len(files) >= 12
    for path in files:
        good = path.read_bytes()
        place = len(good) // 2
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with (
            pytest.raises(InputError, match=r"checksum|damaged|format|missing"),
            Store(folder) as s,
        ):
            s.verify()
        path.write_bytes(good)
    with Store(folder) as store:
        store.verify()


def test_a_part_that_is_missing_is_named(shop, folder):
    for seed in (22, 23):
        with closing(VisualSearch.open(folder)) as engine:
            engine.add(new_rows(shop.folder.parent, seed=seed)[0])
    for number, told in enumerate(("change 0", "change 1", "newest pictures")):
        path = part_files(folder)[number].path
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(InputError, match=f"rows of .*{told}.* missing|{told} are missing"):
            Store(folder)
        path.write_bytes(content)
    for name in ("network", "category", "index"):
        (folder / name).rename(folder / "aside")
        with pytest.raises(InputError, match=r"missing|no index"):
            VisualSearch.open(folder)
        (folder / "aside").rename(folder / name)
    VisualSearch.open(folder).close()
