"""Names that were perhaps meant to match: what a table without a mistake may still get wrong."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

import pandas as pd

_N_EXAMPLES = 3
_N_COMPARED = 20_000  # letter by letter; more would take seconds for each example
_ACCENTS = {chr(code) for code in range(0x300, 0x370)}  # not the vowels of Indian scripts


def nearest(name: str, known: Iterable[str]) -> str:
    """`` (nearest: …)``, the one of `known` that `name` may stand for; "" if none is close."""
    name_of = {_loosely(other): other for other in sorted(set(known), reverse=True)}
    close = [key] if (key := _loosely(name)) in name_of else []
    if not close and len(name_of) <= _N_COMPARED:
        # Of a long name the beginning will do: comparing takes the square of its length
        close = get_close_matches(key[:100], name_of, n=1, cutoff=0.75)
    return f" (nearest: {name_of[close[0]]!r})" if close else ""


def match_notes(catalogue: pd.DataFrame, queries: pd.DataFrame) -> list[str]:
    """How many queries show a product of the catalogue, and which names do not quite match."""
    named = queries.product_id.dropna()
    if named.empty:
        return ["queries.csv names no products, so retrieval is not measured", *_spelt(catalogue)]
    missing = named[~named.isin(catalogue.product_id)]
    notes = [f"{len(named) - len(missing)} of {len(named)} queries show a product of the catalogue"]
    if len(missing):
        notes.append(_unmatched(missing, catalogue, all_are=len(missing) == len(named)))
    return notes + _spelt(catalogue)


def rejected_notes(root: Path, rejected: pd.DataFrame) -> list[str]:
    """How many listed images cannot be used, and why; nothing if all can."""
    if rejected.empty:
        return []
    reasons = ", ".join(f"{n} {reason}" for reason, n in rejected.reason.value_counts().items())
    examples = ", ".join(
        repr(path) + _nearest_file(root / path) for path in rejected.path[:_N_EXAMPLES]
    )
    return [f"warning: listed images that cannot be used: {reasons}, such as {examples}"]


def _nearest_file(path: Path) -> str:
    """As `nearest`, among the files beside one that is missing."""
    try:
        names = os.listdir(path.parent)
    except OSError:
        return ""
    return "" if path.name in names else nearest(path.name, names)


def _unmatched(missing: pd.Series, catalogue: pd.DataFrame, *, all_are: bool) -> str:
    products = catalogue.product_id.unique()
    loosely = set(map(_loosely, products))
    # First those that are surely slips
    names = sorted(missing.unique(), key=lambda name: _loosely(name) not in loosely)[:_N_EXAMPLES]
    examples = ", ".join(f"{name!r}{nearest(name, products)}" for name in names)
    if all_are:
        return (
            f"warning: NO product_id of queries.csv occurs in catalogue.csv, such as {examples}; "
            "retrieval cannot be measured and no clicks can be simulated. Write each product_id "
            "as in catalogue.csv"
        )
    return (
        f"warning: the product_id of {len(missing)} queries does not occur in catalogue.csv, such "
        f"as {examples}; they count as products that are not for sale. If they are for sale, write "
        "them as in catalogue.csv"
    )


def _spelt(catalogue: pd.DataFrame) -> list[str]:
    """A note for each column of names of which some differ in spelling only."""
    leaves = catalogue.leaf[catalogue.leaf != catalogue.category]
    notes = []
    for column, cells in {**catalogue[["product_id", "category"]], "leaf": leaves}.items():
        names = pd.Series(cells.unique(), dtype="str")
        groups = [list(group) for _, group in names.groupby(names.map(_loosely)) if len(group) > 1]
        if groups:
            examples = "; ".join(", ".join(map(repr, group)) for group in groups[:_N_EXAMPLES])
            notes.append(
                f"warning: catalogue.csv spells {column} in ways that count as different: "
                f"{examples}. If one is meant, write it in one way"
            )
    return notes


def _loosely(name: str) -> str:
    """What is left of a name without case, accents, blanks, and a number's zeros at its ends."""
    folded = unicodedata.normalize("NFKD", name.casefold())
    seen = "".join(c for c in folded if c.isprintable() and c != " " and c not in _ACCENTS)
    number = re.fullmatch(r"0*(\d+?)(\.0+)?", seen)
    return number[1] if number else seen
