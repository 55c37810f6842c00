"""Results in words, from intervals: a winner is named only where the interval leaves no doubt."""

from __future__ import annotations

from collections.abc import Iterable

from vsa.study.ledger.bootstrap import Interval
from vsa.study.ledger.registry import Metric


def difference_sentence(first: str, second: str, difference: Interval, metric: Metric) -> str:
    """Who is ahead, by how much, or that nobody surely is; Markdown, with the 95 % interval.

    Parameters
    ----------
    first, second : what is compared, as they shall be called.
    difference : `first` less `second`, of shares between 0 and 1; told in points of 100.
    metric : of the difference, such as "Accuracy@1 difference"; its direction says what is better.
    """
    if not metric.name.endswith(" difference"):
        raise ValueError(f"{metric.name!r} is no difference")
    name = metric.name.removesuffix(" difference")
    digits = 2 if metric.format == "+.4f" else 1
    parts = [100 * part for part in (difference.value, difference.low, difference.high)]
    if parts[1] <= 0 <= parts[2]:
        value, low, high = (f"{part:+.{digits}f}".replace("-", "−") for part in parts)
        return (
            f"No sure difference in {name} between **{first}** and **{second}**: "
            f"{value} points (95 % interval {low} to {high})."
        )
    first_wins = (parts[1] > 0) == (metric.direction == "higher")
    winner, loser = (first, second) if first_wins else (second, first)
    bounds = sorted(abs(part) for part in parts[1:])  # both on one side of zero
    value, low, high = (f"{part:.{digits}f}" for part in (abs(parts[0]), *bounds))
    return (
        f"**{winner}** ahead of **{loser}** by {value} points of {name} "
        f"(95 % interval {low} to {high})."
    )


def not_compared(first: str, second: str) -> str:
    """What stands in for a comparison that a run does not have."""
    return f"**{first}** and **{second}** were not compared in this run."


def bullets(sentences: Iterable[str]) -> str:
    """A Markdown list."""
    return "\n".join(f"- {sentence}" for sentence in sentences)
