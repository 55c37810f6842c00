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

    n_results: Count  # results listed per session
    n_sessions_per_query: Count
    position_bias: NotNegative  # P(examine rank r) = r ** -position_bias
    noise_click_rate: Share  # P(click | examined, not identical)
    max_clicks: Count  # a shopper stops after one or two identical results
