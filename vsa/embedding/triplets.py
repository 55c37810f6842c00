"""Where triplets come from, and how a training step draws m of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vsa.embedding.mining import PageViews, Triplets
from vsa.runtime.errors import NotApplicable
from vsa.runtime.seeds import generator

VERSION = 1


@dataclass(frozen=True)
class TripletSource:
    """Triplets, and which images are known to be right for a query, lest they be negatives.

    A negative that a batch shares may serve query i only if ``query_group[i]`` and
    ``image_group`` differ (labels; −1 matches nothing), and it is no positive of query i.
    """

    triplets: Triplets
    query_group: np.ndarray  # int64 (n_queries,)
    image_group: np.ndarray  # int64 (n_images,)

    def draw(self, m: int, seed: int, step: int) -> DrawnTriplets:
        """Draw m triplets: a function of seed and step alone, so that training can resume."""
        if not len(self.triplets):
            raise NotApplicable("Click-mined training: no triplet is left to learn from.")
        rng = generator(seed, "triplets", step)
        rows = rng.choice(len(self.triplets), m, replace=len(self.triplets) < m)
        pool = self.triplets.negatives[rows]
        n_negatives = (pool >= 0).sum(axis=1)
        negative = pool[np.arange(m), (rng.random(m) * n_negatives).astype(np.int64)]
        query, positive = self.triplets.query[rows], self.triplets.positive[rows]
        wanted, offered = self.query_group[query, None], self.image_group[negative]
        known = (wanted == offered) & (wanted >= 0)
        known |= self._is_positive(query, negative)
        return DrawnTriplets(query, positive, negative, ~known)

    def _is_positive(self, query: np.ndarray, image: np.ndarray) -> np.ndarray:
        """Whether image j is a positive of query i, bool (m, m)."""
        mine = np.isin(self.triplets.query, query)
        n_images = len(self.image_group)
        keys = self.triplets.query[mine] * n_images + self.triplets.positive[mine]
        return np.isin(query[:, None] * n_images + image, keys)


@dataclass(frozen=True)
class DrawnTriplets:
    """Rows of the query and catalogue tables, (m,) each; allowed (m, m) as in `TripletBatch`."""

    query: np.ndarray
    positive: np.ndarray
    negative: np.ndarray
    allowed: np.ndarray


def from_clicks(triplets: Triplets, n_queries: int, n_images: int) -> TripletSource:
    """Mined triplets, filtered or not. Identities are not known to it."""
    return TripletSource(triplets, np.full(n_queries, -1), np.full(n_images, -1))


def from_labels(
    query_labels: np.ndarray,
    image_labels: np.ndarray,
    pages: PageViews,
    *,
    negatives: str,
    seed: int,
    n_positives: int = 4,
) -> TripletSource:
    """Triplets from labels in place of clicks, for the queries of the given pages.

    Positives are images of the query's label, at most `n_positives` each. Negatives have another
    label: of the query's pages (``"pages"``, for identities: more than any filter of clicks), or
    of the whole catalogue (``"catalogue"``: categories).
    """
    if negatives not in ("pages", "catalogue"):
        raise ValueError(f"negatives must be 'pages' or 'catalogue', not {negatives!r}")
    width = pages.image.shape[1]
    members = {label: np.flatnonzero(image_labels == label) for label in np.unique(image_labels)}
    query, positive, pools = [], [], []
    for row, page in zip(*_first_pages(pages), strict=True):
        rng = generator(seed, "labelled triplets", int(row))
        same = members.get(query_labels[row], np.empty(0, np.int64))
        if negatives == "catalogue":
            page = rng.integers(len(image_labels), size=width)
        pool = page[(page >= 0) & (image_labels[page] != query_labels[row])]
        if not len(same) or not len(pool):
            continue
        for chosen in rng.permutation(same)[:n_positives]:
            query.append(row)
            positive.append(chosen)
            pools.append(np.pad(pool, (0, width - len(pool)), constant_values=-1))
    negative = np.array(pools, np.int64).reshape(-1, width)
    triplets = Triplets(np.array(query, np.int64), np.array(positive, np.int64), negative)
    return TripletSource(triplets, query_labels, image_labels)


def _first_pages(pages: PageViews) -> tuple[np.ndarray, np.ndarray]:
    rows, first = np.unique(pages.query, return_index=True)
    return rows, pages.image[first]
