"""What is acknowledged stays, whatever happens to the process, the disk or the files."""

import json
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import time
from multiprocessing import forkserver

import numpy as np
import pytest
from random_features import DIM, unit

from vsa.index.build import build_index
from vsa.index.hits import kernel
from vsa.index.index import Index
from vsa.index.live import Count
from vsa.index.model import read_model
from vsa.index.request import SearchParams
from vsa.runtime.checked import write_checked_json
from vsa.runtime.errors import InputError

N_KILLS = 200
ALL = SearchParams(10**6, 10**6)
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["vsa.index.build", "pytest", __name__])


@pytest.fixture(scope="module", autouse=True)
def _server():
    """The process that children are copies of, where it finds this file: none has to read it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        forkserver.ensure_running()
        yield


@pytest.fixture
def folder(tmp_path):
    features = unit(np.random.default_rng(0), 100)
    build_index(tmp_path / "index", features, n_bits=64, params=ALL)
    return tmp_path / "index"


def contents(folder):
    """Id → first number of its feature."""
    with Index.open(folder) as index:
        index.verify()
        hits = index.search_one(unit(np.random.default_rng(0), 1)[0], 10**6)
        assert len(hits.ids) == len(index) == len(set(hits.ids.tolist()))
        view = index.current()
        found = dict(zip(view.base.ids.tolist(), view.base.features[:, 0], strict=True))
        for row in view.hidden:
            del found[int(view.base.ids[row])]
        found |= {int(i): view.features[view.place[int(i)], 0] for i in view.ids[~view.dead]}
        assert set(found) == set(hits.ids.tolist())
    return {id_: float(value) for id_, value in found.items()}


def change(index, items, seed):
    """One random change; returns what the items are after it."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(["add", "update", "remove", "compact"], p=[0.4, 0.25, 0.2, 0.15])
    items = dict(items)
    if kind == "add":
        ids = np.setdiff1d(rng.integers(0, 10_000, 20), list(items))
    else:
        ids = rng.choice(sorted(items), min(10, len(items)), replace=False)
    features = unit(rng, len(ids))
    values = features.astype(np.float16)[:, 0].tolist()
    if kind in ("add", "update"):
        items |= dict(zip(ids.tolist(), values, strict=True))
    elif kind == "remove":
        items = {id_: value for id_, value in items.items() if id_ not in ids}
    if index is None:
        return items
    if kind == "compact":
        index.compact()
    elif kind == "remove":
        index.remove(ids)
    else:
        getattr(index, kind)(features, ids)
    return items


def write_for_ever(folder, items, first, acknowledged):
    with Index.open(folder, writable=True) as index:
        for number in range(first, 10**9):
            items = change(index, items, number)
            acknowledged.send_bytes(b"%d" % number)


@pytest.mark.slow
def test_no_acknowledged_write_is_lost_when_the_writer_is_killed(folder):
    rng, items, number, n_lost_acks = np.random.default_rng(1), contents(folder), 0, 0
    for _ in range(N_KILLS):
        receive, send = CONTEXT.Pipe(duplex=False)
        writer = CONTEXT.Process(target=write_for_ever, args=(folder, items, number, send))
        writer.start()
        send.close()
        if receive.poll(30):  # it has opened the index and is at work
            time.sleep(rng.uniform(0, 0.03))
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        try:
            while True:
                acknowledged = int(receive.recv_bytes())
                assert acknowledged == number
                items, number = change(None, items, number), number + 1
        except EOFError:
            pass
        found = contents(folder)
        if found != items:  # the change under way was finished, though not acknowledged
            items, number, n_lost_acks = change(None, items, number), number + 1, n_lost_acks + 1
        assert found == items
    assert number >= N_KILLS
    with Index.open(folder, writable=True):
        pass
    assert len(list(folder.glob("*base-*"))) == 1  # drafts and old bases are cleared away


def _every_file(folder):
    return sorted(
        p.relative_to(folder)
        for p in folder.rglob("*")
        if p.is_file() and p.name not in ("writer.lock",) and p.stat().st_size
    )


FILES = [
    "index.json",
    "model.npz",
    "live.sqlite",
    "live.count",
    *(f"base-00000001/{n}.npy" for n in ("codes", "features", "ids", "offsets", "by_id")),
    "base-00000001/manifest.json",
]


def _with_changes(folder):
    with Index.open(folder, writable=True) as index:
        index.add(unit(np.random.default_rng(5), 50), np.arange(1000, 1050))


def test_the_list_of_files_is_complete(folder):
    assert sorted(map(str, _every_file(folder))) == sorted(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_refused(folder, name):
    _with_changes(folder)
    path = folder / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with (
        pytest.raises(InputError, match=r"damaged|truncated|checksum"),
        Index.open(folder) as index,
    ):
        index.verify()


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(folder, name):
    (folder / name).unlink()
    with pytest.raises(InputError, match=r"damaged|truncated|no index"):
        Index.open(folder)


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("live")])
def test_a_flipped_bit_is_found(folder, name):
    path = folder / name
    for place in np.random.default_rng(0).integers(path.stat().st_size, size=8):
        good = path.read_bytes()
        bad = bytearray(good)
        bad[place] ^= 4
        if json_equal(good, bad):
            continue  # a space of a JSON file
        path.write_bytes(bad)
        with pytest.raises(InputError, match=r"damaged|checksum|format"):
            Index.open(folder)
        path.write_bytes(good)
    Index.open(folder).close()


def json_equal(first, second):
    try:
        return json.loads(first) == json.loads(second)
    except ValueError:
        return False


def test_what_a_killed_writer_committed_is_seen_once_another_writes(folder, monkeypatch):
    feature = unit(np.random.default_rng(5), 1)
    with Index.open(folder) as reader:
        with monkeypatch.context() as killed:
            killed.setattr(Count, "rise", lambda _: None)  # between its commit and this
            with Index.open(folder, writable=True) as index:
                index.add(feature, np.array([1000]))
        assert 1000 not in reader.current().all_ids()  # nobody was told that it is there
        with Index.open(folder, writable=True):
            assert 1000 in reader.current().all_ids()


def test_as_many_changes_as_there_are_numbers_do_not_end_it(folder):
    (folder / "live.count").write_bytes(b"\xff" * 8)
    with Index.open(folder) as reader:
        _with_changes(folder)
        assert 1000 in reader.current().all_ids()


def test_a_flipped_bit_in_a_change_is_found(folder):
    features = unit(np.random.default_rng(5), 1)
    with Index.open(folder, writable=True) as index:
        index.add(features, np.array([1000]))
    path = folder / "live.sqlite"
    content = path.read_bytes()
    place = content.index(features.astype(np.float16).tobytes())
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.raises(InputError, match="damaged"):
        Index.open(folder)


def test_an_index_of_another_format_is_refused(folder):
    for name in ("index.json", "base-00000001/manifest.json"):
        good = (folder / name).read_text()
        content = json.loads(good)["content"] | {"format": 99}
        write_checked_json(folder / name, content)
        with pytest.raises(InputError, match="format 99"):
            Index.open(folder)
        (folder / name).write_text(good)
    old = json.loads(good)["content"] | {"format": 1}  # codes lay item by item
    write_checked_json(folder / name, old)
    with pytest.raises(InputError, match=r"format 1, not 2\. Build it again with this version"):
        Index.open(folder)


def test_no_index_is_no_index(tmp_path):
    with pytest.raises(InputError, match="no index here"):
        Index.open(tmp_path)


def test_a_second_writer_is_refused_until_the_first_has_gone(folder):
    with Index.open(folder, writable=True) as first:
        with pytest.raises(InputError, match="another writer"):
            Index.open(folder, writable=True)
        first.remove(np.array([3]))
    with Index.open(folder, writable=True) as second:
        second.remove(np.array([4]))
        assert len(second) == 98


def test_a_reader_does_not_write(folder):
    with Index.open(folder) as index:
        for call in (
            lambda: index.remove(np.array([3])),
            lambda: index.add(unit(np.random.default_rng(0), 1), np.array([1000])),
            index.compact,
        ):
            with pytest.raises(InputError, match="opened for reading"):
                call()


def _in_child(target, *args):
    """Run a function in a process of its own; raise what it raised."""
    receive, send = CONTEXT.Pipe(duplex=False)
    child = CONTEXT.Process(target=_report, args=(send, target, args))
    child.start()
    send.close()
    answer = receive.recv()
    child.join()
    if isinstance(answer, str):
        raise AssertionError(answer)


def _report(send, target, args):
    try:
        target(*args)
        send.send(None)
    except BaseException as error:
        send.send(f"{type(error).__name__}: {error}")


def _fill_the_disk(folder, what):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with Index.open(folder, writable=True) as index:
        before = len(index)
        rng = np.random.default_rng(7)
        n = 3000
        if what != "add":
            index.add(unit(rng, n), np.arange(10_000, 10_000 + n))
            before = len(index)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
        action = {
            "add": lambda: index.add(unit(rng, n), np.arange(10_000, 10_000 + n)),
            "compact": index.compact,
            "build": lambda: build_index(folder.with_name("other"), unit(rng, n)),
        }[what]
        with pytest.raises(InputError, match="Free some space"):
            action()
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        assert len(index) == before
        index.verify()
        index.remove(np.array([1]))  # and once there is room, all goes on
        index.compact()
        assert len(index) == before - 1


@pytest.mark.parametrize("what", ["add", "compact", "build"])
def test_a_full_disk_is_an_error_and_loses_nothing(folder, what):
    _in_child(_fill_the_disk, folder, what)
    assert not folder.with_name("other").exists()
    assert not list(folder.glob(".base-*"))
    assert contents(folder)


def _become_nobody(folder):
    """Files that are read-only are so for all but root."""
    kernel(read_model(folder)[0])  # Python imports from where root alone may read
    if os.getuid() == 0:
        os.setgid(65534)
        os.setuid(65534)


def _read_only(folder):
    _become_nobody(folder)
    with Index.open(folder) as index:
        assert len(index) == 150
        assert len(index.search_one(unit(np.random.default_rng(0), 1)[0], 10).ids) == 10
        index.verify()
    with pytest.raises(InputError, match="read-only"):
        Index.open(folder, writable=True)


def _unclean_and_read_only(folder):
    _become_nobody(folder)
    with pytest.raises(InputError, match="not closed"):
        Index.open(folder)


@pytest.fixture
def published(folder, tmp_path_factory):
    """The folder, with changes, where another user may read it and nobody may write."""
    _with_changes(folder)
    place = tmp_path_factory.mktemp("published") / "index"
    shutil.copytree(folder, place)
    for parent in [place, *place.parents][:-2]:
        parent.chmod(0o755)
    yield place
    for path in (place, *place.rglob("*")):
        path.chmod(0o755)


def _forbid_writing(place):
    for path in (place, *place.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)


def test_an_index_on_read_only_media_is_searched_and_not_written(published):
    _forbid_writing(published)
    _in_child(_read_only, published)


def test_changes_that_cannot_be_read_are_not_passed_over(published):
    with Index.open(published, writable=True) as index:
        index.remove(np.array([3]))
        copy = published.with_name("copy")
        shutil.copytree(published, copy)  # with its write-ahead log, as a crash leaves it
    (copy / "live.sqlite-shm").unlink()
    _forbid_writing(copy)
    _in_child(_unclean_and_read_only, copy)


def test_bits_of_format_are_what_the_docs_say(folder):
    codes = np.load(folder / "base-00000001" / "codes.npy")
    features = np.load(folder / "base-00000001" / "features.npy")
    assert (codes.dtype, codes.shape) == (np.uint64, (2, 100))  # a code, and two factors
    assert (features.dtype, features.shape) == (np.float16, (100, DIM))
