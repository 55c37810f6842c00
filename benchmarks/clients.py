"""A service in a process of its own, and clients that ask it, for `load.py`."""

from __future__ import annotations

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
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from hostile import form, picture, request, send, send_all

import vsa
from vsa.serve.writes import kept_pictures

SEARCHES = ("search",)
MIX = (  # ten requests: one search in five, rows and pictures of what was found, a health check
    *("search", "row", "thumbnail", "row", "thumbnail"),
    *("search", "row", "thumbnail", "row", "health"),
)
_EVERY_S = 5.0  # between two looks at the memory
_TOKEN = secrets.token_hex(32)
_HEADS = {
    "search": "POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n",
    "row": "GET /v1/items/{item} HTTP/1.1\r\nHost: localhost\r\n",
    "thumbnail": "GET /v1/items/{item}/picture HTTP/1.1\r\nHost: localhost\r\n",
    "health": "GET /readyz HTTP/1.1\r\nHost: localhost\r\n",
}


def percentiles(seconds: list[float]) -> dict[str, float]:
    found = np.percentile(1e3 * np.array(seconds), (50, 95, 99))
    return dict(zip(("p50_ms", "p95_ms", "p99_ms"), found.round(2).tolist(), strict=True))


@dataclass
class Service:
    """A running service, in a process of its own."""

    process: subprocess.Popen
    url: str
    start_s: float  # from the call to the first answer that it is ready

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
        assert httpx.get(f"{url}/readyz").status_code == 200
        yield Service(process, url, time.perf_counter() - started)
    finally:
        process.kill()
        process.wait()


# Many clients --------------------------------------------------------------------------------


@dataclass
class Load:
    """Clients that ask without a pause, and one that writes now and then."""

    service: Service
    photos: list[bytes]
    n_items: int  # called item-0, item-1, …
    n_clients: int
    acknowledged: set[str] = field(default_factory=set)

    async def run(self, kinds: tuple[str, ...], is_over: Callable[[float, int], bool]) -> dict:
        """All clients ask so, kind after kind, until it is over: after seconds and requests."""
        self.statuses: Counter = Counter()
        self.times: dict[str, list[float]] = defaultdict(list)
        await self._ask(kinds, lambda: self.statuses.total() >= 20 * self.n_clients)  # warm
        memory = [self.service.rss_mb()]
        self.statuses.clear()
        self.times.clear()
        before = self.service.core_s(), _own_core_s()
        started = time.perf_counter()

        def has_ended() -> bool:
            spent = time.perf_counter() - started
            if spent > _EVERY_S * len(memory):
                memory.append(self.service.rss_mb())
            return is_over(spent, self.statuses.total())

        await self._ask(kinds, has_ended)
        wall = time.perf_counter() - started
        cores, own = self.service.core_s() - before[0], _own_core_s() - before[1]
        n = len(self.times["search"])
        return {
            "seconds": round(wall, 1),
            "requests": self.statuses.total(),
            "photos": n,
            "photos_per_s": round(n / wall, 2),
            **percentiles(self.times["search"]),
            "others": {
                kind: {"n": len(times), **percentiles(times)}
                for kind, times in sorted(self.times.items())
                if kind != "search"
            },
            "statuses": dict(sorted(self.statuses.items())),
            "core_s_per_photo": round(cores / n, 5),
            "cores_of_service": round(cores / wall, 2),
            "cores_of_clients": round(own / wall, 2),
            "memory_mb": _told_of(memory),
            "writes_acknowledged": len(self.acknowledged),
        }

    async def _ask(self, kinds: tuple[str, ...], is_over: Callable[[], bool]) -> None:
        clients = (self._client(number, kinds, is_over) for number in range(self.n_clients))
        await asyncio.gather(*clients, self._write(is_over))

    async def _client(self, first: int, kinds: tuple[str, ...], is_over: Callable) -> None:
        """One after the other over one connection, in as little time of a core as can be."""
        reader, writer = await asyncio.open_connection(*self.service.address)
        rng = np.random.default_rng(first)
        number = first
        while not is_over():
            kind = kinds[number % len(kinds)]
            photo = self.photos[rng.integers(len(self.photos))]
            body = photo if kind == "search" else b""
            number += 1
            head = _HEADS[kind].format(item=f"item-{rng.integers(self.n_items)}")
            started = time.perf_counter()
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            told = await reader.readuntil(b"\r\n\r\n")
            status = int(told.split(maxsplit=2)[1])
            length = int(re.search(rb"(?i)content-length: (\d+)", told)[1])
            await reader.readexactly(length)
            self.statuses[str(status)] += 1
            if status == 200:
                self.times[kind].append(time.perf_counter() - started)
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
            try:
                status, _ = await send(*self.service.address, raw)
            except TimeoutError:
                status = None
            self.statuses[f"PUT {status or 'unanswered'}"] += 1
            if status == 200:
                self.acknowledged.add(name)
            await asyncio.sleep(1)


def _told_of(memory_mb: list[float]) -> dict[str, float]:
    """In the first minute, in the last, and the least and the most of it."""
    first, last = (float(np.median(some)) for some in (memory_mb[:12], memory_mb[-12:]))
    found = {"first": first, "last": last, "least": min(memory_mb), "most": max(memory_mb)}
    return {name: round(value, 1) for name, value in found.items()}


def _own_core_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


# Hostile ones, and the end -------------------------------------------------------------------


def hostile_ones(service: Service, n: int) -> dict[str, Any]:
    """How hostile requests were answered, and what they left behind."""
    asyncio.run(send_all(*service.address, 500, seed=1))  # the largest that it holds at a time
    time.sleep(3)
    before = service.rss_mb(), service.n_files()
    started = time.perf_counter()
    counts = asyncio.run(send_all(*service.address, n))
    seconds = time.perf_counter() - started
    time.sleep(3)
    assert httpx.get(f"{service.url}/healthz").status_code == 200
    return {
        "seconds": round(seconds, 1),
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
        if there:
            engine.remove(sorted(there))
            engine.compact()
        shutil.rmtree(kept_pictures(engine), ignore_errors=True)
    return {
        "exit_status": status,
        "seconds": round(seconds, 2),
        "acknowledged": len(acknowledged),
        "lost": len(acknowledged - there),
    }
