"""Quality signals for data sets that have none. Nothing here was observed."""

from __future__ import annotations

import numpy as np
import pandas as pd

from vsa.data.schema import QUALITY
from vsa.data.synthetic.shop import _listing
from vsa.runtime.seeds import generator

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
        rows.append(_listing(price * np.exp(draws.normal(0, 0.12)), quality, draws))
    return pd.DataFrame(rows, columns=QUALITY, index=catalogue.index).astype(float)
