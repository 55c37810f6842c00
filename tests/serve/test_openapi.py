"""The service keeps what its OpenAPI promises, whatever schemathesis thinks of."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS
from served import TOKEN

# What cannot be said in a schema: that bytes are a picture, and which names there are
NOT_SAID = "positive_data_acceptance"


def never_stopped(app):
    """An application that stays when one of several clients of it goes, as each of these would."""

    async def asked(scope, receive, send):
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})

    return asked


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_each_request_is_answered_as_documented(own, mode):
    """Requests that fit the schema, and such that do not; with the token, and without."""
    schema = schemathesis.openapi.from_asgi("/openapi.json", never_stopped(own.app))
    excluded = [CHECKS.get_one(NOT_SAID)]
    tokens = [{"Authorization": f"Bearer {TOKEN}"}, {}]

    @given(schema.as_strategy(mode))
    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    def ask(case):
        for headers in tokens:
            case.call_and_validate(headers=headers, excluded_checks=excluded)

    ask()


def test_the_schema_says_what_may_be_asked(own):
    told = own.get("/openapi.json").json()
    assert set(told["paths"]) == {
        "/v1/search",
        "/v1/info",
        "/v1/items",
        "/v1/items/{image_id}",
        "/v1/items/{image_id}/picture",
        "/healthz",
        "/readyz",
        "/metrics",
    }
    search = told["paths"]["/v1/search"]["post"]
    options = {parameter["name"]: parameter["schema"] for parameter in search["parameters"]}
    assert options["k"] == {"type": "integer", "minimum": 1, "maximum": 1000, "default": 60}
    assert set(options) == {"k", "box", "categories", "segment", "stages"}
    form = search["requestBody"]["content"]["multipart/form-data"]
    assert set(form["schema"]["properties"]) == {"photo", *options}
    assert form["example"]["k"] == 20
    assert told["paths"]["/v1/items"]["put"]["security"] == [{"token": []}]
    problems = told["components"]["schemas"]["Problem"]["properties"]
    assert {"type", "title", "status", "detail", "cure", "request_id"} == set(problems)
