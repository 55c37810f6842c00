"""What the service answers, as OpenAPI describes it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

Box = tuple[float, float, float, float]


class Problem(BaseModel):
    """What went wrong, and the cure (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    cure: str
    request_id: str


class Result(BaseModel):
    """A picture of the catalogue."""

    image_id: str
    product_id: str
    category: str
    score: float = Field(description="of appearance; higher is more similar")
    quality: float | None = Field(description="what re-ranked it; null where nothing did")
    title: str | None
    price: float | None
    picture: str = Field(description="where its thumbnail is")


class Likely(BaseModel):
    """A category, and how likely the photo's object is of it."""

    name: str
    probability: float


class SearchAnswer(BaseModel):
    """What was found for a photo, best first."""

    results: list[Result]
    box: Box | None = Field(description="what was described; shares of the photo's sides")
    other_boxes: list[Box] = Field(description="what else may have been meant, likeliest first")
    categories: list[Likely]
    timings_ms: dict[str, float]
    missing_shards: list[str] = Field(description="parts of the catalogue that did not answer")
    request_id: str


class Item(BaseModel):
    """A row of the catalogue."""

    row: dict[str, Any]
    picture: str
    request_id: str


class LeftOut(BaseModel):
    """A row that did not join."""

    image_id: str
    reason: str
    duplicate_of: str = Field(description='the row that it is a copy of, or ""')


class Change(BaseModel):
    """What became of rows; it is on the disk."""

    image_ids: list[str] = Field(description="those that can be found now, or no more")
    left_out: list[LeftOut]
    n_items: int
    request_id: str


class Info(BaseModel):
    """What the engine has, and what may be asked of it."""

    n_items: int
    categories: list[str]
    segments: list[str]
    stages: dict[str, bool] = Field(description="which stages of a search the engine has")
    describer: str
    writing: bool = Field(description="whether PUT and DELETE are on")
    limits: dict[str, float]
    version: str


class Health(BaseModel):
    """Whether the service is up."""

    status: str
