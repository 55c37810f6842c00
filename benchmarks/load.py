"""What a service takes: `make load`. One client, many, hostile ones, and writes among all of them.

    python benchmarks/load.py --items 1000000 --clients 64 --minutes 5 --requests 100000

Everything is measured in one run, on one machine: the engine by itself, photo after photo, and the
same engine behind HTTP. The clients take their part of the cores, which is told. Figures go to
``reports/benchmarks.json``; the engine is kept among working files for the next run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import growing
import httpx
import numpy as np
from hostile import form, picture, request, send, send_all
from record import record

import vsa
from vsa.runtime.paths import artifacts_dir
from vsa.serve.writes import kept_pictures
from vsa.study.simulate.clicks import with_clicks

N_ALONE = 400  # photos, one after the other
_LIMITS = ("body_s=2", "head_s=2")  # so that clients that hang do not take all day
_TOKEN = secrets.token_hex(32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--requests", type=int, default=100_000, help="in all, after the minutes")
    parser.add_argument("--hostile", type=int, default=10_000)
    parser.add_argument("--limit", action="append", default=[], help="as of vsa serve")
    asked = parser.parse_args()
    folder, photos = prepared(asked.items)
    results = Results()
    results["engine, one client"] = alone_in_process(folder, photos)
    with serving(folder, [*_LIMITS, *asked.limit]) as service:
        results["service, start"] = {"seconds": service.start_s}
        results["service, one client"] = one_client(service, photos)
        load = Load(service, photos, asked.clients)
        name = f"service, {asked.clients} clients"
        results[name] = asyncio.run(load.run(60 * asked.minutes, 0))
        results[f"{name}, {asked.requests:,} requests"] = asyncio.run(load.run(0, asked.requests))
        results["service, hostile requests"] = hostile_ones(service, asked.hostile)
        results["service, end"] = stopped(service, load.acknowledged, folder)
    results["targets"] = targets(results, asked.clients)
    record(dict(results), "service")


class Results(dict[str, Any]):
    """Figures by part, told as they come."""

    def __setitem__(self, part: str, figures: Any) -> None:
        super().__setitem__(part, figures)
        print(f"{part}: {figures}", flush=True)


def prepared(n_items: int) -> tuple[Path, list[bytes]]:
    """An engine of so many items, made once, and photos to ask with."""
    shop = vsa.load_dataset("synthetic", settings={"n_products_per_category": 30})
    folder = artifacts_dir() / "load" / f"{n_items}.engine"
    if not folder.is_dir():
        model = vsa.train(
            with_clicks(shop),
            backbone="googlenet",
            pretrained=False,
            joint_only=True,
            settings=growing.STEPS,
        )
        growing.grow(shop, model, folder, n_items)
    return folder, [(shop.root / path).read_bytes() for path in shop.queries.path[:256]]


def alone_in_process(folder: Path, photos: list[bytes]) -> dict[str, float]:
    """The engine by itself: how long a photo takes, and of how many cores."""
    with vsa.VisualSearch.open(folder) as engine:
        for photo in photos[:32]:
            engine.search(photo)
        before, times = time.process_time(), []
        for number in range(N_ALONE):
            times.append(growing.timed(lambda n=number: engine.search(photos[n % len(photos)])))
        spent = time.process_time() - before
    return percentiles(times) | {"core_s_per_photo": spent / N_ALONE}


def percentiles(seconds: list[float]) -> dict[str, float]:
    found = np.percentile(1e3 * np.array(seconds), (50, 95, 99))
    return dict(zip(("p50_ms", "p95_ms", "p99_ms"), found.round(2).tolist(), strict=True))


# The service ---------------------------------------------------------------------------------


@dataclass
class Service:
    """A running service, in a process of its own."""

    process: subprocess.Popen
    url: str
    start_s: float

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    def rss_mb(self) -> float:
        """Memory that is its own, without what is mapped from files."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+) kB", text)[1]) / 1e3

    def n_files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def core_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(folder: Path, limits: list[str]):
    command = [sys.executable, "-m", "vsa.cli", "serve", str(folder), "--port", "0"]
    for limit in limits:
        command += ["--limit", limit]
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"VSA_TOKEN": _TOKEN},
    )
    try:
        url = re.search(r"http://\S+", process.stdout.readline())[0]
        yield Service(process, url, time.perf_counter() - started)
    finally:
        process.kill()
        process.wait()


def one_client(service: Service, photos: list[bytes]) -> dict[str, float]:
    with httpx.Client(timeout=30) as client:

        def ask(number: int) -> None:
            answer = client.post(f"{service.url}/v1/search", content=photos[number % len(photos)])
            assert answer.status_code == 200, answer.text

        for number in range(32):
            ask(number)
        return percentiles([growing.timed(lambda n=n: ask(n)) for n in range(N_ALONE)])


# Many clients --------------------------------------------------------------------------------


@dataclass
class Load:
    """Clients that ask without a pause, and one that writes now and then."""

    service: Service
    photos: list[bytes]
    n_clients: int
    acknowledged: set[str] = field(default_factory=set)

    async def run(self, seconds: float, n_requests: int) -> dict[str, Any]:
        """For so long, or until so many were answered, whichever takes longer."""
        self.statuses: Counter = Counter()
        self.times: list[float] = []
        await self._until(lambda: len(self.times) >= 20 * self.n_clients)  # warm
        memory = [self.service.rss_mb()]
        self.statuses.clear()
        self.times.clear()
        before = self.service.core_s(), _own_core_s()
        started = time.perf_counter()

        def is_over() -> bool:
            spent = time.perf_counter() - started
            if spent > 10 * len(memory):
                memory.append(self.service.rss_mb())
            return spent >= seconds and sum(self.statuses.values()) >= n_requests

        await asyncio.gather(self._until(is_over), self._write(is_over))
        wall = time.perf_counter() - started
        cores, own = self.service.core_s() - before[0], _own_core_s() - before[1]
        n = len(self.times)
        return {
            "photos": n,
            "photos_per_s": round(n / wall, 2),
            **percentiles(self.times),
            "statuses": dict(sorted(self.statuses.items())),
            "core_s_per_photo": round(cores / n, 5),
            "cores_of_service": round(cores / wall, 2),
            "cores_of_clients": round(own / wall, 2),
            "memory_mb": [round(min(memory), 1), round(max(memory), 1)],
            "memory_growth": round(memory[-1] / memory[0] - 1, 4),
            "writes_acknowledged": len(self.acknowledged),
        }

    async def _until(self, is_over: Callable[[], bool]) -> None:
        await asyncio.gather(*(self._client(n, is_over) for n in range(self.n_clients)))

    async def _client(self, number: int, is_over: Callable[[], bool]) -> None:
        """One after the other over one connection, in as little time of a core as can be."""
        reader, writer = await asyncio.open_connection(*self.service.address)
        while not is_over():
            photo = self.photos[number % len(self.photos)]
            number += self.n_clients
            head = (
                "POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
                f"Content-Length: {len(photo)}\r\n\r\n"
            )
            started = time.perf_counter()
            writer.write(head.encode() + photo)
            told = await reader.readuntil(b"\r\n\r\n")
            status = int(told.split(maxsplit=2)[1])
            length = int(re.search(rb"(?i)content-length: (\d+)", told)[1])
            await reader.readexactly(length)
            self.statuses[str(status)] += 1
            if status == 200:
                self.times.append(time.perf_counter() - started)
            else:
                await asyncio.sleep(0.5)  # as it was told to
        writer.close()

    async def _write(self, is_over: Callable[[], bool]) -> None:
        rng = np.random.default_rng(len(self.acknowledged))
        while not is_over():
            name = f"joined-{len(self.acknowledged)}-{rng.integers(10**9)}"
            row = [{"image_id": name, "path": "a.png", "product_id": name, "category": "shirt"}]
            parts = [
                ('name="table"', json.dumps(row).encode()),
                ('name="files"; filename="a.png"', picture(rng)),
            ]
            kind = "multipart/form-data; boundary=x"
            raw = request(
                "PUT",
                "/v1/items?select=false",
                form(parts),
                Content_Type=kind,
                Authorization=f"Bearer {_TOKEN}",
            )
            status, _ = await send(*self.service.address, raw)
            self.statuses[f"PUT {status}"] += 1
            if status == 200:
                self.acknowledged.add(name)
            await asyncio.sleep(1)


def _own_core_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def hostile_ones(service: Service, n: int) -> dict[str, Any]:
    """How hostile requests were answered, and what they left behind."""
    asyncio.run(send_all(*service.address, 500, seed=1))  # the largest that it holds at a time
    time.sleep(3)
    before = service.rss_mb(), service.n_files()
    counts = asyncio.run(send_all(*service.address, n))
    time.sleep(3)
    assert httpx.get(f"{service.url}/healthz").status_code == 200
    return {
        "answers": {str(status): count for status, count in counts.items()},
        "memory_mb": [round(before[0], 1), round(service.rss_mb(), 1)],
        "open_files": [before[1], service.n_files()],
    }


def stopped(service: Service, acknowledged: set[str], folder: Path) -> dict[str, Any]:
    """How it ended, and whether all that it acknowledged is there; then it is taken out again."""
    started = time.perf_counter()
    service.process.send_signal(signal.SIGTERM)
    status = service.process.wait(60)
    seconds = time.perf_counter() - started
    with vsa.VisualSearch.open(folder) as engine:
        there = set(engine.store.current().rows.find(sorted(acknowledged)))
        engine.remove(sorted(there))
        engine.compact()
        shutil.rmtree(kept_pictures(engine), ignore_errors=True)
    return {
        "exit_status": status,
        "seconds": round(seconds, 2),
        "acknowledged": len(acknowledged),
        "lost": len(acknowledged - there),
    }


def targets(results: dict[str, Any], n_clients: int) -> dict[str, Any]:
    """What was to be reached, and whether it was."""
    engine, one = results["engine, one client"], results["service, one client"]
    many = results[f"service, {n_clients} clients"]
    could = len(os.sched_getaffinity(0)) / engine["core_s_per_photo"]
    good = {
        "p95 over HTTP − engine's, ≤ 5 ms": one["p95_ms"] - engine["p95_ms"],
        "photos/s ÷ (cores ÷ core-seconds per photo), ≥ 0.85": many["photos_per_s"] / could,
        "p99 ÷ p50, ≤ 10": many["p99_ms"] / many["p50_ms"],
        "memory growth, ± 0.05": many["memory_growth"],
        "start, ≤ 5 s": results["service, start"]["seconds"],
        "lost, 0": results["service, end"]["lost"],
    }
    return {name: round(float(value), 3) for name, value in good.items()}


if __name__ == "__main__":
    main()
