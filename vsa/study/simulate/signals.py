"""Quality signals: those of the synthetic shop, and for data sets that have none. All are drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd

from vsa.data.schema import QUALITY
from vsa.runtime.seeds import generator

VERSION = 1
MEDIAN_PRICE = 100.0


def simulate_signals(catalogue: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Columns of `QUALITY`, one row per catalogue row, drawn as the synthetic shop draws its own.

    A product has a hidden quality that no picture tells, and each of its listings signals that
    depend on it; here every catalogue picture is a listing. Prices are log-normal around one
    median, whatever the category. Rows depend on the seed, product and image id alone.
    """
    rows = []
    for product, image in zip(catalogue.product_id, catalogue.image_id, strict=True):
        plan = generator(seed, "signals", str(product))
        quality = plan.normal()
        price = MEDIAN_PRICE * np.exp(plan.normal(0.1 * quality, 0.5))
        draws = generator(seed, "signals", str(product), str(image))
        rows.append(draw_listing(price * np.exp(draws.normal(0, 0.12)), quality, draws))
    return pd.DataFrame(rows, columns=QUALITY, index=catalogue.index).astype(float)


def draw_listing(price: float, quality: float, rng: np.random.Generator) -> dict[str, float]:
    """Quality signals of one listing; they depend on a hidden quality, never on appearance.

    Sales are log-normal (a heavy tail); conversion is some per cent, applause mostly above 0.8.
    """
    seller = 0.8 * quality + 0.6 * rng.normal()
    a, b, c = rng.normal(size=3)
    return {
        "sales": float(np.floor(np.exp(3.2 + 0.9 * seller + 1.2 * a))),
        "conversion_rate": float(1 / (1 + np.exp(3.4 - 0.5 * seller - 0.4 * b))),
        "applause_rate": float(1 / (1 + np.exp(-2.6 - 0.7 * seller - 0.5 * c))),
        "price": round(float(price), 2),
    }
