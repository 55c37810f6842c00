"""Two runs, number by number; with intervals where both hold what each query found."""

from __future__ import annotations

import fnmatch
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from vsa.data.schema import BOX
from vsa.metrics import box_iou
from vsa.runtime.atomic import atomic_file
from vsa.runtime.registry import unknown
from vsa.runtime.system import not_written
from vsa.study.embedding.finished import precision_of, recall_at_k
from vsa.study.embedding.jobs import Judged
from vsa.study.embedding.published import FOLDER, QUERIES, tables_digest
from vsa.study.ledger.bootstrap import Interval, paired_difference
from vsa.study.ledger.registry import get_metric
from vsa.study.runs import RunReader, open_run

_KEY = ["section", "experiment", "variant", "metric"]
_COLUMNS = [*_KEY, "unit", "a", "b", "difference", "ci_low", "ci_high", "n", "seeds", "how"]
_SECTION = "03_click_mined_training"
_FEATURES, _WITHIN, _MASKS, _BOXES = (  # experiments of which jobs hold every query's outcome
    "features",
    "features within the category",
    "retrieval behind a mask",
    "boxes",
)
_TABLES = "published queries and catalogue"
_N_NAMED = 5  # of the records that only one run has
PAIRED, UNPAIRED, OTHER_DATA = "paired", "unpaired", "other data"


def compare(
    a: str | RunReader, b: str | RunReader, experiment: str = "*", n_resamples: int = 2000
) -> pd.DataFrame:
    """Records of two runs with the same section, experiment, variant and metric, side by side.

    Parameters
    ----------
    a, b : names of runs, or runs opened by `vsa.open_run`.
    experiment : a glob that experiments must fit, such as ``features*``.
    n_resamples : of products and of training seeds, behind each interval.

    Returns
    -------
    Columns section, experiment, variant, metric, unit, ``a`` and ``b`` (values), ``difference``
    (b − a), ``ci_low`` and ``ci_high`` (95 %), n, seeds and ``how``:

    - *paired*: both runs hold jobs of that variant, with the same seeds and test queries; the
      difference is the mean over these, the interval resamples products and seeds;
    - *unpaired*: a difference of two numbers, without an interval;
    - *other data*: the runs differ in data set, its settings or seed, or in the published queries
      and catalogue, so there is no difference to speak of.

    ``attrs`` hold the two names, under ``only_a`` and ``only_b`` what just one of them has, and
    under ``other_data`` in what the data differ, if they do.

    Raises
    ------
    InputError for an unknown run, one without results, or a glob that fits no experiment of theirs.
    """
    first, second = (open_run(run) if isinstance(run, str) else run for run in (a, b))
    tables = [_chosen(run.records, experiment) for run in (first, second)]
    if not len(tables[0]) and not len(tables[1]):
        known = pd.concat([first.records, second.records]).experiment
        raise unknown("experiment", experiment.strip("*"), dict.fromkeys(known))
    both = tables[0].merge(tables[1], on=_KEY, suffixes=("_a", "_b"))
    pairs = _Pairs(first, second, n_resamples)
    rows = [_row(record, pairs) for record in both.to_dict("records")]
    found = pd.DataFrame(rows, columns=_COLUMNS)
    keys = [set(map(tuple, table[_KEY].to_numpy())) for table in tables]
    found.attrs = {
        "a": first.name,
        "b": second.name,
        "other_data": pairs.other_data,
        "only_a": sorted("/".join(key) for key in keys[0] - keys[1]),
        "only_b": sorted("/".join(key) for key in keys[1] - keys[0]),
    }
    return found


def _chosen(records: pd.DataFrame, experiment: str) -> pd.DataFrame:
    fits = [fnmatch.fnmatchcase(name.lower(), experiment.lower()) for name in records.experiment]
    return records[fits]


def _row(record: dict, pairs: _Pairs) -> tuple:
    key = tuple(record[part] for part in _KEY)
    values = record["unit_a"], record["value_a"], record["value_b"]
    nothing = float("nan")
    if pairs.other_data:
        return (*key, *values, nothing, nothing, nothing, None, None, OTHER_DATA)
    found = pairs.difference(*key)
    if found is None:
        difference = record["value_b"] - record["value_a"]
        return (*key, *values, difference, nothing, nothing, None, None, UNPAIRED)
    effect, n_seeds = found
    interval = (effect.value, effect.low, effect.high)
    return (*key, *values, *interval, effect.n, n_seeds, PAIRED)


class _Pairs:
    """Paired differences of what two runs found for the same test queries."""

    def __init__(self, a: RunReader, b: RunReader, n_resamples: int) -> None:
        self.a, self.b, self.n_resamples = a, b, n_resamples
        self._found: dict[tuple[str, ...], tuple[Interval, int] | None] = {}

    @cached_property
    def other_data(self) -> list[str]:
        """In what the data of the two runs differ: "seed: 0, 1"; nothing where they are equal."""
        facts = [_data_of(run) for run in (self.a, self.b)]
        names = dict.fromkeys(name for fact in facts for name in fact)
        pairs = {
            name: [fact.get(name, "as the profile has it") for fact in facts] for name in names
        }
        # Profiles may share their data, which tables tell, where both runs have some
        untold = "profile" if None not in pairs[_TABLES] else _TABLES
        pairs.pop(untold)
        return [f"{name}: {a}, {b}" for name, (a, b) in pairs.items() if a != b]

    def difference(
        self, section: str, experiment: str, variant: str, metric: str
    ) -> tuple[Interval, int] | None:
        """B − a with its interval, and the number of seeds; None where nothing can be paired."""
        if section != _SECTION or _outcome(experiment, metric) is None:
            return None
        key = ((experiment == _WITHIN and _WITHIN) or "", variant, metric)
        if key not in self._found:
            self._found[key] = self._difference(experiment, variant, metric)
        return self._found[key]

    def _difference(
        self, experiment: str, variant: str, metric: str
    ) -> tuple[Interval, int] | None:
        jobs = [run.published(variant) for run in (self.a, self.b)]
        seeds = sorted(
            seed
            for seed in set(jobs[0]) & set(jobs[1])
            if jobs[0][seed].about["data"]["queries"] == jobs[1][seed].about["data"]["queries"]
        )
        if not seeds:
            return None
        values = [
            np.stack([_values(run, found[s].job.judged["test"], experiment, metric) for s in seeds])
            for run, found in zip((self.a, self.b), jobs, strict=True)
        ]
        if values[0].shape != values[1].shape or not np.isfinite(values).all():
            return None
        groups = self.a.test_queries().product_id.to_numpy()
        effect = paired_difference(values[1], values[0], self.n_resamples, 0, groups=groups)
        return effect, len(seeds)


def _data_of(run: RunReader) -> dict[str, object]:
    """What a run's data are: data set, profile, seeds, changed settings of data, and tables."""
    told = run.measured
    facts = {"data set": told["dataset"], "profile": told["profile"]}
    facts["seed"] = " ".join(map(str, told["seeds"]))
    for name, change in told.get("changes", {}).items():
        if name.startswith("data."):
            facts[name] = change["value"]
    has_tables = (run.reports / FOLDER / QUERIES).is_file()
    return facts | {_TABLES: tables_digest(*run.tables) if has_tables else None}


def _outcome(experiment: str, metric: str) -> str | None:
    """What of a query is averaged: "recall", "precision" or "iou"; None if nothing is."""
    if experiment in (_FEATURES, _WITHIN, _MASKS):
        if metric.startswith("Identical Recall@") and metric.rpartition("@")[2].isdigit():
            return "recall"
        if metric == "mAP" and experiment != _WITHIN:
            return "precision"
    if experiment == _BOXES and (metric == "mean IoU" or metric.startswith("IoU@")):
        return "iou"
    return None


def _values(run: RunReader, judged: Judged, experiment: str, metric: str) -> np.ndarray:
    """The metric of each test query, float (n,)."""
    kind = _outcome(experiment, metric)
    if kind == "recall":
        k = int(metric.rpartition("@")[2])
        return recall_at_k(judged, k, within=experiment == _WITHIN).astype(float)
    queries, (_, catalogue) = run.test_queries(), run.tables
    if kind == "precision":
        offered = catalogue.product_id.value_counts()
        return precision_of(judged, queries.product_id.map(offered).to_numpy())
    iou = box_iou(judged.boxes, queries[BOX].to_numpy(np.float32)).astype(float)
    return iou if metric == "mean IoU" else (iou > float(metric.rpartition("@")[2])).astype(float)


# Shown -------------------------------------------------------------------------------------------


def comparison_text(table: pd.DataFrame) -> str:
    """A comparison to be read, one block per experiment, and what only one run has."""
    a, b = table.attrs["a"], table.attrs["b"]
    blocks = [f"a: {a}\nb: {b}"]
    for (section, experiment), part in table.groupby(["section", "experiment"], sort=False):
        shown = pd.DataFrame([_shown(row) for row in part.to_dict("records")])
        blocks.append(f"{section}: {experiment}\n{shown.to_string(index=False)}")
    if table.empty:
        blocks.append("No record is in both runs.")
    if told := table.attrs["other_data"]:
        differ = "; ".join(told)
        blocks.append(f"The data differ ({differ}): values stand beside each other only.")
    for letter in ("a", "b"):
        only = table.attrs[f"only_{letter}"]
        if only:
            more = f", and {len(only) - _N_NAMED:,} more" if len(only) > _N_NAMED else ""
            blocks.append(f"{len(only):,} only in {letter}: {', '.join(only[:_N_NAMED])}{more}")
    return "\n\n".join(blocks)


def _shown(row: dict) -> dict[str, str]:
    metric = get_metric(row["metric"])
    difference, how = "", row["how"]
    if np.isfinite(row["difference"]):
        difference = _signed(metric.text(row["difference"]))
    if how == PAIRED:
        ends = (_signed(metric.text(row[end])) for end in ("ci_low", "ci_high"))
        difference += f" [{', '.join(ends)}]"
        how += f", {int(row['n']):,} queries, {int(row['seeds'])} seeds"
    return {
        "variant": row["variant"],
        "metric": f"{row['metric']} ({row['unit']})" if row["unit"] else row["metric"],
        "a": metric.text(row["a"]),
        "b": metric.text(row["b"]),
        "b − a": difference,
        "how": how,
    }


def _signed(text: str) -> str:
    return text if text.startswith("-") else f"+{text}"


def write_csv(table: pd.DataFrame, file: Path) -> None:
    """Write a comparison as CSV; raises InputError if the place cannot be written."""
    try:
        with atomic_file(file, make_parents=False) as draft:
            table.to_csv(draft, index=False)
    except OSError as error:
        raise not_written(file, error) from error
