from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from vsa.data.files import in_threads

RENDER = """
from pathlib import Path
from vsa.study.simulate.synthetic.shop import render_shop
folder = Path({folder!r})
folder.mkdir()
print(len(render_shop(1, 32, 0, folder, n_workers=2)[1]))
"""
SEARCH_AND_WRITE = """
from pathlib import Path
import numpy as np
from vsa.index.build import build_index
from vsa.study.index.traffic import update_traffic
features = np.eye(64, dtype=np.float32)
folder = Path({folder!r})
build_index(folder, features, n_bits=64)
print(len(update_traffic(folder, features, features, 0.1, (0.0, float("inf")))))
"""
DIE = """
import multiprocessing, os, signal
from concurrent.futures import ProcessPoolExecutor
from vsa.runtime.workers import end_with_parent, without_main
pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), end_with_parent)
with without_main():
    worker = pool.submit(os.getpid)
print(worker.result(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["script", "standard input"])
def test_workers_need_no_guard_and_no_file(tmp_path, how):
    codes = [RENDER.format(folder=str(tmp_path / "shop"))]
    codes.append(SEARCH_AND_WRITE.format(folder=str(tmp_path / "index")))
    source, script = "print('once')\n" + "\n".join(codes), tmp_path / "script.py"
    script.write_text(source)
    command = [sys.executable, str(script) if how == "script" else "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    assert done.stdout.split() == ["once", "42", "2"]


def test_workers_end_when_who_started_them_is_killed():
    done = subprocess.run([sys.executable, "-c", DIE], stdout=subprocess.PIPE, text=True)
    worker = int(done.stdout)
    end = time.monotonic() + 20
    while is_running(worker):
        assert time.monotonic() < end, f"worker {worker} lives on"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    if stat.exists():
        return stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priorities of their own")
def test_threads_that_stand_aside_are_nicer_than_whoever_waits_for_them():
    def niceness(_: str) -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = niceness("")
    assert set(in_threads(niceness, ["a"] * 5, "ask", aside=True)) == {min(before + 10, 19)}
    assert set(in_threads(niceness, ["a"] * 5, "ask")) == {before}
    assert niceness("") == before
