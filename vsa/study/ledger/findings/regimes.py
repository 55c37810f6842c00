"""How far results carry: curves along axes on which another shop would differ, of all runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vsa.study.figures.plots import Panel, regime_plot
from vsa.study.figures.style import HouseFigure, worded
from vsa.study.ledger.findings.runs import PublishedRun
from vsa.study.ledger.regimes import (
    PAPER,
    STRAY,
    curves,
    differences_of,
    intervals_of,
    regime,
    standing,
    told_along,
)
from vsa.study.ledger.sections import REGIMES

_OF_AXIS = {STRAY: "03_click_mined_training"}  # the other axes have a section of their own
_METRIC = "mAP"
_OF_STRAY = "filtered − raw"  # what differences are of whose records name no pair


@dataclass(frozen=True)
class Regime:
    """One axis over all runs that were walked along it."""

    axis: str
    figure: HouseFigure
    lines: list[str]  # what is sure, by run and comparison

    @property
    def title(self) -> str:
        return self.axis[:1].upper() + self.axis[1:]


def find_regimes(runs: Sequence[PublishedRun]) -> list[Regime]:
    """Each axis that any run was walked along."""
    return [found for axis in PAPER if (found := _find(axis, runs)) is not None]


def _find(axis: str, runs: Sequence[PublishedRun]) -> Regime | None:
    panels: dict[str, Panel] = {}
    lines = []
    for run in runs:
        section = _OF_AXIS.get(axis, REGIMES)
        records = list(run.records(section, regime(axis)))
        found = curves(intervals_of(records, _METRIC))
        if found:
            panels[run.label] = Panel(found, standing(records))
            differences = run.records(section, differences_of(axis))
            effects = {
                place if " | " in place else f"{place} | {_OF_STRAY}": effect
                for place, effect in intervals_of(differences, f"{_METRIC} difference").items()
            }
            lines += [f"**{run.label}**: {line}" for line in told_along(effects)]
    if not panels:
        return None
    is_marked = any(panel.here for panel in panels.values())
    mark = "; dashed or shaded: where the shop itself stands" if is_marked else ""
    name = "regime_" + "_".join(w for w in axis.replace("'s", "").split() if w not in ("of", "the"))
    figure = worded(
        regime_plot(panels, axis, _METRIC),
        name,
        f"{_METRIC} against {axis}, one line with its 95 % band per way of learning or looking.",
        f"{_METRIC} on test photos{mark}. {PAPER[axis]}",
    )
    return Regime(axis, figure, lines)
