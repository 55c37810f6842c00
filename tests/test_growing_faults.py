"""Changes of an engine that are cut off: by kill -9, by a full disk, at each of their steps.

VSA_KILLS=200 kills as often in each of the two tests that kill for real.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import time
from contextlib import closing
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from faults import fail_at, left_by_kills, steps_of
from small_engine import N_ITEMS, NAMES, small_catalogue, small_shop
from test_growing import new_rows

from vsa.category.selection import Prints
from vsa.data.schema import BOX
from vsa.engine import Stages, VisualSearch
from vsa.growing import put_rows, remove
from vsa.row_files import FOLDER
from vsa.runtime.errors import InputError
from vsa.store import Store

N_KILLS = int(os.environ.get("VSA_KILLS", "40"))
N_KILLS_OF_ENGINES = int(os.environ.get("VSA_KILLS", "2"))
DIM, REFERENCE_DIM = 128, 8
KINDS = {"add": 0.35, "update": 0.25, "remove": 0.25, "compact": 0.15}  # how often of each
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["vsa.offline", "pytest", "faults", __name__])
ALL = Stages(category=False, box=False, rerank=False)


@pytest.fixture(scope="module", autouse=True)
def _server():
    """The process that children are copies of, where it finds this file: none has to read it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
        forkserver.ensure_running()
        yield


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return small_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def folder(shop, in_memory):
    return shutil.copytree(shop.folder, in_memory / "engine")


# What is there ---------------------------------------------------------------------------------


def rows_of(names: list[str], seed: int) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, Prints]:
    """Rows, features, references and prints; a row's price is in its feature and reference."""
    rng = np.random.default_rng(seed)
    n = len(names)
    features = rng.standard_normal((n, DIM)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    features = features.astype(np.float16)
    table = small_catalogue().iloc[np.zeros(n, int)].drop(columns=BOX)
    table = table.assign(
        image_id=names,
        category=rng.choice(NAMES, n),
        price=features[:, 0].astype(float),
    )
    prints = Prints(
        np.ones(n),
        np.ones(n),
        rng.integers(0, 256, (n, 16), np.uint8),
        rng.integers(0, 256, (n, 8), np.uint8),
        np.ones((n, 320), np.float32),
    )
    references = np.tile(table.price.to_numpy(np.float32)[:, None], (1, REFERENCE_DIM))
    return table.reset_index(drop=True), features, references, prints


def contents(folder: Path) -> dict[str, float]:
    """image_id → price, which rows, index and references agree on."""
    with Store(folder) as store:
        store.verify()
        state = store.current()
        table = state.rows.table.to_pandas()
        items = state.rows.items
        view = state.view
        of_item = dict(zip(view.base.ids.tolist(), view.base.features[:, 0], strict=True))
        of_item |= {int(i): view.features[view.place[int(i)], 0] for i in view.ids[~view.dead]}
        added = ~table.image_id.str.fullmatch(r"i\d+") | (table.price < 1)
        prices = table.price[added].to_numpy()
        assert prices.tolist() == [float(of_item[item]) for item in items[added]]
        references = state.rows.references()
        if references is None:
            assert not added.any()
        else:
            assert references[0].id.tolist() == table.image_id[added].tolist()
            assert references[1][:, 0].tolist() == prices.astype(np.float32).tolist()
        return dict(zip(table.image_id, table.price, strict=True))


def change(store: Store | None, items: dict[str, float], seed: int) -> dict[str, float]:
    """One random change of a store; returns what the items are after it."""
    rng = np.random.default_rng(seed)
    kind = rng.choice([*KINDS], p=[*KINDS.values()])
    items, n = dict(items), int(rng.integers(1, 8))
    if kind == "add":
        names = [f"new-{seed}-{number}" for number in range(n)]
    else:
        names = rng.choice(sorted(items), min(n, len(items)), replace=False).tolist()
    made = rows_of(names, seed)
    if kind in ("add", "update"):
        items |= dict(zip(names, made[0].price, strict=True))
    elif kind == "remove":
        items = {name: price for name, price in items.items() if name not in names}
    if store is None:
        return items
    if kind == "compact":
        store.compact()
    elif kind == "remove":
        remove(store, names)
    else:
        with store.writing() as state:
            there = state.rows.find(names)
            assert len(there) == (len(names) if kind == "update" else 0)
            table, features, references, prints = made
            put_rows(store, state, table, features, there, references, prints)
    return items


# kill -9 ---------------------------------------------------------------------------------------


def write_for_ever(folder, items, first, acknowledged):
    with Store(folder) as store:
        for number in range(first, 10**9):
            items = change(store, items, number)
            acknowledged.send_bytes(b"%d" % number)


def killed(target, arguments, rng, patience_s):
    """Let a process be killed at work; the numbers that it had acknowledged."""
    receive, send = CONTEXT.Pipe(duplex=False)
    writer = CONTEXT.Process(target=target, args=(*arguments, send))
    writer.start()
    send.close()
    if receive.poll(60):  # it has opened the engine and is at work
        time.sleep(rng.uniform(0, patience_s))
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    numbers = []
    try:
        while True:
            numbers.append(int(receive.recv_bytes()))
    except EOFError:
        return numbers


@pytest.mark.slow
def test_no_acknowledged_change_is_lost_when_the_writer_is_killed(folder):
    rng, items, number, n_lost_acks = np.random.default_rng(1), contents(folder), 0, 0
    with Store(folder) as reader:
        for _ in range(N_KILLS):
            for acknowledged in killed(write_for_ever, (folder, items, number), rng, 0.1):
                assert acknowledged == number
                items, number = change(None, items, number), number + 1
            found = contents(folder)
            if found != items:  # the change under way was finished, though not acknowledged
                items, number = change(None, items, number), number + 1
                n_lost_acks += 1
            assert found == items
            # who has been reading all the while sees the same
            seen = reader.current().rows.table
            prices = zip(seen["image_id"].to_pylist(), seen["price"].to_pylist(), strict=True)
            assert dict(prices) == items
    assert number >= N_KILLS
    with Store(folder) as store:
        store.compact()
    assert len(list((folder / FOLDER).iterdir())) == 1  # drafts and old parts are cleared away
    assert contents(folder) == items


def add_for_ever(folder, tables, acknowledged):
    with closing(VisualSearch.open(folder)) as engine:
        there = set(engine.catalogue["image_id"].to_pylist())
        for number, table in enumerate(tables):
            if table.image_id[0] not in there:
                engine.add(table)
            acknowledged.send_bytes(b"%d" % number)
        time.sleep(60)


def test_a_product_that_was_added_is_found_after_a_kill(shop, folder):
    """The whole way: pictures are selected and described, then the process is killed."""
    made = [new_rows(shop.folder.parent, seed=500 + number) for number in range(60)]
    rng, tables = np.random.default_rng(2), [table for table, _ in made]
    for _ in range(N_KILLS_OF_ENGINES):
        done = killed(add_for_ever, (folder, tables), rng, 1.0)
        assert done
        with closing(VisualSearch.open(folder)) as engine:
            engine.verify()
            for table, pictures in (made[number] for number in done[-2:]):
                page = engine.search(pictures_file(shop, table), 1, stages=ALL).results
                assert page.image_id[0] == table.image_id[0]
                assert len(pictures) == 1


def pictures_file(shop, table):
    return shop.folder.parent / table.path[0]


# Each step -------------------------------------------------------------------------------------


def prepared(folder: Path) -> dict[str, float]:
    """An engine with changes upon what was built."""
    items = contents(folder)
    with Store(folder) as store:
        for kind in ("add", "update", "remove"):
            items = change(store, items, seed_of(kind))
    return items


def act(folder: Path, items: dict[str, float], seed: int) -> None:
    with Store(folder) as store:
        change(store, items, seed)


def seed_of(kind: str, first: int = 0) -> int:
    """The first seed of a change of that kind."""
    seeds = range(first, first + 100)
    kinds = {
        seed: np.random.default_rng(seed).choice([*KINDS], p=[*KINDS.values()]) for seed in seeds
    }
    return next(seed for seed in seeds if kinds[seed] == kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kill_at_any_step_leaves_the_old_or_the_new(folder, in_memory, kind):
    before, seed = prepared(folder), seed_of(kind, 100)
    after = change(None, before, seed)
    left = left_by_kills(lambda: act(folder, before, seed), folder, in_memory / "left")
    assert contents(folder) == after
    assert len(left) >= 5
    seen = set()
    for copy in dict.fromkeys(left):
        found = contents(copy)
        assert found in (before, after)
        seen.add(found == after)
        if found == before:
            act(copy, before, seed)  # it can be done then
        assert contents(copy) == after
    assert kind == "compact" or False in seen


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_at_any_step_is_told_and_leaves_the_old_or_the_new(folder, in_memory, kind):
    before, seed = prepared(folder), seed_of(kind, 100)
    after = change(None, before, seed)
    kept = shutil.copytree(folder, in_memory / "kept")
    steps = steps_of(lambda: act(folder, before, seed))
    assert steps
    for number in range(len(steps)):
        copy = shutil.copytree(kept, in_memory / f"{number}")
        fail_at(number, lambda copy=copy: act(copy, before, seed))
        found = contents(copy)
        assert found in (before, after), steps[number]
        if found == before:
            act(copy, before, seed)
        assert contents(copy) == after
        shutil.rmtree(copy)


def _fill_the_disk(folder, items, seed, answer):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with Store(folder) as store:
        for size in (0, 200, 4_000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
            try:
                change(store, items, seed)
                told = "nothing"
            except InputError as error:
                told = str(error)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            answer.send(told)
        change(store, items, seed)  # once there is room, all goes on
    answer.send("done")


def test_a_disk_that_is_full_is_told_with_the_cure(folder):
    before, seed = prepared(folder), seed_of("add", 100)
    receive, send = CONTEXT.Pipe(duplex=False)
    child = CONTEXT.Process(target=_fill_the_disk, args=(folder, before, seed, send))
    child.start()
    send.close()
    told = [receive.recv() for _ in range(4)]
    child.join()
    assert all("Free some space" in text for text in told[:3]), told
    assert told[3] == "done"
    assert contents(folder) == change(None, before, seed)


def test_a_disk_that_is_full_leaves_no_draft(folder, monkeypatch):
    before = contents(folder)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("vsa.row_files.flush", full)
    with Store(folder) as store, pytest.raises(InputError, match="what was there before is untou"):
        change(store, before, seed_of("add", 100))
    monkeypatch.undo()
    assert len(list((folder / FOLDER).iterdir())) == 1
    assert contents(folder) == before
    assert len(before) == N_ITEMS
