"""A service over an engine, within the process that tests it."""

from __future__ import annotations

from contextlib import contextmanager

from starlette.testclient import TestClient

from vsa.serve.app import make_app
from vsa.serve.limits import Limits

TOKEN = "a token that is long enough"


@contextmanager
def serving(engine, token=None, **limits):
    """A client of a service over an engine."""
    app = make_app(engine, limits=Limits(**limits), token=token)
    with TestClient(app, raise_server_exceptions=False) as client:
        client.service = app.state.service
        yield client


def problem(answer, status: int) -> str:
    """Detail and cure of a problem, which has that status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert set(told) == {"type", "title", "status", "detail", "cure", "request_id"}
    assert told["status"] == status
    assert told["request_id"] == answer.headers["x-request-id"]
    return f"{told['detail']} {told['cure']}"
