"""Simulated page views and clicks (PV-LOG). Nothing here was observed: no shopper ever clicked.

Clicks exist in no public image data set, so this module plays both sides of a search page, on
synthetic and real images alike, from the known identities:

1. A weak engine (inner products of ``vsa.data.descriptors.weak_features``, say) takes the best
   2·n_results pictures of a query, disturbs their scores a little, and lists the best n_results.
   Pictures of the query's category come first, as if the shopper had opened that category's tab.
   The disturbance, normal noise of a tenth of the standard deviation of the query's scores,
   stands for the changes of a living catalogue: two sessions of one query see different pages.
2. A shopper examines rank r with probability r^−position_bias, independently for each rank.
3. An examined picture of the identical product is clicked. Each shopper wants one to max_clicks
   such pictures, any number being equally likely, and leaves after the last.
4. An examined picture of another product is clicked with probability noise_click_rate.

What a sceptic should distrust: real shoppers click on alike products more than on unlike ones,
examine neighbouring ranks together, and come back. A query of unknown product yields noise only.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from vsa.data.descriptors import DESCRIPTOR_PX, weak_features
from vsa.data.images import load_images
from vsa.data.schema import PVLOG, Dataset, check
from vsa.runtime.errors import InputError
from vsa.runtime.seeds import generator
from vsa.study.simulate.settings import ClickSettings

VERSION = 1
USUAL = ClickSettings()
EXPLORATION = 0.1  # noise on the scores, in standard deviations of the query's best scores
_LIFT = 1000.0  # more than any score or disturbance
_CHUNK_QUERIES = 256
_FIRST_DAY = np.datetime64("2018-01-01", "us")
_N_DAYS = 28


def with_clicks(shop: Dataset, *, seed: int = 0, settings: ClickSettings = USUAL) -> Dataset:
    """A shop with simulated page views and clicks, as `vsa.train` learns from.

    Pages are those of a weak engine (``weak_features``) over the whole catalogue, for all queries
    whose product is known. Raises InputError for a shop that has clicks, or that knows no products.
    """
    if shop.pvlog is not None:
        raise InputError("the shop has page views of its own", cure="Learn from these")
    queries = shop.queries.dropna(subset="product_id")
    if not shop.has_identities or queries.empty:
        raise InputError(
            "clicks cannot be simulated: the products on the photos are not known",
            cure="Give queries their product_id",
            file=shop.root,
        )
    tables = queries, shop.catalogue
    asked, offered = (
        weak_features(load_images(shop.root, table.path.tolist(), DESCRIPTOR_PX))
        for table in tables
    )
    pvlog = simulate_pvlog(*tables, asked, offered, settings, seed)
    simulated = [*shop.simulated, "page views and clicks: a model picks from a weak engine's list"]
    return dataclasses.replace(shop, pvlog=check(pvlog, PVLOG, "pvlog"), simulated=simulated)


def simulate_pvlog(
    queries: pd.DataFrame,
    catalogue: pd.DataFrame,
    query_features: np.ndarray,
    catalogue_features: np.ndarray,
    settings: ClickSettings,
    seed: int,
) -> pd.DataFrame:
    """Simulated page views of every query, a table of the schema ``PVLOG`` sorted by session.

    Features are float32 of shapes (n_queries, d) and (n_catalogue, d), in the order of the
    tables. A session depends on the seed, its id and its page alone; the order of rows does not
    matter. Sessions without a click are kept, as a log keeps them.
    """
    # In the order of ids, so that ties of the engine are broken alike for any order of rows.
    query_order = np.argsort(queries.query_id.to_numpy(str), kind="stable")
    image_order = np.argsort(catalogue.image_id.to_numpy(str), kind="stable")
    queries, catalogue = queries.iloc[query_order], catalogue.iloc[image_order]
    n_listed = min(settings.n_results, len(catalogue))
    categories = pd.factorize(pd.concat([queries.category, catalogue.category]))[0]
    wanted_category, offered_category = np.split(categories, [len(queries)])  # −1: unknown
    candidates, scores = _weak_engine(
        query_features[query_order],
        catalogue_features[image_order],
        wanted_category,
        offered_category,
        2 * n_listed,
    )
    n_sessions = settings.n_sessions_per_query
    query_of = np.repeat(np.arange(len(queries)), n_sessions)  # (n_sessions,)
    number_of = np.tile(np.arange(n_sessions), len(queries))
    session_ids = [
        f"{query_id}/{number}"
        for query_id, number in zip(queries.query_id.iloc[query_of], number_of, strict=True)
    ]
    draws = _draws(session_ids, candidates.shape[1], n_listed, settings.max_clicks, seed)
    noise, examine, click, n_wanted, minute = draws

    page = np.argsort(-(scores[query_of] + EXPLORATION * noise), axis=1, kind="stable")
    listed = np.take_along_axis(candidates[query_of], page[:, :n_listed], axis=1)
    products = pd.factorize(pd.concat([queries.product_id, catalogue.product_id]))[0]
    wanted, offered = np.split(products, [len(queries)])  # −1 where unknown
    identical = (offered[listed] == wanted[query_of, None]) & (wanted[query_of, None] >= 0)
    clicked = _clicks(identical, examine, click, n_wanted, settings)

    return pd.DataFrame(
        {
            "session_id": pd.Series(session_ids, dtype=str).repeat(n_listed).to_numpy(),
            "query_id": queries.query_id.iloc[query_of].repeat(n_listed).to_numpy(),
            "rank": np.tile(np.arange(1, n_listed + 1), len(session_ids)),
            "image_id": catalogue.image_id.iloc[listed.ravel()].to_numpy(),
            "clicked": clicked.ravel(),
            "timestamp": np.repeat(_FIRST_DAY + minute.astype("timedelta64[m]"), n_listed),
        }
    )


def pvlog_statistics(
    pvlog: pd.DataFrame, queries: pd.DataFrame, catalogue: pd.DataFrame
) -> dict[str, float]:
    """What a PV-LOG holds, judged by the known identities; shares are in [0, 1].

    ``click_precision`` is the share of clicks on the identical product, ``false_negatives`` the
    share of listed but not clicked pictures that show it (why the paper, 3.2, filters
    non-clicked images). Both leave out queries of unknown product, and are NaN where there is
    nothing to count.
    """
    wanted = pvlog.query_id.map(queries.set_index("query_id").product_id)
    offered = pvlog.image_id.map(catalogue.set_index("image_id").product_id)
    known, clicked = wanted.notna(), pvlog.clicked
    identical = (wanted == offered) & known
    return {
        "sessions": pvlog.session_id.nunique(),
        "impressions": len(pvlog),
        "clicks": int(clicked.sum()),
        "click_through_rate": float(clicked.mean()),
        "sessions_with_click": float(clicked.groupby(pvlog.session_id).any().mean()),
        "click_precision": float(identical[clicked & known].mean()),
        "false_negatives": float(identical[~clicked & known].mean()),
    }


def clicks_by_rank(pvlog: pd.DataFrame) -> pd.DataFrame:
    """Columns rank (1 = top), impressions, clicks and click_rate, one row per rank."""
    groups = pvlog.groupby("rank").clicked
    table = pd.DataFrame({"impressions": groups.size(), "clicks": groups.sum()})
    return table.assign(click_rate=table.clicks / table.impressions).reset_index()


def _weak_engine(
    queries: np.ndarray,
    catalogue: np.ndarray,
    query_categories: np.ndarray,
    catalogue_categories: np.ndarray,
    n_best: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Rows (n_queries, n_best) of the catalogue, best first, and their standardised scores.

    Scores of the query's category (codes ≥ 0) are lifted above all others.
    """
    n_best = min(n_best, len(catalogue))
    rows = np.empty((len(queries), n_best), np.int64)
    scores = np.empty((len(queries), n_best), np.float32)
    for start in range(0, len(queries) if n_best else 0, _CHUNK_QUERIES):
        chunk = slice(start, start + _CHUNK_QUERIES)
        wanted = query_categories[chunk, None]
        same = (wanted == catalogue_categories) & (wanted >= 0)
        cosines = queries[chunk] @ catalogue.T
        rows[chunk] = _best(cosines + _LIFT * same, n_best)
        best = np.take_along_axis(cosines, rows[chunk], axis=1)
        spread = best.std(axis=1, keepdims=True)
        lift = _LIFT * np.take_along_axis(same, rows[chunk], axis=1)
        scores[chunk] = best / np.where(spread > 0, spread, 1) + lift
    return rows, scores


def _best(scores: np.ndarray, n_best: int) -> np.ndarray:
    """Columns of the highest scores of each row, best first, ties in their order: (n, n_best)."""
    least = -np.partition(-scores, n_best - 1, axis=1)[:, n_best - 1 : n_best]
    found = np.empty((len(scores), n_best), np.int64)
    for i, is_among in enumerate(scores >= least):
        columns = np.flatnonzero(is_among)
        found[i] = columns[np.argsort(-scores[i, columns], kind="stable")[:n_best]]
    return found


def _draws(
    session_ids: list[str], n_candidates: int, n_listed: int, max_clicks: int, seed: int
) -> tuple[np.ndarray, ...]:
    """Each session's random numbers: a row of each array, from a generator of its own."""
    n = len(session_ids)
    noise = np.empty((n, n_candidates), np.float32)
    examine, click = np.empty((2, n, n_listed), np.float32)
    n_wanted, minute = np.empty((2, n), np.int64)
    for i, session_id in enumerate(session_ids):
        rng = generator(seed, "clicks", session_id)
        noise[i] = rng.standard_normal(n_candidates)
        examine[i], click[i] = rng.random((2, n_listed))
        n_wanted[i] = rng.integers(1, max_clicks, endpoint=True)
        minute[i] = rng.integers(_N_DAYS * 24 * 60)
    return noise, examine, click, n_wanted, minute


def _clicks(
    identical: np.ndarray,
    examine: np.ndarray,
    click: np.ndarray,
    n_wanted: np.ndarray,
    settings: ClickSettings,
) -> np.ndarray:
    """Which results are clicked; all but `n_wanted` are of shape (n_sessions, n_listed)."""
    ranks = np.arange(1.0, identical.shape[1] + 1)
    examined = examine < ranks**-settings.position_bias
    found = examined & identical
    n_found_above = np.cumsum(found, axis=1) - found
    still_there = n_found_above < n_wanted[:, None]
    return examined & still_there & (identical | (click < settings.noise_click_rate))
