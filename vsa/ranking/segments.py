"""Groups of shoppers whom a ranker tells apart (the user portraits of paper section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vsa.runtime.errors import InputError
from vsa.runtime.registry import unknown


@dataclass(frozen=True)
class Segments:
    """Names of segments, and each one's share of the sessions; none: all shoppers are alike.

    Whoever logs sessions names them: they are fitted with the ranker and kept with it. Arrays with
    an axis of segments, S, have one entry where there is no segment. Raises InputError for
    names that are empty or given twice, and shares that do not fit or do not sum to 1.
    """

    names: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.names)) < len(self.names) or not all(map(str.strip, self.names)):
            raise InputError(
                f"segments {list(self.names)} cannot be told apart", cure="Name each one, once"
            )
        is_sum = not self.names or abs(sum(self.shares) - 1) < 1e-6
        if len(self.names) != len(self.shares) or min(self.shares, default=1) <= 0 or not is_sum:
            raise InputError(
                f"{list(self.shares)} are no shares of the segments {list(self.names)}",
                cure="Give each a share above 0; they sum to 1",
            )

    @classmethod
    def of(cls, names: Sequence[str], shares: Sequence[float] | np.ndarray) -> Segments:
        """From any two sequences."""
        return cls(tuple(names), tuple(float(share) for share in shares))

    @cached_property
    def weights(self) -> np.ndarray:
        """What a mean over all shoppers weighs with, float64 (S,), sum 1."""
        return np.array(self.shares or (1.0,))

    def number(self, name: str) -> int:
        """Which segment that is; raises InputError for an unknown one."""
        if not self.names:
            raise InputError(
                f"unknown user portrait {name!r}: the ranker tells no shoppers apart",
                cure="Ask without a segment",
            )
        if name not in self.names:
            raise unknown("user portrait", name, self.names)
        return self.names.index(name)
