"""What OpenAPI says of requests whose bodies FastAPI does not read itself, with examples."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from fastapi import FastAPI

from vsa.serve.asked import Options
from vsa.serve.messages import Problem

_BYTES = {"type": "string", "format": "binary"}
WITH_TOKEN: dict[str, Any] = {"security": [{"token": []}]}
PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {"schema": _BYTES}}, "description": "The thumbnail"},
    304: {"description": "It is the one that the client has"},
}
METRICS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Numbers"}
}
OF_PUT: dict[str, Any] = WITH_TOKEN | {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["table", "files"],
                    "properties": {
                        "table": {
                            "type": "string",
                            "description": "rows, as a list in JSON or as CSV: path (the name of "
                            "one of the files), product_id, category and, where they are known, "
                            "image_id, leaf, source, sales, conversion_rate, applause_rate, price",
                        },
                        "files": {"type": "array", "items": _BYTES},
                    },
                },
                "example": {
                    "table": '[{"path": "shoe.jpg", "product_id": "p1", "category": "shoes"}]'
                },
            }
        },
    }
}


def of_search(options: type[Options]) -> dict[str, Any]:
    """The options of a search, in the query or in a form, and its photo."""
    properties = options.model_json_schema()["properties"]
    for schema in properties.values():
        if "anyOf" in schema:  # what is left out is not sent as null
            (given,) = [one for one in schema.pop("anyOf") if one["type"] != "null"]
            schema.update(given)
            schema.pop("default", None)
        schema.pop("title", None)
    query = [
        {
            "name": name,
            "in": "query",
            "description": schema.get("description", ""),
            "schema": {key: value for key, value in schema.items() if key != "description"},
        }
        for name, schema in properties.items()
    ]
    form = {
        "type": "object",
        "required": ["photo"],
        "properties": {"photo": _BYTES} | deepcopy(properties),
    }
    return {
        "parameters": query,
        "requestBody": {
            "required": True,
            "content": {
                "image/jpeg": {"schema": _BYTES},
                "image/png": {"schema": _BYTES},
                "application/octet-stream": {"schema": _BYTES},
                "multipart/form-data": {
                    "schema": form,
                    "example": {"photo": "(the file)", "k": 20, "box": "0.1,0.2,0.8,0.9"},
                },
            },
        },
    }


def complete(app: FastAPI) -> None:
    """Add to the schema what no route's signature says: the problem, and the token."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = plain()
            components = schema.setdefault("components", {})
            components.setdefault("schemas", {})["Problem"] = Problem.model_json_schema()
            components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
