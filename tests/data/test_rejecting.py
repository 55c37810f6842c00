import numpy as np
import pandas as pd
import pytest
from made_pictures import folder_of_pictures, photo

from vsa.data import decoding, rejecting
from vsa.data.rejecting import reject_unreadable
from vsa.data.schema import BOX, CATALOGUE, PVLOG, QUALITY, QUERIES, Dataset, check
from vsa.runtime.errors import InputError


@pytest.fixture
def shop(tmp_path):
    return folder_of_pictures(tmp_path / "shop")


def make_dataset(root, image_paths, query_paths, pvlog=None):
    catalogue = pd.DataFrame({"path": image_paths, "category": "toys", "leaf": "toys"})
    catalogue["image_id"] = [f"i{i}" for i in range(len(image_paths))]
    catalogue["product_id"], catalogue["source"] = catalogue.image_id, "main"
    queries = pd.DataFrame({"path": query_paths, "category": "toys", "split": "test"})
    queries["query_id"] = [f"q{i}" for i in range(len(query_paths))]
    queries["product_id"] = "i0"
    catalogue[QUALITY + BOX] = np.nan
    queries[BOX] = np.nan
    none = pd.DataFrame(columns=["table", "id", "path", "reason"], dtype=str)
    return Dataset(
        name="test",
        root=root,
        catalogue=check(catalogue, CATALOGUE, "catalogue"),
        queries=check(queries, QUERIES, "queries"),
        rejected=none,
        pvlog=pvlog,
    )


def page_views(query_ids, image_ids):
    rows = [(q, q, rank, i, False) for q in query_ids for rank, i in enumerate(image_ids, 1)]
    pvlog = pd.DataFrame(rows, columns=["session_id", "query_id", "rank", "image_id", "clicked"])
    return check(pvlog.assign(timestamp=pd.Timestamp("2018-01-01")), PVLOG, "pvlog")


def test_rejected_rows_leave_every_table(shop):
    root, names = shop
    (root / names[1]).write_bytes(b"")
    (root / names[5]).write_bytes(b"no image")
    pvlog = page_views(["q0", "q1"], ["i0", "i1", "i2"])
    dataset = reject_unreadable(make_dataset(root, names[:5], [names[5], names[6]], pvlog))
    assert dataset.catalogue.image_id.tolist() == ["i0", "i2", "i3", "i4"]
    assert dataset.queries.query_id.tolist() == ["q1"]
    assert dataset.rejected.to_numpy().tolist() == [
        ["catalogue", "i1", names[1], "empty file"],
        ["queries", "q0", names[5], "not an image"],
    ]
    assert dataset.pvlog[["query_id", "image_id"]].to_numpy().tolist() == [
        ["q1", "i0"],
        ["q1", "i2"],
    ]
    check(dataset.catalogue, CATALOGUE, "catalogue")
    check(dataset.queries, QUERIES, "queries")
    check(dataset.pvlog, PVLOG, "pvlog")


def test_sound_dataset_is_unchanged(shop):
    root, names = shop
    dataset = make_dataset(root, names[:5], names[5:8], page_views(["q0"], ["i0", "i1"]))
    assert reject_unreadable(dataset) is dataset


def test_rejection_is_remembered_until_a_file_changes(shop, monkeypatch):
    root, names = shop
    (root / names[1]).write_bytes(b"")
    dataset = make_dataset(root, names[:5], names[5:8])
    with monkeypatch.context() as patch:
        first = reject_unreadable(dataset)
        patch.setattr(rejecting, "decode", None)  # nothing may be decoded again
        second = reject_unreadable(dataset)
    pd.testing.assert_frame_equal(first.rejected, second.rejected)
    photo().save(root / names[1], "PNG")
    assert reject_unreadable(dataset).rejected.empty


def test_what_could_not_be_read_is_tried_again_once_there_is_a_decoder(shop, monkeypatch):
    root, names = shop
    dataset = make_dataset(root, names[:5], names[5:8])
    with monkeypatch.context() as patch:
        patch.setattr(decoding, "FORMATS", ("JPEG", "PNG"))
        assert set(reject_unreadable(dataset).rejected.path) == {
            n for n in names[:8] if "webp" in n
        }
    assert reject_unreadable(dataset).rejected.empty


def test_missing_files_are_rejected_and_noticed_when_they_come(shop):
    root, names = shop
    dataset = make_dataset(root, [*names[:3], "late.png"], names[5:8])
    assert reject_unreadable(dataset).rejected.reason.tolist() == ["missing"]
    photo().save(root / "late.png")
    assert len(reject_unreadable(dataset).catalogue) == 4


def test_earlier_rejections_are_kept(shop):
    root, names = shop
    dataset = make_dataset(root, [*names[:3], "gone.png"], names[5:8])
    earlier = pd.DataFrame(
        [["queries", "q9", "x", "missing"]], columns=["table", "id", "path", "reason"]
    )
    object.__setattr__(dataset, "rejected", earlier)
    assert reject_unreadable(dataset).rejected.id.tolist() == ["q9", "i3"]


def test_nothing_readable_is_an_input_error(shop):
    root, names = shop
    dataset = make_dataset(root / "elsewhere", names[:3], names[3:5])
    with pytest.raises(InputError, match=r"catalogue.*missing.*relative"):
        reject_unreadable(dataset)


def test_dataset_without_queries(shop):
    root, names = shop
    dataset = make_dataset(root, [*names[:3], "gone.png"], [])
    assert len(reject_unreadable(dataset).catalogue) == 3
