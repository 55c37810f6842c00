"""Which published ledgers are told, and which are left out, by name and with the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vsa.data.names import FOLDER_PREFIX
from vsa.runtime.errors import InputError
from vsa.study.ledger.claims import SMOKE
from vsa.study.ledger.metrics_file import Record, read_metrics
from vsa.study.ledger.rigour import Judgement, judge_run
from vsa.study.ledger.sections import NEED_PRODUCTS, NO_PRODUCTS, OPTIONAL, SECTIONS


@dataclass(frozen=True)
class PublishedRun:
    """A published ledger, checked and whole; `label` is how sentences call it."""

    folder: Path
    metrics: dict[str, Any]
    label: str

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def about(self) -> dict[str, Any]:
        """What was run: dataset, profile, sections, …."""
        found: dict[str, Any] = self.metrics["run"]
        return found

    @property
    def card(self) -> dict[str, Any]:
        """Facts of the data set."""
        found: dict[str, Any] = self.about.get("dataset_card", {})
        return found

    @property
    def knows_products(self) -> bool:
        return _knows_products(self.about)

    @cached_property
    def claims(self) -> dict[str, dict[str, Any]]:
        return {claim["id"]: claim for claim in self.metrics["claims"]}

    @cached_property
    def judgements(self) -> dict[str, Judgement]:
        return judge_run(self.metrics["claims"])

    def records(self, section: str, experiment: str) -> Iterator[Record]:
        """Those of an experiment, whose name may go on after a comma: ", 1,000,000 items"."""
        for record in self.metrics["records"]:
            name = record["experiment"]
            if record["section"] == section and (name + ",").startswith(experiment + ","):
                yield record

    def find(self, section: str, experiment: str, variant: str, metric: str) -> Record | None:
        """One record, of an experiment as in `records`; None where the run has none."""
        for record in self.records(section, experiment):
            if (record["variant"], record["metric"]) == (variant, metric):
                return record
        return None


def published_folders(reports: Path) -> list[Path]:
    """Folders of results that are for everybody: no smoke runs, no folder of somebody's own."""
    return [
        path.parent
        for path in sorted(reports.glob("*/metrics.json"))
        if f"-{SMOKE}" not in path.parent.name and not path.parent.name.startswith("folder-")
    ]


def read_runs(folders: Sequence[Path]) -> tuple[list[PublishedRun], dict[str, str]]:
    """The runs that can be told, and of the others: folder's name → why it is left out.

    Left out is what `read_metrics` refuses, such as a ledger of an older format; a run that lacks
    notebooks which its data allow; two folders of one run; and smoke runs, whose numbers mean
    nothing.
    """
    found: dict[Path, dict[str, Any]] = {}
    left_out = {}
    for folder in folders:
        try:
            found[folder] = read_metrics(folder / "metrics.json")
        except InputError as error:
            left_out[folder.name] = error.problem
    times = Counter(_run_name(folder, metrics) for folder, metrics in found.items())
    for folder, metrics in list(found.items()):
        reason = _why_not(metrics)
        if times[_run_name(folder, metrics)] > 1:
            reason = f"several folders hold a run of the name {_run_name(folder, metrics)}"
        if reason:
            left_out[folder.name] = reason
            del found[folder]
    labels = _labels(found)
    runs = [PublishedRun(folder, metrics, labels[folder]) for folder, metrics in found.items()]
    return runs, dict(sorted(left_out.items()))


def _why_not(metrics: dict[str, Any]) -> str:
    run = metrics["run"]
    if run["profile"] == SMOKE:
        return "it is a smoke run, whose numbers mean nothing"
    lacking = [name for name in _needed(run) if name not in run["sections"]]
    if lacking:
        return f"it lacks the notebooks {', '.join(lacking)}"
    return ""


def _needed(run: dict[str, Any]) -> list[str]:
    """Sections that a whole run of such data has."""
    left = OPTIONAL if _knows_products(run) else OPTIONAL | NEED_PRODUCTS
    return [name for name in SECTIONS if name not in left]


def _knows_products(run: dict[str, Any]) -> bool:
    return NO_PRODUCTS not in run.get("dataset_card", {}).get("left_out", ())


def _run_name(folder: Path, metrics: dict[str, Any]) -> str:
    return str(metrics["run"].get("name", folder.name))


def _labels(found: dict[Path, dict[str, Any]]) -> dict[Path, str]:
    """A data set's name where only one run has it, else the folder's."""
    datasets = {folder: _dataset(metrics) for folder, metrics in found.items()}
    times = Counter(datasets.values())
    return {folder: name if times[name] == 1 else folder.name for folder, name in datasets.items()}


def _dataset(metrics: dict[str, Any]) -> str:
    return str(metrics["run"]["dataset"]).removeprefix(FOLDER_PREFIX)
