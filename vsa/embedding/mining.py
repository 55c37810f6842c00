"""Triplets mined from page views (paper section 3.2).

For a query q with a returned list, with clicked and not clicked images d:

    q⁺ ∈ {d_click : dist(d_click, q) ≤ ε}
    q⁻ ∈ {d_nonclick : min[dist(d_nonclick, q), dist(d_nonclick, d_click)] ≥ γ}

The second holds because images that nobody clicked still show identical items. dist fuses a local
feature, a pretrained one and that of a previous model. The paper gives neither ε nor γ, nor how
dist fuses; here it is the mean of the Euclidean distances, each divided by its mean over
the pages, and ε and γ are chosen by `choose_thresholds`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vsa.runtime.errors import InputError, NotApplicable
from vsa.runtime.seeds import generator

FeaturePair = tuple[np.ndarray, np.ndarray]  # of queries (n, d) and of the catalogue (m, d)
VERSION = 2  # 2: distances are scaled on the pages that are learned from, not on all
_REMOVAL_PRECISION = 0.25
_CHUNK = 512  # pairs at a time, which stay in the cache
_MAX_SCALE_PAIRS = 20000


@dataclass(frozen=True)
class PageViews:
    """Page views as arrays: n_sessions pages of at most n_results results."""

    query: np.ndarray  # int64 (n_sessions,), rows of the query table
    image: np.ndarray  # int64 (n_sessions, n_results), rows of the catalogue; −1 past the end
    clicked: np.ndarray  # bool (n_sessions, n_results)

    def of(self, query_rows: np.ndarray) -> PageViews:
        """The pages of some queries."""
        chosen = np.isin(self.query, query_rows)
        return PageViews(self.query[chosen], self.image[chosen], self.clicked[chosen])


def make_pages(pvlog: pd.DataFrame, queries: pd.DataFrame, catalogue: pd.DataFrame) -> PageViews:
    """The log (schema ``PVLOG``) as rows of the two tables.

    Page views of queries that are not in the table are left out, and so are results that are not
    in the catalogue any more: selection removed them. Raises NotApplicable for a log without a
    click, and InputError for one that knows none of the queries or images.
    """
    if not pvlog.clicked.any():
        raise NotApplicable("Click-mined training: the log holds no click.")
    # Logs have millions of rows, so that each text is looked at once and then known by a number.
    query, image = (
        _rows(pvlog.query_id, queries.query_id),
        _rows(pvlog.image_id, catalogue.image_id),
    )
    known = np.flatnonzero((query >= 0) & (image >= 0))
    if not len(known):
        raise InputError(
            "the click log shares no query and no image with the data set",
            cure="query_id and image_id of the log must occur in the other two tables",
        )
    session = pd.factorize(pvlog.session_id, sort=True)[0][known]
    order = np.lexsort((pvlog["rank"].to_numpy()[known], session))
    listed, session = known[order], session[order]
    is_first = np.diff(session, prepend=-1) > 0
    page, first = np.cumsum(is_first) - 1, np.flatnonzero(is_first)
    position = np.arange(len(page)) - first[page]
    shape = (len(first), position.max() + 1)
    images, clicked = np.full(shape, -1), np.zeros(shape, bool)
    images[page, position] = image[listed]
    clicked[page, position] = pvlog.clicked.to_numpy()[listed]
    return PageViews(query[listed[first]], images, clicked)


def _rows(ids: pd.Series, of: pd.Series) -> np.ndarray:
    """The row of each id in a table's column of unique ids, int64; −1 where it is not there."""
    codes, unique = pd.factorize(ids)
    rows = np.append(pd.Index(of).get_indexer(pd.Index(unique)), -1)  # a missing id has the code −1
    return rows[codes]


class FusedDistance:
    """dist of the paper: the mean of several features' distances, each on a common scale."""

    def __init__(self, parts: Sequence[FeaturePair], pages: PageViews, seed: int) -> None:
        self.parts = [tuple(np.asarray(side, np.float32) for side in pair) for pair in parts]
        session, position = np.nonzero(pages.image >= 0)
        rng = generator(seed, "scale of distances")
        chosen = rng.permutation(len(session))[:_MAX_SCALE_PAIRS]
        query = pages.query[session[chosen]]
        image = pages.image[session[chosen], position[chosen]]
        self.scales = [float(_distance(q[query], c[image]).mean()) or 1.0 for q, c in self.parts]

    def to_query(self, query: np.ndarray, image: np.ndarray) -> np.ndarray:
        """Distances of pairs of a query and a catalogue image, rows (n,) each → float32 (n,)."""
        return self._mean([(q, c) for q, c in self.parts], query, image)

    def between(self, image: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Distances of pairs of catalogue images, rows (n,) each → float32 (n,)."""
        return self._mean([(c, c) for _, c in self.parts], image, other)

    def _mean(self, pairs: list[FeaturePair], a: np.ndarray, b: np.ndarray) -> np.ndarray:
        total = np.zeros(len(a), np.float32)
        for start in range(0, len(a), _CHUNK):
            part = slice(start, start + _CHUNK)
            for (first, second), scale in zip(pairs, self.scales, strict=True):
                total[part] += _distance(first[a[part]], second[b[part]]) / scale
        return total / len(pairs)


@dataclass(frozen=True)
class Triplets:
    """n triplets with every negative each may use; rows of the query and catalogue tables."""

    query: np.ndarray  # int64 (n,)
    positive: np.ndarray  # int64 (n,)
    negatives: np.ndarray  # int64 (n, n_results), left-aligned, −1 past the end; at least one each

    def __len__(self) -> int:
        return len(self.query)


@dataclass(frozen=True)
class RawTriplets:
    """Clicks and the non-clicks of their pages, before any filter, with their distances."""

    triplets: Triplets
    click_distance: np.ndarray  # float32 (n,): dist(d_click, q)
    nonclick_distance: np.ndarray  # float32 (n, n_results): min of the two; +inf past the end

    def filtered(self, epsilon: float, gamma: float) -> Triplets:
        """The triplets that meet both inequalities; clicks left without a negative go."""
        near = self.click_distance <= epsilon
        keep = (self.triplets.negatives >= 0) & (self.nonclick_distance >= gamma)
        return _compact(
            self.triplets.query[near],
            self.triplets.positive[near],
            np.where(keep, self.triplets.negatives, -1)[near],
        )


def mine(pages: PageViews, distance: FusedDistance) -> RawTriplets:
    """Every click with the images of its page that were clicked on no page of that query.

    A page where everything was clicked offers no negative, so it makes no triplet.
    """
    if not pages.image.size:
        raise NotApplicable("Click-mined training: a split has no page view to mine.")
    session, position = np.nonzero(pages.clicked)
    query, positive = pages.query[session], pages.image[session, position]
    n_images = int(pages.image.max()) + 1
    clicked_keys = np.unique(query * n_images + positive)
    page = pages.image[session]
    was_clicked = np.isin(query[:, None] * n_images + page, clicked_keys)
    triplets = _compact(query, positive, np.where((page >= 0) & ~was_clicked, page, -1))
    row, column = np.nonzero(triplets.negatives >= 0)
    image = triplets.negatives[row, column]
    nearest = np.full(triplets.negatives.shape, np.inf, np.float32)
    nearest[row, column] = np.minimum(
        distance.to_query(triplets.query[row], image),
        distance.between(image, triplets.positive[row]),
    )
    return RawTriplets(triplets, distance.to_query(triplets.query, triplets.positive), nearest)


@dataclass(frozen=True)
class Thresholds:
    """ε and γ, in units of the fused distance, whose mean over the pages is 1."""

    epsilon: float
    gamma: float


def choose_thresholds(
    raw: RawTriplets, query_products: np.ndarray, image_products: np.ndarray
) -> Thresholds:
    """ε and γ from clicks of validation queries, whose products are known; no training product is.

    ε separates identical from other clicked images best by Youden's index, the true-positive
    rate minus the false-positive rate. Images that were not clicked are nearly all other products,
    and the near ones teach most; so γ is the largest for which at least one in four of the
    images it removes shows the identical product. Where there is nothing to separate, nothing
    is filtered.
    """
    triplets = raw.triplets
    identical = image_products[triplets.positive] == query_products[triplets.query]
    row, column = np.nonzero(triplets.negatives >= 0)
    hidden = image_products[triplets.negatives[row, column]] == query_products[triplets.query[row]]
    epsilon = _youden(raw.click_distance, identical)
    gamma = _worth_removing(raw.nonclick_distance[row, column], hidden)
    return Thresholds(np.inf if epsilon is None else epsilon, gamma)


@dataclass(frozen=True)
class Mining:
    """The clicks of training and validation queries, and the ε and γ chosen on the latter."""

    train: RawTriplets
    val: RawTriplets
    thresholds: Thresholds
    seconds: float

    @property
    def filtered(self) -> Triplets:
        """The training triplets that meet both inequalities."""
        return self.train.filtered(self.thresholds.epsilon, self.thresholds.gamma)


def mining_statistics(
    triplets: Triplets, query_products: np.ndarray, image_products: np.ndarray
) -> dict[str, float]:
    """What the triplets are worth, judged by identities: counts, and shares in [0, 1].

    Queries of unknown product (−1) count in no share; one of nothing is NaN.
    """
    wanted = query_products[triplets.query]
    row, column = np.nonzero((triplets.negatives >= 0) & (wanted >= 0)[:, None])
    hidden = image_products[triplets.negatives[row, column]] == wanted[row]
    right = (image_products[triplets.positive] == wanted)[wanted >= 0]
    n_queries = len(np.unique(triplets.query))
    return {
        "queries": n_queries,
        "triplets": len(triplets),
        "triplets_per_query": len(triplets) / max(n_queries, 1),
        "click_precision": float(right.mean()) if len(right) else np.nan,
        "false_negatives": float(hidden.mean()) if len(hidden) else np.nan,
    }


def shuffle_clicks(pages: PageViews, seed: int) -> PageViews:
    """As many clicks per page, on results chosen at random.

    Nothing is left to learn but what the pages themselves tell, such as the category they share.
    """
    clicked = np.zeros_like(pages.clicked)
    rng = generator(seed, "shuffled clicks")
    for page, (images, clicks) in enumerate(zip(pages.image, pages.clicked, strict=True)):
        n_results = int((images >= 0).sum())
        clicked[page, rng.permutation(n_results)[: int(clicks.sum())]] = True
    return PageViews(pages.query, pages.image, clicked)


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.norm(a - b, axis=1)


def _youden(distances: np.ndarray, near_is_right: np.ndarray) -> float | None:
    """The threshold t for which `distance ≤ t` tells the right from the others best."""
    n_right = near_is_right.sum()
    if n_right in (0, len(near_is_right)):
        return None
    order = np.argsort(distances, kind="stable")
    right = near_is_right[order]
    index = np.cumsum(right) / n_right - np.cumsum(~right) / (len(right) - n_right)
    return float(distances[order][index.argmax()])


def _worth_removing(distances: np.ndarray, hidden: np.ndarray) -> float:
    """The largest γ such that a quarter of the images nearer than γ are identical."""
    order = np.argsort(distances, kind="stable")
    precision = np.cumsum(hidden[order]) / np.arange(1, len(order) + 1)
    worth = np.flatnonzero(precision >= _REMOVAL_PRECISION)
    if not len(worth) or worth[-1] + 1 == len(order):
        return -np.inf
    return float(distances[order][worth[-1] + 1])


def _compact(query: np.ndarray, positive: np.ndarray, negatives: np.ndarray) -> Triplets:
    """Left-align the negatives, and drop triplets that have none."""
    order = np.argsort(negatives < 0, axis=1, kind="stable")
    negatives = np.take_along_axis(negatives, order, axis=1)
    usable = (negatives >= 0).any(axis=1)
    return Triplets(query[usable], positive[usable], negatives[usable])
