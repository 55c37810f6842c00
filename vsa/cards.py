"""What the search page of the notebook is made of: cards, tables and the photo, as HTML."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vsa.category.predictor import CategoryPrediction
from vsa.data.decoding import ImageError, Source, decode
from vsa.embedding.describer import Describer, WholeDescriber

_PHOTO_PX, _THUMBNAIL_PX = 480, 200
_N_CATEGORIES = 4
STYLE = """<style>
.vsa-page {max-width: 72rem; margin: 0 auto; padding: 0 .5rem}
.vsa-page * {box-sizing: border-box}
.vsa-row {flex-flow: row wrap; gap: 1rem; align-items: flex-start}
.vsa-row > * {flex: 1 1 20rem; min-width: 0; max-width: 100%}
.vsa-photo {position: relative; width: min(100%, 16rem); line-height: 0}
.vsa-photo img {width: 100%}
.vsa-photo div {position: absolute; border: 3px solid #D55E00; box-shadow: 0 0 0 1px #fff}
.vsa-grid {display: grid; gap: .6rem; margin: 1rem 0 0; padding: 0; list-style: none;
  grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr))}
.vsa-grid img {width: 100%; aspect-ratio: 1; object-fit: contain; background: #fff}
.vsa-gone {aspect-ratio: 1; padding: .4rem; background: #eee; font-size: .8rem}
.vsa-grid li {border: 1px solid #ccc; border-radius: 4px; overflow: hidden}
.vsa-grid b {overflow-wrap: anywhere}
.vsa-objects {flex-flow: row wrap}
.vsa-grid p {margin: .3rem .4rem; font-size: .8rem; line-height: 1.3}
.vsa-hint {margin: 0; font-size: .8rem; line-height: 1.3}
.vsa-table {border-collapse: collapse; font-variant-numeric: tabular-nums}
.vsa-table th, .vsa-table td {padding: .15rem .6rem; text-align: right}
.vsa-table th:first-child {text-align: left}
.vsa-error {border-left: 4px solid #D55E00; padding: .4rem .8rem; background: #fdf1e7}
</style>"""


def grid(results: pd.DataFrame, root: Path) -> str:
    """The results, best first, as cards: whole thumbnail, title, price, product and similarity."""
    cards = [_card(place, row, root) for place, row in enumerate(results.itertuples(), start=1)]
    return f'<ol class="vsa-grid" aria-label="Results">{"".join(cards)}</ol>'


def _card(place: int, row: Any, root: Path) -> str:
    title = getattr(row, "title", None)
    name = html.escape(title if isinstance(title, str) and title else row.category)
    lines = [f"product {html.escape(row.product_id)}", f"similarity {row.similarity:.3f}"]
    if np.isfinite(row.price):
        lines.insert(0, f"price {row.price:.2f}")
    if np.isfinite(row.score):
        lines += [f"score {row.score:.3f}", f"appearance rank {row.rank_by_appearance}"]
    words = f"Result {place}: {row.category}, product {row.product_id}"
    return (
        f"<li>{_thumbnail(root / row.path, words)}"
        f"<p><b>{place}. {name}</b><br>{'<br>'.join(lines)}</p></li>"
    )


def _uri(image: Any, size_px: int) -> str:
    image.thumbnail((size_px, size_px))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _thumbnail(file: Path, words: str) -> str:
    try:
        picture = _uri(decode(file, min_px=_THUMBNAIL_PX), _THUMBNAIL_PX)
    except ImageError as error:  # removed or replaced since the engine was published
        why = f"no picture ({error.reason})"
        words = html.escape(f"{words}; {why}")
        return f'<div class="vsa-gone" role="img" aria-label="{words}">{why}</div>'
    return f'<img src="{picture}" alt="{html.escape(words)}">'


def described_by(describer: Describer | WholeDescriber) -> str:
    """Who describes photos, and what that brings, where it is known."""
    return describer.name if describer.lead is None else f"{describer.name} ({describer.lead})"


def photo_with(photo: Source, box: np.ndarray) -> str:
    x_min, y_min, x_max, y_max = (100 * float(side) for side in box)
    place = f"left:{x_min:.1f}%;top:{y_min:.1f}%;width:{x_max - x_min:.1f}%"
    words = (
        f"The photo; its box reaches from {x_min:.0f} to {x_max:.0f} per cent of the width "
        f"and from {y_min:.0f} to {y_max:.0f} per cent of the height"
    )
    picture = _uri(decode(photo, min_px=_PHOTO_PX), _PHOTO_PX)
    return (
        f'<div class="vsa-photo"><img src="{picture}" alt="{words}">'
        f'<div style="{place};height:{y_max - y_min:.1f}%"></div></div>'
    )


def table_of_categories(prediction: CategoryPrediction) -> str:
    order = np.argsort(-prediction.fused, kind="stable")[:_N_CATEGORIES]
    rows = "".join(
        f"<tr><th scope='row'>{html.escape(prediction.categories[i])}</th>"
        f"<td>{prediction.model[i]:.2f}</td><td>{prediction.search[i]:.2f}</td>"
        f"<td><b>{prediction.fused[i]:.2f}</b></td></tr>"
        for i in order
    )
    return (
        '<table class="vsa-table"><caption>Category: probability by</caption>'
        "<tr><th></th><th>model</th><th>search</th><th>both</th></tr>" + rows + "</table>"
    )


def table_of_times(stage_ms: dict[str, float]) -> str:
    rows = "".join(
        f"<tr><th scope='row'>{stage}</th><td>{ms:.1f} ms</td></tr>"
        for stage, ms in stage_ms.items()
    )
    return f'<table class="vsa-table"><caption>Time by stage</caption>{rows}</table>'
