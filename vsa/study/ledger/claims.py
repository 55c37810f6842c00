"""The paper's claims, and verdicts that follow from intervals alone.

A claim is *reproduced* when the whole interval of its effect lies above the threshold, *not
reproduced* when the whole interval lies at or below it, and *inconclusive* otherwise. A claim of
which some evidence is lacking can fall, but it cannot be reproduced. An interval of no width says
nothing of photos that were not sampled, and so settles nothing.

These are the verdicts of one claim by itself, which the ledger keeps; `rigour` adjusts them for
the number of effects and of claims, and those are what reports show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from vsa.runtime.errors import InputError
from vsa.study.ledger.bootstrap import Interval

REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE = "reproduced", "not reproduced", "inconclusive"
# Said of runs whose sizes are a test's. The ledger keeps what follows from their intervals.
SMOKE, NOT_JUDGED = "smoke", "not judged at smoke"
NO_MEANING = (
    "This is a smoke run: a test that everything works, at sizes so small that its numbers mean "
    "nothing. It judges no claim."
)


@dataclass(frozen=True)
class Claim:
    """One entry of ``claims.yaml``; ``paper_value`` is None until read in the paper itself."""

    id: str
    statement: str
    plain: str  # the same for who has not read the paper
    paper_section: str
    judged_by: str
    needs: str  # what a data set or a run must have for it to be judged
    rests_on: tuple[str, ...]  # beginnings of what the data set's card may say is simulated
    paper_value: str | None


@cache
def load_claims() -> dict[str, Claim]:
    """All claims by id, in the paper's order."""
    text = (resources.files("vsa.study.ledger") / "claims.yaml").read_text(encoding="utf-8")
    entries = yaml.safe_load(text)
    return {e["id"]: Claim(**e | {"rests_on": tuple(e["rests_on"])}) for e in entries}


def judge(
    claim_id: str,
    effect: Interval,
    unit: str,
    evidence: Sequence[str] = (),
    threshold: float = 0.0,
) -> dict[str, Any]:
    """The claim with its verdict, as `Ledger.claim` stores it.

    Parameters
    ----------
    claim_id : an id of ``claims.yaml``.
    effect : the measured effect; positive is in the claim's favour.
    unit : of the effect, for example "Accuracy@1".
    evidence : keys of the records that the effect rests on, ``section/experiment/variant/metric``.
    threshold : what the effect must exceed; negative for "loses no more than".

    Raises
    ------
    InputError for an unknown id.
    """
    return judge_all(claim_id, {"": effect}, unit, evidence, threshold)


def judge_all(
    claim_id: str,
    effects: Mapping[str, Interval],
    unit: str,
    evidence: Sequence[str] = (),
    threshold: float = 0.0,
    lacks: Sequence[str] = (),
) -> dict[str, Any]:
    """As `judge`, for a claim that must hold in every one of several named comparisons.

    It is reproduced only if each effect is, not reproduced if any is not, and inconclusive
    otherwise. The smallest effect is the one reported first; all are kept under ``effects``.
    ``lacks`` names evidence that the claim needs and this run does not have.
    """
    claims = load_claims()
    if claim_id not in claims:
        raise InputError(f"unknown claim {claim_id!r}", cure=f"Choose one of {', '.join(claims)}")
    if not effects:
        raise ValueError("a claim is judged by at least one effect")
    claim = claims[claim_id]
    named = {
        name: {"effect": effect.value, "ci_low": effect.low, "ci_high": effect.high}
        for name, effect in effects.items()
    }
    smallest = min(named, key=lambda name: named[name]["effect"])
    return {
        "id": claim.id,
        "statement": claim.statement,
        "paper_section": claim.paper_section,
        "verdict": verdict_of(list(named.values()), threshold, lacks),
        **named[smallest],
        "unit": unit,
        "threshold": threshold,
        "effects": named,
        "lacks": list(lacks),
        "evidence": list(evidence),
        "paper_value": claim.paper_value,
    }


def shown_verdict(verdict: str, profile: str) -> str:
    """The verdict as a reader may see it: none of a run whose numbers mean nothing."""
    return NOT_JUDGED if profile == SMOKE else verdict


def sentence(claim: Mapping[str, Any], profile: str) -> str:
    """A claim in a sentence of Markdown: its verdict alone, effects with intervals, what it lacks.

    And what stands beside it, such as how clean the clicks are.
    """
    effects = "; ".join(
        f"{name or 'effect'} {part['effect']:+.3f} [{part['ci_low']:+.3f}, {part['ci_high']:+.3f}]"
        for name, part in claim["effects"].items()
    )
    statement = claim["statement"].rstrip(".")
    lacks = f" Lacking: {', '.join(claim['lacks'])}." if claim["lacks"] else ""
    verdict = shown_verdict(claim["verdict"], profile)
    beside = f" {claim['beside']}" if claim.get("beside") else ""
    alone = "" if profile == SMOKE else " by its intervals alone"
    judged = f"**{claim['id']} {verdict}**{alone}: {statement} ({effects} {claim['unit']})."
    return f"{judged}{lacks}{beside}"


def verdict_of(
    effects: Sequence[Mapping[str, float]], threshold: float, lacks: Sequence[str] = ()
) -> str:
    """The verdict that follows from effects with ``ci_low`` and ``ci_high``."""
    if any(effect["ci_high"] <= threshold and has_width(effect) for effect in effects):
        return NOT_REPRODUCED
    if not lacks and all(effect["ci_low"] > threshold and has_width(effect) for effect in effects):
        return REPRODUCED
    return INCONCLUSIVE


def has_width(effect: Mapping[str, float]) -> bool:
    """Whether an effect's interval has any: one of none says only that all photos are alike."""
    return effect["ci_high"] > effect["ci_low"]
