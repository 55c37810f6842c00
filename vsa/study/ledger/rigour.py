"""Verdicts of a whole run: an intersection–union test, Holm's adjustment, and power.

A ledger keeps effects with 95 % intervals, no bootstrap draws. So each side of an interval is read
as 1.96 standard errors of that side, and p-values are those of a normal distribution with them:
the unadjusted test and the plain interval then say the same, and any published ``metrics.json``
can be judged anew.

- A claim **holds** if all its effects do: an intersection–union test (Berger, 1982), whose p-value
  is the largest one of its effects, without adjustment among them.
- A claim **falls** if any of its effects is refuted: the smallest p-value of its effects, adjusted
  by Holm (1979) for their number.
- Both are adjusted by Holm across the claims of the run, each direction at 2.5 %. A claim that
  lacks evidence cannot be found to hold, whatever its numbers; so it is not counted among those
  that might be, wrongly. It can fall, and is counted there.
- An interval of no width says that all sampled photos came out alike, and nothing of how others
  would come out: it neither refutes nor supports, in an equality check either, whose photos are a
  sample like any other.

Adjusting only ever takes verdicts back: what the plain intervals leave open stays open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from vsa.study.ledger.claims import INCONCLUSIVE, NOT_REPRODUCED, REPRODUCED, has_width, verdict_of

LEVEL = 0.025  # of each direction: what a 95 % interval leaves on one side
POWER = 0.8
RULE = (
    "A claim is reproduced if all of its effects surely lie above zero, or above the threshold "
    "that is named (an intersection–union test), and not reproduced if any effect surely lies "
    "below it, adjusted for the number of its effects; both are adjusted for the number of claims "
    "in the run (Holm), at 2.5 % in each direction. The p-values rest on standard errors that are "
    "read off the 95 % intervals. “Could have seen” is the smallest effect that this design finds "
    "in four of five repetitions, before adjustment. With few training seeds intervals are too "
    "narrow rather than too wide."
)
_NORMAL = NormalDist()
_REACH = _NORMAL.inv_cdf(1 - LEVEL)  # standard errors from an estimate to an end of its interval
_ROUNDING = 1e-9  # of p-values

Effect = Mapping[str, float]  # effect, ci_low, ci_high


@dataclass(frozen=True)
class Judgement:
    """What a run says of one of its claims.

    ``alone`` is the verdict that the ledger keeps: by the claim's own intervals, at the time of
    the run. ``p_holds`` is None where the claim lacks evidence. ``smallest`` has for each effect
    what `smallest_seen` says. ``n_hold`` and ``n_fall`` are the numbers of claims that p-values
    were adjusted for.
    """

    verdict: str
    alone: str
    p_holds: float | None
    p_falls: float
    smallest: Mapping[str, float | None]
    n_hold: int
    n_fall: int


def judge_run(claims: Sequence[Mapping[str, Any]]) -> dict[str, Judgement]:
    """Claim id → judgement, of all claims of a ``metrics.json`` together."""
    holds = holm({c["id"]: _p_holds(c) for c in claims if not c["lacks"]})
    falls = holm({c["id"]: _p_falls(c) for c in claims})
    return {
        claim["id"]: Judgement(
            _verdict(claim, holds.get(claim["id"]), falls[claim["id"]]),
            claim["verdict"],
            holds.get(claim["id"]),
            falls[claim["id"]],
            {name: smallest_seen(effect) for name, effect in claim["effects"].items()},
            len(holds),
            len(falls),
        )
        for claim in claims
    }


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjusted p-values by Holm's step-down method: reject where one is at most the level.

    The smallest of m is multiplied by m, the next by m − 1, and so on; none is smaller than the
    one before it, or larger than 1.
    """
    adjusted: dict[str, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda key: p_values[key])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}


def p_above(effect: Effect, threshold: float) -> float:
    """One-sided p-value against "not above the threshold"; 1 for an interval of no width there."""
    return _p(effect["effect"] - threshold, effect["effect"] - effect["ci_low"])


def p_below(effect: Effect, threshold: float) -> float:
    """One-sided p-value against "not below the threshold"; 1 for an interval of no width there."""
    return _p(threshold - effect["effect"], effect["ci_high"] - effect["effect"])


def standard_error(effect: Effect) -> float:
    """Half the width of the 95 % interval, over 1.96."""
    return (effect["ci_high"] - effect["ci_low"]) / (2 * _REACH)


def smallest_seen(effect: Effect) -> float | None:
    """The smallest true effect that this design finds in 80 % of repetitions, unadjusted.

    (1.96 + 0.84) standard errors; None where the interval has no width and tells none.
    """
    if not has_width(effect):
        return None
    return (_REACH + _NORMAL.inv_cdf(POWER)) * standard_error(effect)


def _p(beyond: float, room: float) -> float:
    """Of an effect `beyond` its threshold, whose interval reaches `room` back towards it."""
    return _NORMAL.cdf(-_REACH * beyond / room) if room > 0 else 1.0


def _p_holds(claim: Mapping[str, Any]) -> float:
    return max(p_above(effect, claim["threshold"]) for effect in claim["effects"].values())


def _p_falls(claim: Mapping[str, Any]) -> float:
    parts = {name: p_below(part, claim["threshold"]) for name, part in claim["effects"].items()}
    return min(holm(parts).values())


def _verdict(claim: Mapping[str, Any], p_holds: float | None, p_falls: float) -> str:
    """By the intervals, and not taken back by the adjustment."""
    plain = verdict_of(list(claim["effects"].values()), claim["threshold"], claim["lacks"])
    level = LEVEL + _ROUNDING
    if plain == NOT_REPRODUCED and p_falls <= level:
        return NOT_REPRODUCED
    if plain == REPRODUCED and p_holds is not None and p_holds <= level:
        return REPRODUCED
    return INCONCLUSIVE
