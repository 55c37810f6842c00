"""Features for tests of the index."""

import numpy as np

DIM, NAMES = 16, ("bags", "shoes", "toys")


def unit(rng: np.random.Generator, n: int, dim: int = DIM) -> np.ndarray:
    """Random features of unit length, float32 (n, dim)."""
    x = rng.normal(size=(n, dim)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)
