"""What goes wrong, as RFC 9457 has it: application/problem+json, with the cure.

No problem names a file of the server: what is told is told of what the client has sent.
"""

from __future__ import annotations

import errno
import json
import math
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from vsa.data.decoding import ImageError
from vsa.runtime.errors import InputError

MEDIA_TYPE = "application/problem+json"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CURES = {
    404: "See /docs for what there is",
    405: "See /docs for what may be done there",
}
_OURS = "It is the service's fault: its log has more, under this request_id"


@dataclass(frozen=True)
class Problem:
    """One problem, ready to be told."""

    status: int
    detail: str
    cure: str
    retry_after_s: float | None = None  # when the same request may succeed

    def response(self, request_id: str, headers: Mapping[str, str] | None = None) -> Response:
        """What the client is sent."""
        told = dict(headers or {})
        if self.retry_after_s is not None:
            told["Retry-After"] = str(max(1, math.ceil(self.retry_after_s)))
        if self.status == HTTPStatus.UNAUTHORIZED:
            told["WWW-Authenticate"] = "Bearer"
        content = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": _sentence(self.detail),
            "cure": _sentence(self.cure),
            "request_id": request_id,
        }
        return Response(json.dumps(content), self.status, told, MEDIA_TYPE)


class Refused(Exception):
    """A request that is not answered, and why."""

    def __init__(
        self, status: int, detail: str, *, cure: str, retry_after_s: float | None = None
    ) -> None:
        super().__init__(detail)
        self.problem = Problem(status, detail, cure, retry_after_s)


def problem_of(error: Exception) -> Problem:
    """What to tell of an error; one that nobody foresaw is the service's."""
    if isinstance(error, Refused):
        return error.problem
    if isinstance(error, HTTPException):
        return Problem(error.status_code, error.detail, _CURES.get(error.status_code, "See /docs"))
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, ImageError):
        return Problem(413 if error.reason == "too large" else 422, error.problem, error.cure)
    if isinstance(error, InputError):
        if refused := _refusal(error):
            return refused
        where = "" if error.row is None else f"row {error.row}: "
        return Problem(422, f"{where}{error.problem}", error.cure)
    if isinstance(error, OSError):
        return _of_the_disk(error)
    return Problem(500, "the request failed", _OURS)


def _refusal(error: InputError) -> Problem | None:
    """What to tell where it was the system that refused, and not what the client gave."""
    why = error.__cause__ or error.__context__
    if isinstance(why, BlockingIOError):
        cure = "Try again once it has ended, or write through it"
        return Problem(503, "another process writes to the engine", cure, retry_after_s=5)
    if isinstance(why, sqlite3.Error):
        return Problem(507, error.problem, "Let the service's operator free some space")
    return _of_the_disk(why) if isinstance(why, OSError) else None


def _of_the_disk(error: OSError) -> Problem:
    if error.errno in _FULL:
        return Problem(507, "the disk of the service is full", "Let its operator free some space")
    return Problem(500, "the disk of the service refused", _OURS)


def _invalid(error: RequestValidationError) -> Problem:
    first = error.errors()[0]
    name = str(first["loc"][-1])
    if first["type"] == "extra_forbidden":
        return Problem(422, f"there is no option {name!r}", "Leave it out, or see /docs")
    return Problem(422, f"{name}: {first['msg']}", f"Correct {name}; see /docs")


def _sentence(text: str) -> str:
    """Text that can be told, whatever a client has put into it."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").rstrip(".") + "."


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Problems of a route, as its OpenAPI has them."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status in statuses
    }
