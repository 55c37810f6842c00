"""The ledger: every number goes here first; tables, figures and prose read it back.

``reports/<run>/metrics.json`` holds ``run`` (what was run; of each section where, when and how
long), ``records`` and ``claims``. A notebook opens its section, records, and saves; saving replaces
the section as a whole, so running a notebook again leaves nothing stale and nothing twice.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from vsa.data.names import FOLDER_PREFIX, folder_path
from vsa.runtime.errors import InputError
from vsa.study.figures.style import forget_figures
from vsa.study.ledger import environment
from vsa.study.ledger.bootstrap import Interval
from vsa.study.ledger.claims import NO_MEANING, SMOKE, sentence, verdict_of
from vsa.study.ledger.metrics_file import (
    Record,
    pivot,
    read_metrics,
    record_key,
    rounded,
    section_order,
    write_metrics,
)
from vsa.study.ledger.regimes import standing
from vsa.study.ledger.registry import get_metric
from vsa.study.ledger.sections import SECTIONS
from vsa.study.ledger.sentences import difference_sentence, not_compared
from vsa.study.run import Run

_OUTCOMES = ("Identical Recall@1", "mAP", "Accuracy@1")  # what a look at test photos shows
EMPTY: dict[str, Any] = {
    "run": {"sections": {}, "dataset_card": {}},
    "replaced": {},
    "replaced_records": [],
    "records": [],
    "claims": [],
}


@dataclass
class Ledger:
    """The records and claims of one section of a run; made by `Ledger.open`."""

    run: Run
    section: str
    _started: float = field(default_factory=time.monotonic)
    _records: dict[str, Record] = field(default_factory=dict)
    _claims: dict[str, dict[str, Any]] = field(default_factory=dict)
    _card: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, run: Run, section: str) -> Ledger:
        """Start a section afresh, and its clock; figures it had before are removed.

        Raises InputError for an unknown section, or if the run's metrics.json is not one of ours.
        """
        if section not in SECTIONS:
            raise InputError(
                f"unknown section {section!r}", cure=f"Choose one of {', '.join(SECTIONS)}"
            )
        ledger = cls(run, section)
        ledger._others()
        forget_figures(run, section)
        return ledger

    @property
    def path(self) -> Path:
        return self.run.reports / "metrics.json"

    def record(
        self,
        experiment: str,
        variant: str,
        metric: str,
        value: float | Interval,
        ci: Interval | None = None,
        n: int | None = None,
        seeds: int | Sized | None = None,
    ) -> str:
        """Note one number; noting the same key again replaces it. Returns its key.

        Parameters
        ----------
        experiment, variant : the table and the row it appears in. Where an experiment has one
            metric and its variants read "row | column", the report shows a two-way table.
        metric : a name of the registry; it gives unit, direction and format.
        value : a finite number, or an interval, which brings its own value, bounds and n.
        ci : the interval, where `value` is its number only.
        n : number of queries or images behind the value; the interval's by default.
        seeds : number of training seeds behind the value, or the seeds themselves.

        Raises
        ------
        InputError for an unregistered metric; ValueError for a number that is not finite, a count
        that is not whole, or an interval that belongs to another value.
        """
        known = get_metric(metric)
        if isinstance(value, Interval):
            ci, value = value, value.value
        if ci is not None and not math.isclose(value, ci.value, rel_tol=1e-4, abs_tol=1e-6):
            raise ValueError(f"value {value} is not that of its interval, {ci.value}")
        if known.is_count and value != int(value):
            raise ValueError(f"{metric} is a count, not {value}")
        entry: Record = {
            "section": self.section,
            "experiment": experiment,
            "variant": variant,
            "metric": metric,
            "value": int(value) if known.is_count else rounded(value),
            "ci_low": None if ci is None else rounded(ci.low),
            "ci_high": None if ci is None else rounded(ci.high),
            "n": int(n) if n is not None else ci.n if ci is not None else None,
            "seeds": len(seeds) if isinstance(seeds, Sized) else seeds,
            "unit": known.unit,
        }
        key = record_key(entry)
        self._records[key] = entry
        return key

    def claim(self, claim: Mapping[str, Any]) -> None:
        """Note a claim as made by `claims.judge` or `claims.judge_all`.

        Raises InputError if its evidence names a record that this run does not have.
        """
        known = self._all_records()
        missing = [key for key in claim["evidence"] if key not in known]
        if missing:
            raise InputError(
                f"claim {claim['id']} rests on {missing[0]!r}, which was not recorded",
                cure="Record it first; keys are section/experiment/variant/metric",
            )
        effects = {
            name: {part: rounded(number) for part, number in effect.items()}
            for name, effect in claim["effects"].items()
        }
        reported = {part: rounded(claim[part]) for part in ("effect", "ci_low", "ci_high")}
        # of the rounded numbers
        verdict = verdict_of(list(effects.values()), claim["threshold"], claim["lacks"])
        self._claims[claim["id"]] = {
            "id": claim["id"],
            "section": self.section,
            **claim,
            **reported,
            "effects": effects,
            "verdict": verdict,
        }

    def dataset_card(self, card: Mapping[str, Any]) -> None:
        """Facts of the data set for the report, kept with the run.

        Keys: ``title``, ``source``, ``licence`` (texts), ``simulated`` and ``left_out``
        (sentences: what was not observed, which experiments the data do not allow), ``splits``
        and ``shared`` (texts: what training sees of test products, and that products are in
        several splits, if they are), and ``rejected`` (number of images by reason); each may be
        missing.
        """
        unknown = set(card) - {"title", "source", "licence", "simulated", "left_out", "rejected"}
        unknown -= {"splits", "shared"}
        if unknown:
            raise ValueError(f"unknown facts {sorted(unknown)}")
        self._card = {
            **card,
            "simulated": list(card.get("simulated", ())),
            "left_out": list(card.get("left_out", ())),
            "rejected": {str(k): int(v) for k, v in dict(card.get("rejected", {})).items()},
        }

    @property
    def shared_products(self) -> str:
        """That training and test photos show the same products; "" where they do not."""
        card = self._card or self._others()["run"].get("dataset_card", {})
        return str(card.get("shared", ""))

    def value(self, section: str, experiment: str, variant: str, metric: str) -> float:
        """A recorded number, of this section or of one saved before."""
        return float(self._find(section, experiment, variant, metric)["value"])

    def interval(self, section: str, experiment: str, variant: str, metric: str) -> Interval:
        """A recorded number with its confidence interval."""
        return _interval(self._find(section, experiment, variant, metric))

    def intervals(self, experiment: str, metric: str) -> dict[str, Interval]:
        """Variant → interval of an experiment of this section, in the order of recording."""
        return {
            record["variant"]: _interval(record)
            for record in self._records.values()
            if record["experiment"] == experiment and record["metric"] == metric
        }

    def standing(self, experiment: str) -> list[float]:
        """Where the shop itself stands on the axis of an experiment, see `regimes.standing`."""
        return standing(r for r in self._records.values() if r["experiment"] == experiment)

    def compare(self, experiment: str, variant: str, metric: str, first: str, second: str) -> str:
        """A recorded difference, `first` less `second`, as one sentence of Markdown.

        The sentence names a winner only where the interval leaves out zero; it says so where
        this section did not compare them.
        """
        known = self.intervals(experiment, metric)
        if variant not in known:
            return not_compared(first, second)
        return difference_sentence(first, second, known[variant], get_metric(metric))

    def verdicts(self) -> str:
        """All claims of this section, each a paragraph of Markdown: verdict, effect, interval.

        Those of a smoke run are not judged; a paragraph before them says so.
        """
        return self._told(self._claims)

    def verdict(self, claim_id: str) -> str:
        """One claim of this section, as of `verdicts`."""
        if claim_id not in self._claims:
            raise InputError(f"claim {claim_id} was not judged", cure="Call claim(...) first")
        return self._told([claim_id])

    def _told(self, claim_ids: Iterable[str]) -> str:
        told = [sentence(self._claims[name], self.run.profile) for name in claim_ids]
        return "\n\n".join([NO_MEANING, *told] if self.run.profile == SMOKE else told)

    def table(self, experiment: str, *, as_text: bool = False) -> pd.DataFrame:
        """An experiment of this section: variants by metrics, as numbers or with intervals."""
        chosen = [r for r in self._records.values() if r["experiment"] == experiment]
        if not chosen:
            raise InputError(f"no records of {experiment!r}", cure="Record them before reading")
        return pivot(chosen, as_text=as_text)

    def save(self) -> Path:
        """Replace this section in metrics.json, atomically; returns the file's path."""
        others = self._others()
        made = {
            "commit": environment.commit(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": environment.machine(),
            "versions": environment.versions(),
        }
        run_time_s = round(time.monotonic() - self._started, 1)
        # the longest yet: networks were trained then, and not merely read
        longest_s = max(run_time_s, others["replaced"].get("longest_s", 0.0))
        own = {
            "seed": self.run.seed,
            **made,
            "run_time_s": run_time_s,
            "longest_s": longest_s,
            "looks": self._looks(others),
        }
        sections = others["run"]["sections"] | {self.section: own}
        content = {
            "run": {
                "name": self.run.name,
                "dataset": _public_name(self.run.dataset),
                "profile": self.run.profile,
                "changes": {name: change._asdict() for name, change in self.run.changes.items()},
                "seeds": sorted({entry["seed"] for entry in sections.values()}),
                **made,  # the section saved last
                "dataset_card": self._card or others["run"].get("dataset_card", {}),
                "sections": dict(sorted(sections.items())),
            },
            "records": sorted(
                [*others["records"], *self._records.values()],
                key=lambda entry: section_order(entry["section"]),  # stable: order of recording
            ),
            "claims": sorted(
                self._latest([*others["claims"], *self._claims.values()]),
                key=lambda claim: claim["id"],
            ),
        }
        write_metrics(self.path, content)
        return self.path

    def _latest(self, claims: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """One of each claim: where two sections judge it, the later one, which has seen more."""
        ordered = sorted(claims, key=lambda claim: section_order(claim["section"]))
        return list({claim["id"]: claim for claim in ordered}.values())

    def _looks(self, others: dict[str, Any]) -> dict[str, int]:
        """How often this section has shown other numbers of a seed's test set: seed → count.

        Whoever looks again after a change chooses by what was seen, if unawares.
        """
        looks = dict(others["replaced"].get("looks", {}))
        seed = str(self.run.seed)
        is_new = others["replaced"].get("seed") != self.run.seed
        if is_new or _outcome(others["replaced_records"]) != _outcome(self._records.values()):
            looks[seed] = looks.get(seed, 0) + 1
        return looks

    def _others(self) -> dict[str, Any]:
        """What the file holds of other sections, and of this one's making."""
        if not self.path.exists():
            return EMPTY
        content = read_metrics(self.path)
        run = content["run"]
        own = _public_name(self.run.dataset), self.run.profile
        owner = run["dataset"], run["profile"]
        if owner != own or run.get("name", self.run.name) != self.run.name:
            raise InputError(
                f"these are results of {' at '.join(owner)}, not of the run {self.run.name}",
                cure="Move the file away and run again",
                file=self.path,
            )
        sections = {k: v for k, v in run["sections"].items() if k != self.section}
        return {
            "run": run | {"sections": sections},
            "replaced": run["sections"].get(self.section, {}),
            "replaced_records": [r for r in content["records"] if r["section"] == self.section],
            "records": [r for r in content["records"] if r["section"] != self.section],
            "claims": [c for c in content["claims"] if c["section"] != self.section],
        }

    def _all_records(self) -> dict[str, Record]:
        return {record_key(r): r for r in self._others()["records"]} | self._records

    def _find(self, section: str, experiment: str, variant: str, metric: str) -> Record:
        key = "/".join((section, experiment, variant, metric))
        records = self._all_records()
        if key not in records:
            raise InputError(
                f"{key!r} is not in the ledger of {self.run.name}",
                cure="Record it first, or run the notebook of that section",
            )
        return records[key]


def _outcome(records: Iterable[Record]) -> dict[str, float]:
    """What was found, without what was timed."""
    return {record_key(r): r["value"] for r in records if r["metric"] in _OUTCOMES}


def _interval(record: Record) -> Interval:
    if record["ci_low"] is None:
        raise InputError(f"{record_key(record)} has no interval", cure="Record it with ci=...")
    return Interval(record["value"], record["ci_low"], record["ci_high"], record["n"])


def _public_name(dataset: str) -> str:
    """The data set's name without the folders that lead to it."""
    if dataset.startswith(FOLDER_PREFIX):
        return FOLDER_PREFIX + folder_path(dataset).name
    return dataset
