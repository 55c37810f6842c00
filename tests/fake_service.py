"""A service for the search page that answers what it is told, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from PIL import Image

from vsa.serve.app import PAGE

LEARNED = [0.2, 0.1, 0.7, 0.8]
OTHERS = [[0.6, 0.5, 0.9, 0.95], [0.05, 0.55, 0.3, 0.9]]
N_RESULTS = 20


class FakeService:
    """`asked` has the form of each search, its photo as bytes; `script` what comes next.

    A behaviour is a status (with a problem), or seconds to wait before the usual answer.
    """

    def __init__(self, picture: Callable[[str, int], bytes]) -> None:
        self.asked: list[dict[str, Any]] = []
        self.script: list[int | float] = []
        self.url = ""
        self.app = FastAPI()
        self.app.get("/v1/info")(_info)
        self.app.post("/v1/search")(self._search)

        @self.app.get("/v1/items/{image_id}/picture")
        def thumbnail(image_id: str, size: int = 256) -> Response:
            if image_id == "i2":
                return _problem(404, "the picture of i2 is gone", "Add it again")
            return Response(picture(image_id, size), media_type="image/jpeg")

        self.app.mount("/", StaticFiles(directory=PAGE, html=True))

    async def _search(self, request: Request) -> Response:
        form = dict(await request.form())
        self.asked.append(form | {"photo": await form["photo"].read()})  # type: ignore[union-attr]
        behaviour = self.script.pop(0) if self.script else 0.0
        if isinstance(behaviour, int):
            words = {
                400: ("the photo is not an image", "Give a JPEG or a PNG"),
                429: ("too many searches wait", "Ask again later"),
                500: ("<b>broken</b>", "Tell whoever runs it"),
            }
            return _problem(behaviour, *words[behaviour])
        number = len(self.asked)
        if behaviour:
            await asyncio.sleep(behaviour)
        return JSONResponse(_answer(form, number))


def _info() -> dict[str, Any]:
    return {
        "n_items": 12345,
        "categories": ["bags", "shoes", "toys", "shirts", "snacks", "furniture"],
        "segments": ["browser", "collector"],
        "stages": {"category": True, "box": True, "refine": True, "rerank": True},
        "limits": {"max_bytes": 8_000_000, "max_pixels": 20_000_000, "max_k": N_RESULTS},
    }


def _answer(form: dict[str, Any], number: int) -> dict[str, Any]:
    """`number` is in the titles, so that a stale answer shows."""
    own = form.get("box")
    results = [
        {
            "image_id": f"i{row}",
            "product_id": f"p{row // 2}",
            "category": "shoes",
            "score": 0.99 - row / 100,
            "quality": None if row % 2 else 0.5,
            "title": None if row == 1 else f"Thing {row} of answer {number}",
            "price": None if row == 1 else 10.5 + row,
            "picture": f"/v1/items/i{row}/picture",
        }
        for row in range(int(form["k"]))
    ]
    return {
        "results": results,
        "box": [float(side) for side in own.split(",")] if own else LEARNED,
        "other_boxes": [] if own else OTHERS,
        "categories": [
            {"name": "shoes", "probability": 0.83},
            {"name": "bags", "probability": 0.12},
        ],
        "timings_ms": {"decode": 3.1, "category": 12.0, "box and feature": 21.4, "search": 1.2},
        "missing_shards": [],
        "request_id": f"r{number}",
    }


def _problem(status: int, detail: str, cure: str) -> Response:
    told = {"title": "", "status": status, "detail": detail, "cure": cure, "request_id": "abc"}
    wait = {"Retry-After": "1"} if status in (429, 503) else {}
    return JSONResponse(told, status, wait, media_type="application/problem+json")


def striped(image_id: str, size: int) -> bytes:
    """A wide picture as JPEG, whose colour follows from its id."""
    stream = io.BytesIO()
    colour = (37 * int(image_id[1:]) % 256, 120, 200)
    Image.new("RGB", (size, size // 2), colour).save(stream, "JPEG")
    return stream.getvalue()


@contextmanager
def fake_service(picture: Callable[[str, int], bytes] = striped) -> Iterator[FakeService]:
    service = FakeService(picture)
    with running(service.app) as service.url:
        yield service


@contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """The address of an application that is served in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
