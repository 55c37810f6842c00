"""What an index keeps of features in its codes (paper section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

from vsa.runtime.settings import Count, Text


@dataclass(frozen=True, kw_only=True)
class CodeSettings:
    """How features become binary codes."""

    codec: Text = "rotation"  # a name of vsa.codecs
    n_bits: Count = 256  # of a code
