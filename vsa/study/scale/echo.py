"""An actor that answers as many bytes as it is asked for: it loads nothing but numpy."""

from __future__ import annotations

import numpy as np


class Echo:
    """One process that messages go to and come from."""

    def answer(self, n_bytes: int) -> np.ndarray:
        """So many bytes, uint8 (n_bytes,)."""
        return np.zeros(n_bytes, np.uint8)
