"""Which pictures to look at: examples of a data set, ready for `evaluation.figures.image_grid`."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd
from PIL import Image, ImageOps

from vsa.data.decoding import decode
from vsa.data.schema import Dataset
from vsa.runtime.seeds import generator

_SHOWN_PX = 160
SURVIVOR, REMOVED, CLICKED = "#009E73", "#D55E00", "#0072B2"


@dataclass(frozen=True)
class Pictures:
    """Images with their titles and, where a frame says something, frame colours."""

    images: list[Image.Image] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)
    frame_colours: list[str | None] = field(default_factory=list)

    def add(self, dataset: Dataset, path: str, title: str, colour: str | None = None) -> None:
        """Append one image of the data set."""
        image = decode(dataset.root / path, min_px=_SHOWN_PX)
        self.images.append(ImageOps.pad(image, (_SHOWN_PX, _SHOWN_PX), color="white"))
        self.titles.append(title)
        self.frame_colours.append(colour)

    def add_blank(self) -> None:
        """Append an empty place, to keep rows aligned."""
        self.images.append(Image.new("RGB", (_SHOWN_PX, _SHOWN_PX), "white"))
        self.titles.append("")
        self.frame_colours.append(None)


def catalogue_beside_queries(dataset: Dataset, seed: int, n_columns: int = 7) -> Pictures:
    """Rows of catalogue images, each row above the queries of the same products (or categories).

    Up to two double rows of `n_columns` categories, drawn at random where there are more.
    """
    rng = generator(seed, "gallery")
    queries = dataset.queries.dropna(subset="category")
    both = sorted(set(dataset.catalogue.category) & set(queries.category))
    names = sorted(rng.permutation(both)[: 2 * n_columns])
    chosen = [_pair(dataset, queries, name, int(rng.integers(2**32))) for name in names]
    pictures = Pictures()
    for start in range(0, len(chosen), n_columns):
        row = chosen[start : start + n_columns]
        for name, (shown, _) in zip(names[start:], row, strict=False):
            pictures.add(dataset, shown.path, f"{name}\ncatalogue")
        for _ in range(n_columns - len(row)):
            pictures.add_blank()
        for name, (_, photo) in zip(names[start:], row, strict=False):
            pictures.add(dataset, photo.path, f"{name}\nquery")
    return pictures


def _pair(
    dataset: Dataset, queries: pd.DataFrame, category: str, seed: int
) -> tuple[pd.Series, pd.Series]:
    photos = queries[queries.category == category].sample(frac=1, random_state=seed)
    shelf = dataset.catalogue[dataset.catalogue.category == category]
    shelf = shelf.sort_values("source")  # "main" comes before "review" and "sku"
    same = photos[photos.product_id.isin(shelf.product_id)]
    if same.empty:
        return shelf.iloc[0], photos.iloc[0]
    photo = same.iloc[0]
    return shelf[shelf.product_id == photo.product_id].iloc[0], photo


def duplicate_clusters_shown(
    dataset: Dataset, selection: pd.DataFrame, n_clusters: int = 6, n_columns: int = 6
) -> Pictures:
    """One row per large cluster: the kept image first, then images removed in its favour."""
    pictures = Pictures()
    paths = dataset.catalogue.set_index("image_id").path
    removed = selection[selection.duplicate_of != ""]
    for survivor in removed.duplicate_of.value_counts(sort=True).index[:n_clusters]:
        members = removed[removed.duplicate_of == survivor].head(n_columns - 1)
        pictures.add(dataset, paths[survivor], "kept", SURVIVOR)
        for member in members.itertuples():
            pictures.add(dataset, paths[member.image_id], member.reason, REMOVED)
        for _ in range(n_columns - 1 - len(members)):
            pictures.add_blank()
    return pictures


def session_shown(dataset: Dataset, pvlog: pd.DataFrame, n_results: int = 11) -> Pictures:
    """The first session, by id, with the most clicks: its query and the top of its page."""
    clicks = pvlog.groupby("session_id").clicked.sum()
    session = pvlog[pvlog.session_id == clicks.idxmax()].sort_values("rank").head(n_results)
    query = dataset.queries.set_index("query_id").loc[session.query_id.iloc[0]]
    shelf = dataset.catalogue.set_index("image_id")
    pictures = Pictures()
    pictures.add(dataset, query.path, "query")
    for entry in session.itertuples():
        shown = shelf.loc[entry.image_id]
        identical = "identical" if shown.product_id == query.product_id else ""
        title = f"{entry.rank}: {'clicked' if entry.clicked else 'not clicked'}\n{identical}"
        pictures.add(dataset, shown.path, title, CLICKED if entry.clicked else None)
    return pictures
