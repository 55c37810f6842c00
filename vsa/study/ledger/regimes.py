"""Records along an axis: how they are named, read back as curves, and told in sentences.

A point's record has the variant ``<place> | <arm>``; where the shop itself stands is a record of
its own, ``this shop``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vsa.study.ledger.bootstrap import Interval
from vsa.study.ledger.metrics_file import Record

HERE = "this shop"
STRAY = "rate of stray clicks"  # an experiment of notebook 03, named before there were others

# What of the paper is known on each axis: its abstract, and what this repository has of its text
PAPER = {
    "sessions per photo": "The paper learned from the log of a shop in operation. How many "
    "sessions its photos had is not known here, so it is not marked.",
    STRAY: "The paper filters clicks because shoppers click on other things, too. Its rate of "
    "such clicks is not known here, so it is not marked.",
    "object's share of the photo": "The paper's photos are those of shoppers. What share their "
    "objects had is not known here, so it is not marked.",
}

Curves = dict[str, dict[float, Interval]]  # arm → place on the axis → what was found there


def regime(axis: str) -> str:
    """The experiment of an axis."""
    return axis if axis == STRAY else f"regime: {axis}"


def differences_of(axis: str) -> str:
    """The experiment of paired differences along an axis."""
    return f"{regime(axis)}: differences"


def curves(intervals: Mapping[str, Interval]) -> Curves:
    """Arm → place → interval, of variants ``<place> | <arm>``; places in ascending order."""
    found: Curves = {}
    for variant, interval in intervals.items():
        place, _, arm = variant.partition(" | ")
        found.setdefault(arm, {})[float(place)] = interval
    return {arm: dict(sorted(curve.items())) for arm, curve in found.items()}


def intervals_of(records: Iterable[Record], metric: str) -> dict[str, Interval]:
    """Variant → interval, of those records of an experiment that have one of that metric."""
    return {
        r["variant"]: Interval(r["value"], r["ci_low"], r["ci_high"], r["n"])
        for r in records
        if r["metric"] == metric and r["ci_low"] is not None
    }


def standing(records: Iterable[Record]) -> list[float]:
    """Where the shop itself stands, one place or several quantiles, ascending; [] if untold."""
    return sorted(r["value"] for r in records if r["variant"].startswith(HERE))


def told_along(effects: Mapping[str, Interval]) -> list[str]:
    """One sentence per comparison: where its first side is surely ahead, behind, or neither."""
    lines = []
    for pair, curve in curves(effects).items():
        kinds: dict[str, list[float]] = {}
        for place, effect in curve.items():
            kind = "ahead" if effect.low > 0 else "behind" if effect.high < 0 else ""
            kinds.setdefault(kind, []).append(place)
        parts = [
            f"surely {kind} at {listed(kinds[kind])}"
            for kind in ("ahead", "behind")
            if kind in kinds
        ]
        if "" in kinds:
            parts.append(f"no sure difference at {listed(kinds[''])}")
        first, _, second = pair.partition(" − ")
        best = max(curve, key=lambda place: abs(curve[place].value))
        largest = f"the largest difference is {_effect(curve[best])}, at {best:g}"
        against = f" against {second}" if second else ""
        lines.append(f"{first}{against}: {'; '.join(parts)}; {largest}.")
    return lines


def listed(places: Iterable[float]) -> str:
    return ", ".join(f"{place:g}" for place in places)


def _effect(effect: Interval) -> str:
    return f"{effect.value:+.3f} [{effect.low:+.3f}, {effect.high:+.3f}] in mAP"
