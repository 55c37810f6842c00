"""What an index keeps of features in its codes (paper section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

from vsa.runtime.errors import InputError
from vsa.runtime.settings import Count, Text

MAX_BITS = 4096  # of a code
OF_LISTS = 64  # bits that lists scan at a time
CODEC, N_BITS = "rabitq", 256  # unless somebody says otherwise


@dataclass(frozen=True, kw_only=True)
class CodeSettings:
    """How features become binary codes."""

    codec: Text = CODEC  # a name of vsa.codecs
    n_bits: Count = N_BITS  # of a code

    def __post_init__(self) -> None:
        if self.n_bits % OF_LISTS or self.n_bits > MAX_BITS:
            raise InputError(
                f"index.n_bits = {self.n_bits} makes no codes that lists can scan",
                cure=f"Take a multiple of {OF_LISTS}, at most {MAX_BITS}",
            )
