"""Pictures of one photo's way through the engine (notebook 00; figures 1 and 2 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from vsa.data.images import load_image
from vsa.embedding.extract import MASK_SLOPE
from vsa.embedding.joint import soft_mask
from vsa.engine import Answer, Stages, VisualSearch
from vsa.models.torchvision_models import IMAGENET_MEAN
from vsa.runtime.errors import NotApplicable
from vsa.study.catalogue.prepare import Shop
from vsa.study.end_to_end.published import open_engine
from vsa.study.figures.grids import DrawnBox, image_grid, image_rows
from vsa.study.run import Run

_PHOTO_PX, _THUMBNAIL_PX, _N_SHOWN = 256, 96, 8
_ORDERS = {
    "coarse filter:\nby codes": Stages(refine=False, rerank=False),
    "refined rank:\nby features": Stages(rerank=False),
    "re-rank:\nby quality too": Stages(),
}


def open_search(run: Run, shop: Shop) -> VisualSearch:
    """The engine of a run; raises NotApplicable where the data have nothing to search for."""
    if shop.pvlog is None:
        raise NotApplicable("The search of the tour: products are not known.")
    return open_engine(run)


def pages(engine: VisualSearch, photo: Path) -> dict[str, pd.DataFrame]:
    """The first results in the order of each stage that orders them."""
    return {
        name: engine.search(photo, stages=stages).results.head(_N_SHOWN)
        for name, stages in _ORDERS.items()
    }


def box_plot(photo: Path, answer: Answer, title: str = "") -> Figure:
    """The photo with its learned box, and what the mask of the box leaves for the feature."""
    image = load_image(photo, _PHOTO_PX)
    box = torch.from_numpy(answer.box)[None]
    mask = soft_mask(box, _PHOTO_PX, _PHOTO_PX, MASK_SLOPE)[0, 0].numpy()[..., None]
    seen = mask * image + (1 - mask) * 255 * np.array(IMAGENET_MEAN)
    return image_grid(
        [image, seen.astype(np.uint8)],
        ["learned box", "what the feature sees"],
        n_columns=2,
        boxes=[[DrawnBox(answer.box)], []],
        cell_inches=3,
        heading=title,
    )


def page_plot(
    root: Path, photo: Path, found: Mapping[str, pd.DataFrame], product: str, title: str = ""
) -> Figure:
    """A row of results per order, best first; pictures of the photo's product are framed."""
    asked = load_image(photo, _THUMBNAIL_PX)
    rows = [
        (name, [asked, *(load_image(root / path, _THUMBNAIL_PX) for path in page.path)])
        for name, page in found.items()
    ]
    framed = {
        (row, column)
        for row, page in enumerate(found.values())
        for column in (1 + np.flatnonzero(page.product_id == product)).tolist()
    }
    titles = {0: "photo", 1: "best first"}
    return image_rows(rows, titles, framed, cell_inches=1.15, heading=title)
