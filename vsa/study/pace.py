"""How far a pipeline is, and about how long it still takes.

The estimate goes by what each notebook took in an earlier run at the same profile: the longest that
its ledger knows, in which networks were trained and not merely read. It is scaled by how the
notebooks done so far compare with that run, so that a slower machine shows. Where there is no such
run, nothing is estimated.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from vsa.data.datasets import find_source
from vsa.runtime.atomic import atomic_file
from vsa.runtime.errors import InputError
from vsa.runtime.paths import NOTEBOOKS, reports_dir
from vsa.study.run import Run

VARIABLE = "VSA_PLAN"  # names the plan's file to notebooks, each of which is a process of its own


@dataclass(frozen=True)
class Plan:
    """The notebooks of a pipeline, and the seconds that they take."""

    names: list[str]  # in order of execution, up to the last that is asked for
    like: str  # an earlier run; "" where there is none
    expected_s: dict[str, float]  # in that run
    taken_s: dict[str, float]  # in this one

    def place(self, name: str) -> str:
        """Of a notebook that begins: ``3 of 7, about 9 of 12 min left, going by …``."""
        position = self.names.index(name)
        place = f"{position + 1} of {len(self.names)}"
        if not self.like:
            return f"{place}, time left not known: no earlier run to go by"
        taken = sum(self.taken_s.values())
        usual = sum(self.expected_s.get(done, 0.0) for done in self.taken_s)
        left = sum(self.expected_s.get(other, 0.0) for other in self.names[position:])
        left *= taken / usual if usual else 1.0
        total = _duration(taken + left)
        return f"{place}, about {_duration(left)} left of {total}, going by {self.like}"


def notebooks_in_order() -> list[str]:
    """Names of the notebooks as they are executed: the tour shows what the others have made."""
    return [*sorted(path.stem for path in NOTEBOOKS.glob("0[1-9]_*.ipynb")), "00_tour"]


def begin_plan(run: Run, until: str | None) -> Path:
    """Write the plan of a pipeline that starts, to the end or to a notebook; returns its file."""
    names = notebooks_in_order()
    names = names[: names.index(until) + 1] if until else names
    path = run.artifacts / ".plan.json"
    _write(path, Plan(names, *_earlier_run(run, names), {}))
    return path


def place(name: str) -> str:
    """As `Plan.place`; "" for a notebook that is executed on its own."""
    file = os.environ.get(VARIABLE)
    return _read(Path(file)).place(name) if file else ""


def note_taken(name: str, seconds: float) -> None:
    """Note how long a notebook took, where it is executed as a part of a plan."""
    if file := os.environ.get(VARIABLE):
        plan = _read(Path(file))
        _write(Path(file), replace(plan, taken_s=plan.taken_s | {name: seconds}))


def _read(path: Path) -> Plan:
    return Plan(**json.loads(path.read_text(encoding="utf-8")))


def _write(path: Path, plan: Plan) -> None:
    with atomic_file(path) as draft:
        draft.write_text(json.dumps(asdict(plan)), encoding="utf-8")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


# Earlier runs -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Timed:
    name: str
    dataset: str
    is_changed: bool  # settings that are not the profile's
    seconds: dict[str, float]


def _earlier_run(run: Run, names: list[str]) -> tuple[str, dict[str, float]]:
    """The run to go by and its seconds: this one, else the likest; ("", {}) if there is none."""
    is_rendered = find_source(run.dataset).is_rendered

    def unlikeness(other: _Timed) -> tuple[bool | int | str, ...]:
        return (
            other.name != run.name,
            other.dataset != run.dataset,
            _is_rendered(other.dataset) != is_rendered,
            -len(other.seconds.keys() & set(names)),
            other.is_changed,
            other.name,
        )

    found = min(_timed_runs(run.profile, names[-1]), key=unlikeness, default=None)
    return (found.name, found.seconds) if found else ("", {})


def _timed_runs(profile: str, last: str) -> Iterator[_Timed]:
    """Runs at a profile that came as far as a notebook; what they lack, their data ruled out."""
    for path in sorted(reports_dir().glob("*/metrics.json")):
        try:
            told = json.loads(path.read_text(encoding="utf-8"))["run"]
            if told["profile"] != profile or last not in told["sections"]:
                continue
            seconds = {
                name: float(facts.get("longest_s", facts["run_time_s"]))
                for name, facts in told["sections"].items()
            }
            is_changed = bool(told.get("changes"))
            yield _Timed(path.parent.name, str(told["dataset"]), is_changed, seconds)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            continue  # whoever needs its numbers is told


def _is_rendered(dataset: str) -> bool:
    try:
        return find_source(dataset).is_rendered
    except InputError:  # of a plug-in that is not loaded
        return False
