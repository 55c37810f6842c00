"""An open index is that of its folder, whatever becomes of names, working folders and processes."""

import os
import shutil

import numpy as np
import pytest
from random_features import unit

from vsa.index.build import build_index
from vsa.index.index import Index
from vsa.index.request import SearchParams
from vsa.index.shards import build_shards
from vsa.runtime.errors import InputError

ALL = SearchParams(10**6, 10**6)
MORE = np.arange(100, 110)


def features(seed, n=50):
    return unit(np.random.default_rng(seed), n)


@pytest.fixture
def folder(tmp_path):
    build_index(tmp_path / "index", features(0), n_bits=64, params=ALL)
    return tmp_path / "index"


def test_a_relative_name_is_that_of_when_it_was_opened(folder, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(tmp_path)
    with Index.open("index", writable=True) as index:
        monkeypatch.chdir(other)
        index.add(features(1, 10), MORE)
        index.compact()
    assert list(other.iterdir()) == []
    with Index.open(folder) as index:
        index.verify()
        assert len(index) == 60


CHANGES = {
    "add": lambda index: index.add(features(1, 10), MORE),
    "update": lambda index: index.update(features(1, 5), np.arange(5)),
    "remove": lambda index: index.remove(np.arange(5)),
    "compact": lambda index: index.compact(),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("what", ["moved", "removed", "replaced"])
def test_an_index_that_is_elsewhere_now_is_not_written_to(folder, tmp_path, change, what):
    with Index.open(folder, writable=True) as index:
        index.remove(np.arange(40, 42))  # so that there is something to compact
        if what == "removed":
            shutil.rmtree(folder)
        else:
            folder.rename(tmp_path / "moved")
        if what == "replaced":
            build_index(folder, features(2), n_bits=64, params=ALL)
        with pytest.raises(InputError, match="moved, removed or replaced"):
            CHANGES[change](index)
    assert folder.exists() == (what == "replaced")
    for place, n_items in ((tmp_path / "moved", 48), (folder, 50)):
        if place.exists():
            with Index.open(place) as index:
                index.verify()
                assert len(index) == n_items


def test_a_reader_does_not_mix_in_the_index_that_took_its_place(folder, tmp_path):
    with Index.open(folder) as reader:
        moved = tmp_path / "moved"
        folder.rename(moved)
        build_index(folder, features(2), n_bits=64, params=ALL)
        for place in (moved, folder):  # both have the same second base now
            with Index.open(place, writable=True) as index:
                index.remove(np.array([7]))
                index.compact()
        with pytest.raises(InputError, match="moved, removed or replaced"):
            reader.search_one(features(0)[0], 5)


def test_an_index_is_not_replaced_under_its_writer_and_not_written_to_while_it_is_replaced(folder):
    with (
        Index.open(folder, writable=True),
        pytest.raises(InputError, match="another writer"),
    ):
        build_index(folder, features(2), n_bits=64)

    def rows():
        with pytest.raises(InputError, match="another writer"):
            Index.open(folder, writable=True)
        return features(2)

    from vsa.index.build import replaced_index, write_index

    with replaced_index(folder) as draft:
        write_index(draft, rows(), n_bits=64, params=ALL)
    with Index.open(folder, writable=True) as index:
        assert len(index) == 50


def test_other_things_in_the_folder_are_not_lost(folder):
    for name in ("thesis.tex", "sales.csv", "my.parquet", "database-backup", ".index.notes"):
        (folder / name).write_text("years")
        with pytest.raises(InputError, match=f"holds '{name}' too"):
            build_index(folder, features(2), n_bits=64)
        assert (folder / name).read_text() == "years"
        (folder / name).unlink()


def test_an_index_json_of_somebody_else_and_files_among_the_arrays_are_not_lost(folder, tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.json").write_text('{"pages": []}')
    with pytest.raises(InputError, match="not that of an index"):
        build_index(site, features(2), n_bits=64)
    (folder / "base-00000001" / "notes.txt").write_text("years")
    with pytest.raises(InputError, match=r"base-00000001/notes\.txt"):
        build_index(folder, features(2), n_bits=64)


def test_shards_are_not_replaced_under_their_writers_nor_with_other_things(tmp_path):
    folder = tmp_path / "shards"
    build_shards(folder, 2, features(0), params=ALL)
    with (
        Index.open(folder / "shard-01", writable=True),
        pytest.raises(InputError, match="another writer"),
    ):
        build_shards(folder, 2, features(2), params=ALL)
    (folder / "thesis.tex").write_text("years")
    with pytest.raises(InputError, match=r"holds 'thesis\.tex' too"):
        build_shards(folder, 2, features(2), params=ALL)
    (folder / "thesis.tex").unlink()
    build_shards(folder, 3, features(2), params=ALL)
    assert len(list(folder.glob("shard-*"))) == 3


def in_child(act):
    """Exit status of a forked process that does something."""
    child = os.fork()
    if not child:
        try:
            act()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_after_a_fork_the_child_searches_and_the_parent_writes(folder):
    query = features(0)[0]

    def child():
        assert index.search_one(query, 1).ids.tolist() == [0]
        with pytest.raises(InputError, match="forked from"):
            index.remove(np.array([1]))
        index.close()

    with Index.open(folder, writable=True) as index:
        assert in_child(child) == 0
        index.remove(np.array([0]))
        assert 0 not in index.search_one(query, 50).ids


def test_after_a_fork_the_child_sees_what_was_changed_since(folder):
    query = features(0)[0]

    def child():
        os.close(stop)
        os.read(go_on, 1)  # until the parent has made its change
        assert 0 not in index.search_one(query, 50).ids
        index.verify()

    with Index.open(folder, writable=True) as index:
        index.search_one(query, 1)
        go_on, stop = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                child()
            except BaseException:
                os._exit(1)
            os._exit(0)
        index.remove(np.array([0]))
        os.close(stop)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        os.close(go_on)


def test_after_a_fork_the_child_does_not_mix_in_another_index(folder):
    index = Index.open(folder)
    build_index(folder, features(2), n_bits=64, params=ALL)
    with Index.open(folder, writable=True) as other:
        other.add(features(1, 10), MORE)

    def child():
        with pytest.raises(InputError, match="moved, removed or replaced"):
            index.search_one(features(0)[0], 5)

    assert in_child(child) == 0
    index.close()


def test_what_may_not_be_read_is_not_said_to_be_missing(folder, monkeypatch):
    def refuse(*_, **__):
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as broken:
        broken.setattr(os, "open", refuse)
        with pytest.raises(InputError, match="Too many open files"):
            Index.open(folder)
    monkeypatch.setattr(type(folder), "read_text", refuse)
    with pytest.raises(InputError, match=r"cannot be read \(Too many open files\)"):
        Index.open(folder)


def test_a_child_does_not_keep_the_right_to_write_from_others(folder):
    index = Index.open(folder, writable=True)
    go_on, stop = os.pipe()
    child = os.fork()
    if not child:
        os.close(stop)
        os.read(go_on, 1)  # until the parent has seen that it may write again
        os._exit(0)
    index.close()
    Index.open(folder, writable=True).close()
    os.close(stop)
    os.waitpid(child, 0)
    os.close(go_on)


def test_closing_twice_is_closing_once(folder):
    index = Index.open(folder, writable=True)
    index.close()
    with open(folder / "model.npz", "rb") as other:  # may have the number of a closed file
        index.close()
        assert other.read(2) == b"PK"
    Index.open(folder, writable=True).close()


def test_a_name_may_be_text(tmp_path):
    build_index(str(tmp_path / "index"), features(0), n_bits=64, params=ALL)
    with Index.open(str(tmp_path / "index")) as index:
        assert len(index) == 50
