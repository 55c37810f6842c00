"""Each claim on each published run, and one sentence over all of them.

Sentences are put together from verdicts, effects and what is lacking; none is typed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vsa.study.ledger.claims import (
    INCONCLUSIVE,
    NOT_REPRODUCED,
    REPRODUCED,
    Claim,
    has_width,
    load_claims,
    verdict_of,
)
from vsa.study.ledger.findings.runs import PublishedRun
from vsa.study.ledger.reporting.content import SYMBOLS, effect_text
from vsa.study.ledger.rigour import p_below

NOT_JUDGED_HERE = "not judged"
HELD, IN_PLACES, MIXED = "held", "held in places", "held here, fell there"
FELL, OPEN = "did not hold", "not settled"
# What ledgers call in a way that reads as its contrary: by how much the first is ahead
_CALLED = {
    "IoU@0.5 lost to the detector, 0.05 granted": "IoU@0.5 − that of the detector + 0.05",
    "time saved beyond one half": "share of time saved − 0.5",
}
_SEEDS = re.compile(r"^(\d+) training seeds$")


@dataclass(frozen=True)
class Cell:
    """A claim on a run."""

    run: PublishedRun
    claim: dict[str, Any] | None  # as the ledger has it; None where it was not judged
    verdict: str
    reasons: tuple[str, ...]  # what decided, or what stood in the way; the first weighs most

    @property
    def label(self) -> str:
        return self.run.label

    @property
    def why(self) -> str:
        return "; ".join(self.reasons)

    @property
    def is_open(self) -> bool:
        """Whether its numbers leave it open, rather than what is lacking."""
        if self.claim is None or self.verdict != INCONCLUSIVE:
            return False
        return not self.claim["lacks"] or self.claim["verdict"] != INCONCLUSIVE

    @property
    def symbol(self) -> str:
        return SYMBOLS.get(self.verdict, "–")


@dataclass(frozen=True)
class Finding:
    """A claim over all published runs."""

    claim: Claim
    cells: tuple[Cell, ...]

    def having(self, verdict: str) -> list[Cell]:
        return [cell for cell in self.cells if cell.verdict == verdict]

    @property
    def outcome(self) -> str:
        """In a word or two, over all runs that judged it."""
        held, fell = self.having(REPRODUCED), self.having(NOT_REPRODUCED)
        if held:
            judged = [cell for cell in self.cells if cell.claim]
            return MIXED if fell else HELD if len(held) == len(judged) else IN_PLACES
        return FELL if fell else OPEN

    @property
    def sentence(self) -> str:
        """Where it held, where not and why, where that is open and why; Markdown."""
        held, fell = self.having(REPRODUCED), self.having(NOT_REPRODUCED)
        unsure = [cell for cell in self.cells if cell.is_open]
        lacking = [cell for cell in self.cells if cell not in (*held, *fell, *unsure)]
        parts = []
        if held:
            is_all = self.outcome == HELD
            among = "every data set that can judge it: " if is_all else ""
            parts.append(f"**Held** on {among}{_with_reasons(held)}")
        if fell:
            parts.append(f"**did not hold** on {_with_reasons(fell)}")
        if unsure:
            parts.append(f"**left open** on {_with_reasons(unsure)}")
        if lacking:
            parts.append(f"**could not be judged** on {_with_reasons(lacking)}")
        text = "; ".join(parts)
        return f"{_upper(text)}."

    @property
    def simulated(self) -> list[str]:
        """What it rests on that nobody observed, as the data sets' cards say."""
        lines: dict[str, list[Cell]] = {}
        for cell in self.cells:
            for line in cell.run.card.get("simulated", ()):
                if cell.claim and line.startswith(self.claim.rests_on):
                    lines.setdefault(line.rstrip("."), []).append(cell)
        return [f"{_upper(line)} ({_labels(cells)})." for line, cells in lines.items()]


def find_all(runs: Sequence[PublishedRun]) -> list[Finding]:
    """All claims in the paper's order."""
    return [
        Finding(claim, tuple(_cell(run, claim) for run in runs)) for claim in load_claims().values()
    ]


def in_short(findings: Sequence[Finding]) -> list[tuple[str, list[Finding]]]:
    """Outcome, in words, and the claims of that outcome, for those outcomes that there are."""
    named = {
        HELD: "Held on every data set that can judge it",
        IN_PLACES: "Held on some data sets, and left open on others",
        MIXED: "Held on some data sets, and surely did not on others",
        FELL: "Surely did not hold on some data sets, and held on none",
        OPEN: "Settled on no data set",
    }
    grouped = {
        words: [finding for finding in findings if finding.outcome == outcome]
        for outcome, words in named.items()
    }
    return [(words, found) for words, found in grouped.items() if found]


def _cell(run: PublishedRun, claim: Claim) -> Cell:
    judged = run.claims.get(claim.id)
    if judged is None:
        lacking = f"needs {claim.needs}" if run.knows_products else "products are not known"
        return Cell(run, None, NOT_JUDGED_HERE, (lacking,))
    verdict = run.judgements[claim.id].verdict
    why: dict[str, Callable[[PublishedRun, dict[str, Any]], tuple[str, ...]]] = {
        REPRODUCED: _why_held,
        NOT_REPRODUCED: _why_fell,
        INCONCLUSIVE: _why_unsure,
    }
    return Cell(run, judged, verdict, why[verdict](run, judged))


def _why_held(run: PublishedRun, claim: dict[str, Any]) -> tuple[str, ...]:
    """The effect that came nearest to failing."""
    effects = claim["effects"]
    nearest = min(effects, key=lambda name: _margin(effects[name], claim["threshold"]))
    weakest = "" if len(effects) == 1 else "its weakest effect: "
    return (f"{weakest}{_told(nearest, claim)}",)


def _why_fell(run: PublishedRun, claim: dict[str, Any]) -> tuple[str, ...]:
    """The effect that is refuted most clearly."""
    effects, threshold = claim["effects"], claim["threshold"]
    clearest = min(
        effects, key=lambda name: (p_below(effects[name], threshold), effects[name]["effect"])
    )
    return (_told(clearest, claim),)


def _why_unsure(run: PublishedRun, claim: dict[str, Any]) -> tuple[str, ...]:
    """What the adjustment took back, what is lacking, and which intervals settle nothing."""
    parts, threshold = [], claim["threshold"]
    if claim["verdict"] != INCONCLUSIVE:
        parts.append(_taken_back(run, claim))
    if claim["lacks"]:
        parts.append(f"lacking: {', '.join(map(_lacking, claim['lacks']))}")
    for name, effect in claim["effects"].items():
        if not has_width(effect):
            parts.append(
                f"all photos came out alike, which says nothing of others: {_told(name, claim)}"
            )
        elif effect["ci_low"] <= threshold < effect["ci_high"]:
            parts.append(_told(name, claim))
    return tuple(parts)


def _taken_back(run: PublishedRun, claim: dict[str, Any]) -> str:
    """Why the verdict that the ledger keeps does not stand."""
    by_rule = verdict_of(list(claim["effects"].values()), claim["threshold"], claim["lacks"])
    if claim["verdict"] != by_rule:
        reason = "by the rule of its time, which let intervals of no width settle a claim"
        return f"{claim['verdict']} {reason}"
    n_effects = len(claim["effects"])
    own = f"its {n_effects} effects and " if n_effects > 1 else ""
    adjusted = f"not once adjusted for {own}the {len(run.claims)} claims of the run"
    if claim["verdict"] == NOT_REPRODUCED:
        return f"{_why_fell(run, claim)[0]} alone would refute it, {adjusted}"
    return f"its intervals alone would reproduce it, {adjusted}"


def _lacking(what: str) -> str:
    """What a claim lacks, as an item of a list: in quotes if it holds a comma."""
    if found := _SEEDS.match(what):
        return f"training with {found[1]} seeds"
    return f"“{what}”" if "," in what else what


def _margin(effect: dict[str, float], threshold: float) -> float:
    """By how many widths of its interval an effect lies beyond its threshold."""
    return (effect["effect"] - threshold) / (effect["ci_high"] - effect["ci_low"])


def _told(name: str, claim: dict[str, Any]) -> str:
    return f"{called(name) or 'the effect'} {effect_text(claim['effects'][name])}"


def called(effect: str) -> str:
    """An effect's name as readers see it, so that more is better."""
    return _CALLED.get(effect, effect)


def _labels(cells: Iterable[Cell]) -> str:
    names = [cell.label for cell in cells]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _with_reasons(cells: Sequence[Cell]) -> str:
    """``grocery and vpr2023 (needs …), clothing (…)``: those of one first reason together."""
    grouped: dict[str, list[Cell]] = {}
    for cell in cells:
        grouped.setdefault(cell.reasons[0], []).append(cell)
    return ", ".join(f"{_labels(group)} ({why})" for why, group in grouped.items())


def _upper(text: str) -> str:
    """With a capital at its beginning, behind asterisks too."""
    stars = len(text) - len(text.lstrip("*"))
    return text[:stars] + text[stars : stars + 1].upper() + text[stars + 1 :]
