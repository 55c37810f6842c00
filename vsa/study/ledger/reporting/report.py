"""RESULTS.md and report.html of a run, from metrics.json and the saved figures alone."""

from __future__ import annotations

import base64
import functools
import io
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from vsa.runtime.atomic import atomic_file
from vsa.runtime.checked import MANIFEST, write_manifest
from vsa.runtime.markup import escape_markdown
from vsa.study.ledger.reporting.content import read_content

_FLAT = 0.9  # share of pixels like their neighbour; plots have 0.92 to 0.97, photographs less
_OPTIONS: dict[str, Any] = {
    "loader": PackageLoader("vsa.study.ledger.reporting"),
    "undefined": StrictUndefined,
    "trim_blocks": True,
    "lstrip_blocks": True,
    "keep_trailing_newline": True,
}


def write_report(run_folder: Path) -> tuple[Path, Path]:
    """Write both forms of the report into the run's folder; returns their paths.

    ``report.html`` is one file that opens offline; ``RESULTS.md`` links the figures beside it.
    Same ledger, same bytes. ``checksums.json`` lets `vsa verify` check them all.

    Raises
    ------
    InputError if metrics.json is missing, broken or empty, or a figure's file is missing.
    """
    content = read_content(run_folder)
    markdown = markdown_environment().get_template("RESULTS.md.j2").render(content)
    html = (
        html_environment()
        .get_template("report.html.j2")
        .render(
            content,
            style=page_style(),
            embed=lambda name: embedded(run_folder / "figures" / f"{name}.png"),
        )
    )
    paths = run_folder / "RESULTS.md", run_folder / "report.html"
    for path, text in zip(paths, (markdown, html), strict=True):
        with atomic_file(path) as draft:
            draft.write_text(text, encoding="utf-8")
    with atomic_file(run_folder / MANIFEST) as draft:
        write_manifest(run_folder, draft)
    return paths


@functools.cache
def markdown_environment() -> Environment:
    """Templates in which every inserted value is escaped for Markdown, unless it is Markup."""
    return Environment(autoescape=False, finalize=_escaped, **_OPTIONS)


@functools.cache
def html_environment() -> Environment:
    """Templates in which every inserted value is escaped for HTML, unless it is Markup."""
    return Environment(autoescape=True, **_OPTIONS)


def page_style() -> Markup:
    """The style sheet that pages carry within them."""
    file = resources.files("vsa.study.ledger.reporting") / "templates/style.css"
    return Markup(file.read_text(encoding="utf-8"))


def _escaped(value: object) -> str:
    return str(value) if isinstance(value, Markup) else escape_markdown(str(value))


def embedded(path: Path) -> dict[str, Any]:
    """The picture as text, and its size in CSS pixels, 96 to the inch.

    WebP takes a third of PNG's room. What was drawn, and so is flat, loses nothing; among
    photographs a loss that nobody sees saves half again.
    """
    with Image.open(path) as picture:
        scale = 96 / picture.info.get("dpi", (96, 96))[0]
        pixels = picture.convert("RGB")
    stream = io.BytesIO()
    if _flat_share(pixels) > _FLAT:
        pixels.save(stream, "WEBP", lossless=True, method=1)
    else:
        pixels.save(stream, "WEBP", quality=85)
    text = base64.b64encode(stream.getvalue()).decode("ascii")
    size = {"width": round(pixels.width * scale), "height": round(pixels.height * scale)}
    return {"uri": f"data:image/webp;base64,{text}", **size}


def _flat_share(picture: Image.Image) -> float:
    """The share of pixels that equal their left neighbour."""
    pixels = np.asarray(picture)
    return float((pixels[:, 1:] == pixels[:, :-1]).all(axis=2).mean())
