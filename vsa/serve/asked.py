"""What is asked of a search over HTTP, and its answer as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any
from urllib.parse import quote

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from vsa.answer import Answer, Question, Stages
from vsa.data.decoding import ImageError, upright_size
from vsa.engine import VisualSearch
from vsa.runtime.errors import InputError
from vsa.runtime.registry import unknown

_STAGES = tuple(field.name for field in fields(Stages))
_NUMBER = r"\s*-?\d{1,3}(\.\d{1,30})?\s*"


class Options(BaseModel):
    """What may be said of a search beside the photo."""

    model_config = ConfigDict(extra="forbid")

    box: str | None = Field(
        None,
        description="where the object is: x_min,y_min,x_max,y_max as shares of the photo's sides",
        examples=["0.1,0.2,0.8,0.9"],
        pattern=f"^{_NUMBER}(,{_NUMBER}){{3}}$",
    )
    categories: str | None = Field(
        None, description="the only ones that are searched, with commas between them"
    )
    segment: str | None = Field(None, description="of shoppers, for re-ranking")
    stages: str | None = Field(
        None,
        description=f"what to go through, of {','.join(_STAGES)}; all by default",
        examples=["category,box,refine"],
    )


def options_within(max_k: int) -> type[Options]:
    """Options that ask for so many results at most."""
    k = Field(60, ge=1, le=max_k, description="results")
    return create_model("SearchOptions", __base__=Options, k=(int, k))


def read_options(kind: type[Options], said: Mapping[str, str]) -> Options:
    """Options from texts; raises RequestValidationError."""
    try:
        return kind.model_validate(said)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None


def make_question(
    engine: VisualSearch, photo: bytes, options: Options, max_pixels: int
) -> Question:
    """A question that the engine has checked; raises InputError."""
    require_pixels_within(photo, max_pixels)
    box = None if options.box is None else [float(side) for side in options.box.split(",")]
    return engine.ask(
        photo,
        getattr(options, "k"),  # noqa: B009 (of the model that `options_within` makes)
        box=box,
        stages=_stages(options.stages),
        segment=options.segment,
        categories=None if options.categories is None else _names(options.categories),
    )


def require_pixels_within(picture: bytes, max_pixels: int) -> None:
    """Raise ImageError, undecoded, for a picture that has more, or that is none."""
    width, height = upright_size(picture)
    if width * height > max_pixels:
        error = ImageError("too large")
        error.cure = f"Give one of at most {max_pixels / 1e6:g} million pixels"
        raise error


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _stages(text: str | None) -> Stages:
    if text is None:
        return Stages()
    names = _names(text)
    for name in names:
        if name not in _STAGES:
            wrong = unknown("stage", name, _STAGES)
            raise InputError(wrong.problem, cure=wrong.cure)
    return Stages(**{name: name in names for name in _STAGES})


def picture_url(image_id: str) -> str:
    """Where the thumbnail of a picture is."""
    return f"/v1/items/{quote(image_id, safe='')}/picture"


def answer_json(answer: Answer, asked: Question, *, locates: bool) -> dict[str, Any]:
    """What `vsa.serve.messages.SearchAnswer` describes, but for the request_id.

    `locates` says whether the engine's describer looks at boxes of its own.
    """
    has_box = asked.given_box is not None or (asked.stages.box and locates)
    return {
        "results": _results(answer),
        "box": answer.box.tolist() if has_box else None,
        "other_boxes": answer.other_boxes.tolist(),
        "categories": _categories(answer),
        "timings_ms": {name: round(ms, 3) for name, ms in answer.stage_ms.items()},
        "missing_shards": [str(shard) for shard in answer.missing_shards],
    }


def _results(answer: Answer) -> list[dict[str, Any]]:
    table = answer.results
    columns = {
        name: table[name].tolist() if name in table else [None] * len(table)
        for name in ("image_id", "product_id", "category", "similarity", "score", "title", "price")
    }
    return [
        {
            "image_id": image_id,
            "product_id": product_id,
            "category": category,
            "score": similarity,
            "quality": _or_null(score),
            "title": title or None,
            "price": _or_null(price),
            "picture": picture_url(image_id),
        }
        for image_id, product_id, category, similarity, score, title, price in zip(
            *columns.values(), strict=True
        )
    ]


def _or_null(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _categories(answer: Answer) -> list[dict[str, Any]]:
    if answer.category is None:
        return []
    likely = zip(answer.category.fused.tolist(), answer.category.categories, strict=True)
    best_first = sorted(likely, key=lambda pair: -pair[0])
    return [{"name": name, "probability": share} for share, name in best_first]


def row_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the catalogue as JSON, its path left out: it is the server's."""
    return {name: _plain(value) for name, value in row.items() if name != "path"}


def _plain(value: Any) -> str | int | float | None:
    """A cell as JSON has it; what it has no form for, such as a date, as text."""
    if isinstance(value, float):
        return _or_null(value)
    return value if value is None or isinstance(value, str | int) else str(value)
