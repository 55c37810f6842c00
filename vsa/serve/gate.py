"""What every request passes: a number of its own, a limit to how many, its line in the log.

The last resort, too: what nobody foresaw is answered as a problem, and told in the log in full.
"""

from __future__ import annotations

import re
import time
import uuid
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vsa.serve.log import LOGGER
from vsa.serve.metrics import Metrics
from vsa.serve.problems import Refused, problem_of

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ALWAYS = ("/healthz", "/readyz", "/metrics")  # how much there is to do, they tell
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")  # others are counted as one
_LONGEST = 200  # characters of a path in the log
_GONE = 499  # in log and metrics: the client went away before its answer


class Load:
    """How many requests there are now."""

    n_open = 0


class Gate:
    """ASGI middleware around all of the service."""

    def __init__(self, app: ASGIApp, load: Load, max_open: int, metrics: Metrics) -> None:
        self.app, self.load, self.max_open, self.metrics = app, load, max_open, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        asked = Headers(scope=scope).get("x-request-id", "")
        state["request_id"] = asked if _ID.fullmatch(asked) else uuid.uuid4().hex
        status, started = 0, time.perf_counter()

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = state["request_id"]
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        self.load.n_open += 1
        try:
            if self.load.n_open > self.max_open and scope["path"] not in _ALWAYS:
                raise _too_many(self.max_open)
            await self.app(scope, receive, tell)
        except ClientDisconnect:
            status = _GONE
        except Exception as error:
            problem = problem_of(error)
            if problem.status >= 500 and not isinstance(error, Refused):
                LOGGER.exception("error", extra={"request": {"request_id": state["request_id"]}})
            if status:
                raise
            await problem.response(state["request_id"])(scope, receive, tell)
        finally:
            self.load.n_open -= 1
            self._note(scope, status or _GONE, time.perf_counter() - started)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        template = getattr(scope.get("route"), "path", None) or "other"
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self.metrics.answered(template, method, status, seconds)
        line: dict[str, Any] = {
            "request_id": scope["state"]["request_id"],
            "client": (scope.get("client") or [""])[0],
            "method": method,
            "path": scope["path"][:_LONGEST],
            "status": status,
            "ms": round(1e3 * seconds, 2),
        }
        LOGGER.info("request", extra={"request": line | scope["state"].get("noted", {})})


def _too_many(max_open: int) -> Refused:
    return Refused(
        503,
        f"the service has {max_open} requests at hand, and takes no more",
        cure="Try again a little later",
        retry_after_s=1,
    )
