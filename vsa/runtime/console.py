"""How commands say what they found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

N_NAMED = 10  # of the pictures that were left out; a file has all


def tell(facts: Mapping[str, Any]) -> None:
    """Print counts and words, one a line."""
    for name, value in facts.items():
        text = value if isinstance(value, str) else f"{value:,}"
        print(f"{text:>14}  {name}")


def one_line(name: str) -> str:
    """A file's name without what a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
