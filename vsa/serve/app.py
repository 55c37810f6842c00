"""The service: which requests there are, and what each of them goes through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles

import vsa
from vsa.engine import VisualSearch
from vsa.runtime.errors import InputError
from vsa.serve import openapi
from vsa.serve.asked import picture_url, row_json
from vsa.serve.gate import Gate
from vsa.serve.limits import Limits
from vsa.serve.log import LOGGER
from vsa.serve.messages import Change, Health, Info, Item, SearchAnswer
from vsa.serve.problems import Refused, documented, problem_of
from vsa.serve.service import Service

PAGE = Path(__file__).parent / "page"
_UNFRAMED = "frame-ancestors 'none'"  # the rest of the page's policy stands in its head
_FOR_A_WHILE = "private, max-age=300"  # a picture may be replaced under the same image_id


def make_app(
    engine: VisualSearch, *, limits: Limits | None = None, token: str | None = None
) -> FastAPI:
    """The service of an open engine, as an ASGI application.

    Parameters
    ----------
    limits : of requests; those of `Limits` by default.
    token : that writes have to show; None: there are no writes.
    """
    service = Service(engine, limits or Limits(), token)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.close)

    app = FastAPI(
        title="vsa",
        version=vsa.__version__,
        summary="Search by photo",
        lifespan=lifespan,
        redirect_slashes=False,  # to where a client's own Host header says
    )
    app.state.service = service
    app.add_middleware(
        Gate, load=service.load, max_open=service.limits.max_open, metrics=service.metrics
    )
    for kind in (HTTPException, RequestValidationError, InputError, Refused):
        app.add_exception_handler(kind, _tell)
    _add_searching(app, service)
    _add_items(app, service)
    _add_health(app, service)
    if PAGE.is_dir():
        _add_page(app, PAGE)
    openapi.complete(app)
    return app


async def _tell(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    if problem.status >= 500 and not isinstance(error, Refused):
        noted = {"request_id": request.state.request_id}
        LOGGER.error("error", exc_info=error, extra={"request": noted})
    return problem.response(request.state.request_id, getattr(error, "headers", None))


def _add_searching(app: FastAPI, service: Service) -> None:
    @app.post(
        "/v1/search",
        response_model=SearchAnswer,
        responses=documented(400, 408, 413, 415, 422, 503),
        openapi_extra=openapi.of_search(service.options),
    )
    async def search(request: Request) -> Response:
        """Find the pictures that are most similar to what a photo shows."""
        return _json(request, await service.search(request))

    @app.get("/v1/info", response_model=Info)
    async def info() -> Response:
        """What the engine has, and what may be asked of it."""
        return JSONResponse(service.info())


def _add_items(app: FastAPI, service: Service) -> None:
    @app.get(
        "/v1/items/{image_id:path}/picture",
        response_class=Response,
        responses=documented(404, 422, 503) | openapi.PICTURE,
    )
    async def picture(
        image_id: str,
        size: Annotated[int, Query(ge=16, le=1024, description="of the longer side, in px")] = 256,
        if_none_match: Annotated[str | None, Header()] = None,
    ) -> Response:
        """A thumbnail of an item's picture, whole, as JPEG."""
        made = await service.beside(partial(service.items.thumbnail, image_id, size, if_none_match))
        headers = {"ETag": made.tag, "Cache-Control": _FOR_A_WHILE}
        if made.jpeg is None:
            return Response(status_code=304, headers=headers)
        return Response(made.jpeg, media_type="image/jpeg", headers=headers)

    @app.get("/v1/items/{image_id:path}", response_model=Item, responses=documented(404, 422, 503))
    async def item(request: Request, image_id: str) -> Response:
        """The row of an item."""
        row = await service.beside(partial(service.items.row, image_id))
        return _json(request, {"row": row_json(row), "picture": picture_url(image_id)})

    writes = documented(401, 403, 408, 413, 415, 422, 429, 503, 507)

    @app.put(
        "/v1/items",
        response_model=Change,
        responses=documented(400) | writes,
        openapi_extra=openapi.OF_PUT,
    )
    async def put(
        request: Request,
        select: Annotated[
            bool, Query(description="leave out flat, blurred and duplicate pictures")
        ] = True,
    ) -> Response:
        """Let rows and their pictures join, or replace those of the same image_id, all or none."""
        service.require_writer(request.headers.get("authorization"))
        return _json(request, await service.put(request, select=select))

    @app.delete(
        "/v1/items/{image_id:path}",
        response_model=Change,
        responses=documented(404) | writes,
        openapi_extra=openapi.WITH_TOKEN,
    )
    async def delete(request: Request, image_id: str) -> Response:
        """Let an item leave."""
        service.require_writer(request.headers.get("authorization"))
        return _json(request, await service.delete(image_id))


def _add_health(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", response_model=Health)
    async def healthz() -> Response:
        """Whether the process answers."""
        return JSONResponse({"status": "ok"})

    @app.get("/readyz", response_model=Health, responses=documented(503))
    async def readyz() -> Response:
        """Whether a search would be answered."""
        service.require_ready()
        return JSONResponse({"status": "ready"})

    @app.get("/metrics", response_class=Response, responses=openapi.METRICS)
    async def metrics() -> Response:
        """Numbers for Prometheus."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")


def _add_page(app: FastAPI, folder: Path) -> None:
    """The page, and each file that it loads.

    Mounted at the root, they would answer in place of a route whose method is another one.
    """
    files = StaticFiles(directory=folder)

    def telling(name: str) -> Callable[[Request], Awaitable[Response]]:
        async def tell(request: Request) -> Response:
            response = await files.get_response(name, request.scope)
            response.headers["Content-Security-Policy"] = _UNFRAMED
            return response

        return tell

    for file in sorted(folder.iterdir()):
        paths = ("/", "/index.html") if file.name == "index.html" else (f"/{file.name}",)
        for path in paths:
            app.add_route(path, telling(file.name), methods=["GET"], include_in_schema=False)


def _json(request: Request, told: dict[str, Any]) -> JSONResponse:
    return JSONResponse(told | {"request_id": request.state.request_id})
