"""Simulated shoppers whose purchase probabilities are known. No shopper ever bought anything here.

A session is a photo, a shopper of one segment, and a page of results in some order.

1. *Examination.* The shopper looks at the first result. After a result that was not bought, the
   next one is looked at with probability ``CONTINUE``; else the session ends (a cascade).
2. *Relevance first.* A result that is looked at is bought with log-odds that start from
   ``BASE``: by whether it is the identical product, of its leaf, of its category, or else. That is
   read from the true labels, never from a network's similarity.
3. *Then quality.* The log-odds move by an appeal of the listing to the segment (`appeal`): sales,
   conversion, applause and price, each bounded, weighted by the segment; a low price counts only
   as far as applause lends it trust (an interaction); and the sum saturates at ±``BOUND``.
4. *Something unobserved.* Normal noise of ``UNOBSERVED`` per listing and segment, in no signal.

A purchase ends the session, so the probability that it ends in one is, with p_r the probability
of the result at rank r = 1 … k and c = ``CONTINUE``,

    CVR = Σ_r p_r · c^(r−1) · Π_(s<r) (1 − p_s),

exactly; no order of the page is better than that by falling p.

What a sceptic should distrust: weights and constants were written down by the authors, once,
before any two rankers were compared, and no shop's log stands behind them. That quality matters at
all is an assumption; how much of it a ranker can use, and at what cost, is what is measured.
Portraits are known without error, pages are independent, pictures of one listing count as separate
offers, nobody compares two results before buying, and no one comes back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from vsa.data.schema import QUALITY
from vsa.ranking.segments import Segments
from vsa.runtime.seeds import generator

VERSION = 1
ELSE, CATEGORY, LEAF, IDENTICAL = range(4)
BASE = np.array([0.001, 0.005, 0.02, 0.1])  # P(buy | looked at) by relevance, at zero appeal
CONTINUE = 0.9  # a shopper who buys nothing looks at ten results on average
BOUND = 1.5  # of what quality does to the log-odds
UNOBSERVED = 0.5  # standard deviation of the noise per listing and segment


@dataclass(frozen=True)
class Segment:
    """A user portrait: its share of the sessions, and what its shoppers look at."""

    share: float
    sales: float
    conversion: float
    applause: float
    price: float


SEGMENTS = {
    "bargain hunter": Segment(0.40, sales=0.5, conversion=0.4, applause=0.3, price=1.2),
    "quality seeker": Segment(0.35, sales=0.3, conversion=0.5, applause=1.0, price=0.3),
    "trend follower": Segment(0.25, sales=1.2, conversion=0.7, applause=0.3, price=0.4),
}
NAMES = tuple(SEGMENTS)
SHARES = np.array([segment.share for segment in SEGMENTS.values()])  # (S,), sum to 1
PORTRAITS = Segments.of(NAMES, SHARES)  # as rankers are told of them


def appeal(quality: pd.DataFrame, categories: np.ndarray) -> np.ndarray:
    """What quality adds to the log-odds of a purchase, float64 (S, n) in [−BOUND, BOUND].

    Parameters
    ----------
    quality : columns of `vsa.data.schema.QUALITY`, n rows; a missing value counts as a typical one.
    categories : (n,) names; a price is dear or cheap against the median of its category.
    """
    typical = quality[QUALITY].groupby(categories).transform("median")
    price = np.log(quality.price.clip(lower=0.01) / typical.price.clip(lower=0.01))
    price = price.fillna(0).clip(-1.5, 1.5).to_numpy()
    sales = quality.sales.fillna(50.0).to_numpy()
    conversion = np.tanh((quality.conversion_rate.fillna(0.04).to_numpy() - 0.04) / 0.03)
    applause = np.tanh((quality.applause_rate.fillna(0.9).to_numpy() - 0.9) / 0.08)
    social_proof = 2 * sales / (sales + 50.0) - 1
    trust = 1 / (1 + np.exp(-3 * applause))
    bargain = np.maximum(-price, 0) * trust - np.maximum(price, 0)
    raw = np.stack(
        [
            s.sales * social_proof
            + s.conversion * conversion
            + s.applause * applause
            + s.price * bargain
            for s in SEGMENTS.values()
        ]
    )
    return BOUND * np.tanh(raw / BOUND)


def unobserved(n: int, seed: int) -> np.ndarray:
    """What no signal tells of n listings, float64 (S, n), in log-odds."""
    return generator(seed, "unobserved").normal(0, UNOBSERVED, (len(SEGMENTS), n))


def purchase_probability(relevance: np.ndarray, log_odds: np.ndarray) -> np.ndarray:
    """P(buy | looked at), float64 (..., S, k).

    `relevance` (..., k) holds ELSE to IDENTICAL, `log_odds` (..., S, k) appeal plus what is
    unobserved.
    """
    start = np.log(BASE / (1 - BASE))[relevance]
    return 1 / (1 + np.exp(-(start[..., None, :] + log_odds)))


def examination(p: np.ndarray) -> np.ndarray:
    """P(looked at), shape of `p` (..., k): purchase probabilities in the order of the page."""
    stays = CONTINUE * (1 - p[..., :-1])
    return np.concatenate([np.ones_like(p[..., :1]), np.cumprod(stays, axis=-1)], axis=-1)


def conversion_rate(p: np.ndarray) -> np.ndarray:
    """The exact probability that a session ends in a purchase, (...,) of `p` (..., k)."""
    return (p * examination(p)).sum(axis=-1)


def simulate_sessions(
    p: np.ndarray, n_sessions: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """How often results were looked at and bought, int64 (n, S, k) each, in `n_sessions` per page.

    `p` is (n, S, k), in the order of the page. A log as an app keeps it: how far a shopper has
    scrolled is known, and what was not looked at says nothing.
    """
    n, n_segments, k = p.shape
    page = np.repeat(np.arange(n), n_sessions)
    segment = rng.choice(n_segments, size=len(page), p=SHARES)
    cell = page * n_segments + segment
    seen, bought = np.zeros((2, n * n_segments, k), np.int64)
    chance = p.reshape(-1, k)
    for rank in range(k):
        seen[:, rank] = np.bincount(cell, minlength=len(seen))
        buys = rng.random(len(cell)) < chance[cell, rank]
        bought[:, rank] = np.bincount(cell[buys], minlength=len(seen))
        cell = cell[~buys]
        cell = cell[rng.random(len(cell)) < CONTINUE]
    return seen.reshape(p.shape), bought.reshape(p.shape)
