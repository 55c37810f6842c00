"""How the trees of the quality ranker are grown (paper section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

from vsa.runtime.settings import Count, Positive


@dataclass(frozen=True, kw_only=True)
class RankerSettings:
    """Gradient-boosted trees; written down before any two rankers were compared."""

    n_trees: Count
    depth: Count
    learning_rate: Positive = 0.1
