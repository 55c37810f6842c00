"""Sizes of what is simulated: the rendered shop and its click log."""

from __future__ import annotations

from dataclasses import dataclass

from vsa.runtime.settings import Count, NotNegative, Share


@dataclass(frozen=True, kw_only=True)
class SyntheticSize:
    """Size of the rendered shop."""

    n_products_per_category: Count = 100
    image_px: Count = 64


@dataclass(frozen=True, kw_only=True)
class ClickSettings:
    """Click model of the simulated page-view log (see ``vsa.study.simulate.clicks``)."""

    n_results: Count = 60  # results listed per session
    n_sessions_per_query: Count = 4
    position_bias: NotNegative = 0.5  # P(examine rank r) = r ** -position_bias
    noise_click_rate: Share = 0.02  # P(click | examined, not identical)
    max_clicks: Count = 2  # a shopper stops after one or two identical results
