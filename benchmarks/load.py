"""What a service takes: `make load`. One client, many, hostile ones, and writes among all of them.

    python benchmarks/load.py --items 1000000 --clients 64 --minutes 5 --requests 100000

Everything is measured in one run, on one machine: the engine by itself, photo after photo, and the
same engine behind HTTP. All clients do what shoppers do (`MIX` in clients.py) for a minute, so that
what each kind of request needs when it first comes, as threads, is there. Then they search by
photo, without a pause, for some minutes, and do the mix again, until there were so many requests in
all or the time is up, which is told. The clients take their part of the cores, which is told, too.
Figures go to ``reports/benchmarks.json``; the engine is kept among working files for the next run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import growing
from clients import MIX, SEARCHES, Load, Service, hostile_ones, percentiles, serving, stopped
from record import record

import vsa
from vsa.runtime.paths import artifacts_dir
from vsa.study.simulate.clicks import with_clicks

N_ALONE = 400  # photos, one after the other
_WARM, _WARM_S = "service, a mix to begin with", 60.0
_LIMITS = ("body_s=2", "head_s=2")  # so that clients that hang do not take all day


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--minutes", type=float, default=5.0, help="of searches alone")
    parser.add_argument("--requests", type=int, default=100_000, help="in all, with those")
    parser.add_argument(
        "--within", type=float, default=10.0, help="minutes for the others, at most"
    )
    parser.add_argument("--hostile", type=int, default=10_000)
    parser.add_argument("--limit", action="append", default=[], help="as of vsa serve")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # which ends the service, too
    folder, photos = prepared(asked.items)
    results = Results()
    results["engine, one client"] = alone_in_process(folder, photos)
    with serving(folder, [*_LIMITS, *asked.limit]) as service:
        results["service, start"] = {"seconds": service.start_s}
        results["service, one client"] = one_client(service, photos)
        load = Load(service, photos, asked.items, asked.clients)
        results[_WARM] = asyncio.run(load.run(MIX, lambda seconds, n: seconds >= _WARM_S))
        searching = f"service, {asked.clients} clients that search"
        results[searching] = asyncio.run(
            load.run(SEARCHES, lambda seconds, n: seconds >= 60 * asked.minutes)
        )
        left = asked.requests - results[searching]["requests"]
        shopping = f"service, {asked.clients} clients in a mix, {asked.requests:,} requests in all"
        results[shopping] = asyncio.run(
            load.run(MIX, lambda seconds, n: n >= left or seconds >= 60 * asked.within)
        )
        results["service, hostile requests"] = hostile_ones(service, asked.hostile)
        results["service, end"] = stopped(service, load.acknowledged, folder)
    results["targets"] = targets(results, searching, shopping)
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


def one_client(service: Service, photos: list[bytes]) -> dict[str, float]:
    """The same photos over HTTP, on one connection of the client that costs least itself."""
    kind = {"Content-Type": "image/png"}
    with closing(HTTPConnection(*service.address, timeout=30)) as client:

        def ask(number: int) -> None:
            client.request("POST", "/v1/search", photos[number % len(photos)], kind)
            answer = client.getresponse()
            told = answer.read()
            assert answer.status == 200, told

        for number in range(32):
            ask(number)
        return percentiles([growing.timed(lambda n=n: ask(n)) for n in range(N_ALONE)])


def targets(results: dict[str, Any], searching: str, shopping: str) -> dict[str, Any]:
    """What was to be reached, and how far it was."""
    engine, one = results["engine, one client"], results["service, one client"]
    many, mixed = results[searching], results[shopping]
    first, last = (part["memory_mb"]["last"] for part in (results[_WARM], mixed))
    could = len(os.sched_getaffinity(0)) / engine["core_s_per_photo"]
    statuses = set(many["statuses"]) | set(mixed["statuses"])
    good = {
        "p95 over HTTP − engine's, ≤ 5 ms": one["p95_ms"] - engine["p95_ms"],
        "photos/s ÷ (cores ÷ core-seconds per photo), ≥ 0.85": many["photos_per_s"] / could,
        "p99 ÷ p50 of searches, ≤ 10": max(
            part["p99_ms"] / part["p50_ms"] for part in (many, mixed)
        ),
        "memory growth since all kinds of requests came, ± 0.05": last / first - 1,
        "requests in all": many["requests"] + mixed["requests"],
        "kinds of errors but 429 and 503, 0": len(
            statuses - {"200", "429", "503", "PUT 200", "PUT 429", "PUT 503"}
        ),
        "start, ≤ 5 s": results["service, start"]["seconds"],
        "lost, 0": results["service, end"]["lost"],
    }
    return {name: round(float(value), 3) for name, value in good.items()}


if __name__ == "__main__":
    main()
