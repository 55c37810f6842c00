"""What stands between an open engine and many clients: bodies, turns, limits, tokens."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar

from fastapi import Request

import vsa
from vsa.answer import Answer, Question
from vsa.engine import VisualSearch
from vsa.runtime.errors import InputError
from vsa.serve.asked import answer_json, make_question, options_within, read_options
from vsa.serve.batching import Pools, too_late
from vsa.serve.bodies import Bodies, Form, read_form
from vsa.serve.gate import Load
from vsa.serve.items import Items
from vsa.serve.limits import Limits
from vsa.serve.metrics import Metrics
from vsa.serve.problems import Refused
from vsa.serve.writes import Writer, kept_pictures

T = TypeVar("T")


class Service:
    """An open engine, and what stands between it and many clients."""

    def __init__(self, engine: VisualSearch, limits: Limits, token: str | None) -> None:
        """Start the workers; `token` is what writes are to show, None where there are none."""
        self.engine, self.limits, self.token = engine, limits, token
        self.options = options_within(limits.max_k)
        self.bodies, self.load = Bodies(limits), Load()
        self.n_waiting, self.n_writing = 0, 0  # searches and writes that were accepted
        self.metrics = Metrics(
            lambda: len(engine.index), lambda: self.load.n_open, lambda: self.n_waiting
        )
        self.pools = Pools(
            engine, max_batch=limits.max_batch, on_batch=self.metrics.batches.observe
        )
        self.items = Items(engine, kept_pictures(engine), limits.max_pixels)
        self.writer = Writer(engine, limits)
        self._beside = ThreadPoolExecutor(1, "items")  # so that these never crowd searches out
        self._writing = ThreadPoolExecutor(1, "writes")
        self.is_stopping = False

    def close(self) -> None:
        """Finish what was accepted."""
        self.is_stopping = True
        self.pools.close()
        self._beside.shutdown()
        self._writing.shutdown()

    async def beside(self, work: Callable[[], T]) -> T:
        """What a thread of its own makes of rows and pictures."""
        return await asyncio.get_running_loop().run_in_executor(self._beside, work)

    # Searching -----------------------------------------------------------------------------

    async def search(self, request: Request) -> dict[str, Any]:
        """Read a photo and its options, and search in turn."""
        async with self.bodies.held(request, self.limits.max_bytes) as body:
            photo, said = await self._photo(request, body)
            options = read_options(self.options, dict(request.query_params) | said)
            if self.n_waiting >= self.limits.max_waiting:
                raise Refused(
                    503,
                    f"{self.n_waiting} searches wait already",
                    cure="Try again a little later",
                    retry_after_s=1,
                )
            ask = partial(make_question, self.engine, photo, options, self.limits.max_pixels)
            self.n_waiting += 1
            try:
                within_s = self.limits.search_s
                found = self.pools.submit(ask, self._told, within_s=within_s)
                async with asyncio.timeout(within_s):
                    told = await asyncio.wrap_future(found)
            except TimeoutError:
                raise too_late() from None
            finally:
                self.n_waiting -= 1
        self.metrics.searched(told["timings_ms"])
        request.state.noted = {"bytes": len(body), "stages_ms": told["timings_ms"]}
        return told

    def _told(self, answer: Answer, asked: Question) -> dict[str, Any]:
        self.items.remember(answer.results["image_id"], answer.results["path"])
        return answer_json(answer, asked, locates=self.engine.describer.locates)

    async def _photo(self, request: Request, body: bytes) -> tuple[bytes, dict[str, str]]:
        """The photo's bytes, and options that came with it."""
        kind = _media_type(request)
        if kind == "multipart/form-data":
            form = await read_form(request, body, max_files=1)
            photo = form.file("photo")
            if photo is None:
                raise Refused(
                    422, "the form has no file called photo", cure="curl -F photo=@photo.jpg"
                )
            return photo.content, form.fields
        if kind.startswith("image/") or kind in ("application/octet-stream", ""):
            return body, {}
        raise Refused(
            415,
            f"a photo does not come as {kind}",
            cure="Send the photo itself as image/jpeg, or a form with a file called photo",
        )

    # Writing -------------------------------------------------------------------------------

    def require_writer(self, authorization: str | None) -> None:
        """Raise Refused unless that is the token; it takes as long for every wrong one."""
        if self.token is None:
            raise Refused(
                403,
                "writing is off",
                cure="Start the service with a token: VSA_TOKEN, or --token-file",
            )
        scheme, _, given = (authorization or "").partition(" ")
        is_right = hmac.compare_digest(
            given.strip().encode("utf-8", "replace"), self.token.encode()
        )
        if scheme.lower() != "bearer" or not is_right:
            raise Refused(
                401, "that is not the token", cure="Send the header Authorization: Bearer TOKEN"
            )

    async def put(self, request: Request, *, select: bool) -> dict[str, Any]:
        """Let rows and pictures of a form join."""
        async with self.bodies.held(request, self.limits.max_write_bytes) as body:
            if _media_type(request) != "multipart/form-data":
                raise Refused(
                    415,
                    "rows and pictures come as multipart/form-data",
                    cure="curl -X PUT -F table=@rows.csv -F files=@photo.jpg",
                )
            form = await read_form(request, body, max_files=self.limits.max_rows + 1)
            table, files = _table_and_files(form)
            change = await self._in_turn(partial(self.writer.put, table, files, select=select))
        return {
            "image_ids": change.image_ids,
            "left_out": change.left_out.to_dict("records"),
            "n_items": len(self.engine.index),
        }

    async def delete(self, image_id: str) -> dict[str, Any]:
        """Let an item leave."""
        await self.beside(partial(self.items.row, image_id))
        await self._in_turn(partial(self.writer.remove, image_id))
        return {"image_ids": [image_id], "left_out": [], "n_items": len(self.engine.index)}

    async def _in_turn(self, work: Callable[[], T]) -> T:
        """One write after the other; one that has begun ends, whether or not somebody waits."""
        if self.n_writing >= self.limits.max_writes:
            raise Refused(
                429,
                f"{self.n_writing} writes wait already",
                cure="Send more rows at a time, and fewer times",
                retry_after_s=5,
            )
        self.n_writing += 1
        turn = asyncio.get_running_loop().run_in_executor(self._writing, work)
        turn.add_done_callback(self._has_written)
        try:
            async with asyncio.timeout(self.limits.write_s):
                return await asyncio.shield(turn)
        except TimeoutError:
            raise Refused(
                503,
                "the write has not ended yet, and goes on",
                cure="See later whether the item is there; the same write may be sent again",
                retry_after_s=self.limits.write_s,
            ) from None

    def _has_written(self, turn: asyncio.Future[Any]) -> None:
        self.n_writing -= 1
        if not turn.cancelled():
            turn.exception()  # it was told, or nobody waits any more

    # Health --------------------------------------------------------------------------------

    def require_ready(self) -> None:
        """Raise Refused (503) where a search would not be answered well."""
        why = "it is stopping" if self.is_stopping else ""
        if self.n_waiting >= self.limits.max_waiting:
            why = "as many searches wait as may"
        try:
            self.engine.index.require_place()
        except InputError as error:
            why = error.problem
        if why:
            raise Refused(503, f"not ready: {why}", cure="Try again later", retry_after_s=1)

    def info(self) -> dict[str, Any]:
        """What the engine has, and what may be asked of it."""
        engine = self.engine
        return {
            "n_items": len(engine.index),
            "categories": [name for name in engine.index.categories if name],
            "segments": list(engine.ranker.segments.names) if engine.ranker else [],
            "stages": {
                "category": engine.trained is not None,
                "box": engine.describer.locates,
                "refine": True,
                "rerank": engine.ranker is not None,
            },
            "describer": engine.describer.name,
            "writing": self.token is not None,
            "limits": asdict(self.limits),
            "version": vsa.__version__,
        }


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _table_and_files(form: Form) -> tuple[str, dict[str, bytes]]:
    """The table of a form, and its pictures by their names."""
    files: dict[str, bytes] = {}
    table = form.fields.get("table")
    for of, file in form.files:
        if of == "table" and table is None:
            table = _text(file.content)
        elif file.name in files:
            raise Refused(
                422, f"two files are called {file.name!r}", cure="Give each a name of its own"
            )
        else:
            files[file.name] = file.content
    if table is None:
        raise Refused(
            422, "the form has no table", cure="curl -X PUT -F table=@rows.csv -F files=@photo.jpg"
        )
    return table, files


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Refused(422, "the table is no UTF-8 text", cure="Save it as UTF-8") from None
