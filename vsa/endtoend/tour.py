"""Pictures of one photo's way through the engine (notebook 00; figures 1 and 2 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vsa.data.images import load_image
from vsa.embedding.extract import MASK_SLOPE
from vsa.embedding.joint import soft_mask
from vsa.engine import Answer, Stages, VisualSearch
from vsa.evaluation.figures import PALETTE, STYLE, new_figure
from vsa.offline import Shop
from vsa.runtime.backbones import IMAGENET_MEAN
from vsa.runtime.errors import NotApplicable
from vsa.runtime.run import Run

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
    return VisualSearch.open(run)


def pages(engine: VisualSearch, photo: Path) -> dict[str, pd.DataFrame]:
    """The first results in the order of each stage that orders them."""
    return {
        name: engine.search(photo, stages=stages).results.head(_N_SHOWN)
        for name, stages in _ORDERS.items()
    }


@mpl.rc_context(STYLE)
def box_plot(photo: Path, answer: Answer, title: str = "") -> Figure:
    """The photo with its learned box, and what the mask of the box leaves for the feature."""
    image = load_image(photo, _PHOTO_PX)
    box = torch.from_numpy(answer.box)[None]
    mask = soft_mask(box, _PHOTO_PX, _PHOTO_PX, MASK_SLOPE)[0, 0].numpy()[..., None]
    seen = mask * image + (1 - mask) * 255 * np.array(IMAGENET_MEAN)
    figure, axes = new_figure(6.4, 3.6, 1, 2)
    for axis, shown, text in zip(
        axes, (image, seen.astype(np.uint8)), ("learned box", "what the feature sees"), strict=True
    ):
        axis.imshow(shown)
        axis.set_title(text, loc="center", fontsize=10)
    x_min, y_min, x_max, y_max = _PHOTO_PX * answer.box
    corner, width, height = (x_min, y_min), x_max - x_min, y_max - y_min
    axes[0].add_patch(
        Rectangle(corner, width, height, fill=False, edgecolor=PALETTE[1], linewidth=3)
    )
    return _bare(figure, axes, title)


@mpl.rc_context(STYLE)
def page_plot(
    root: Path, photo: Path, found: Mapping[str, pd.DataFrame], product: str, title: str = ""
) -> Figure:
    """A row of results per order, best first; pictures of the photo's product are framed."""
    figure, axes = new_figure(
        1.15 * (_N_SHOWN + 2), 1.25 * len(found) + 0.5, len(found), _N_SHOWN + 1, squeeze=False
    )
    for row, (name, page) in enumerate(found.items()):
        axes[row, 0].imshow(load_image(photo, _THUMBNAIL_PX))
        axes[row, 0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=10)
        for axis, result in zip(axes[row, 1:], page.itertuples(), strict=False):
            axis.imshow(load_image(root / result.path, _THUMBNAIL_PX))
    _bare(figure, axes, title)
    for row, page in enumerate(found.values()):
        for axis, same in zip(axes[row, 1:], page.product_id == product, strict=False):
            axis.spines[:].set(visible=bool(same), color=PALETTE[0], linewidth=4)
    axes[0, 0].set_title("photo", loc="center", fontsize=10)
    axes[0, 1].set_title("best first", loc="center", fontsize=10)
    return figure


def _bare(figure: Figure, axes: np.ndarray, title: str) -> Figure:
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
        axis.spines[:].set_visible(False)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure
