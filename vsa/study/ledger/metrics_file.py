"""The form of ``metrics.json``: reading with checks, writing atomically, tables of records."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vsa.runtime.atomic import atomic_file
from vsa.runtime.errors import InputError
from vsa.study.ledger.claims import has_width, verdict_of
from vsa.study.ledger.registry import get_metric
from vsa.study.ledger.sections import SECTIONS

Record = dict[str, Any]

RECORD_FIELDS = (
    "section",
    "experiment",
    "variant",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "n",
    "seeds",
    "unit",
)
CLAIM_FIELDS = (
    "id",
    "section",
    "statement",
    "paper_section",
    "verdict",
    "effect",
    "ci_low",
    "ci_high",
    "unit",
    "threshold",
    "effects",
    "lacks",
    "evidence",
    "paper_value",
)
RUN_FIELDS = ("dataset", "profile", "seeds", "commit", "date", "machine", "versions", "sections")
SECTION_FIELDS = ("seed", "commit", "date", "machine", "versions", "run_time_s")


def record_key(record: Record) -> str:
    """``section/experiment/variant/metric``, unique in a file."""
    return "/".join(record[part] for part in ("section", "experiment", "variant", "metric"))


def read_metrics(path: Path) -> dict[str, Any]:
    """The checked content of a ``metrics.json``.

    Raises InputError for a file that is missing, broken, of another form, that holds a metric
    unknown to the registry, or a verdict that does not follow from its interval.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        _check(content)
    except FileNotFoundError:
        raise InputError(
            "there are no results yet", cure="Run `make reproduce` first", file=path.name
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError, InputError) as error:
        raise InputError(
            f"this is not a metrics file that vsa wrote ({error})",
            cure="Move it away and run `make reproduce` again",
            file=path,
        ) from error
    return content


def write_metrics(path: Path, content: dict[str, Any]) -> None:
    """Check and write; the file is either the old or the new one, never half of it."""
    _check(content)
    with atomic_file(path) as draft:
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        draft.write_text(text + "\n", encoding="utf-8")


def rounded(number: float) -> float:
    """Six significant digits, enough for any table and stable between machines' last bits."""
    if not math.isfinite(number):
        raise ValueError(f"{number} is not a finite number")
    return float(f"{number:.6g}")


def section_order(name: str) -> int:
    """Position of a section in the report."""
    return list(SECTIONS).index(name)


def record_text(record: Record) -> str:
    """A record as printed in tables: ``0.813 [0.801, 0.824]``."""
    metric = get_metric(record["metric"])
    text = metric.text(record["value"])
    if record["ci_low"] is None:
        return text
    return f"{text} [{metric.text(record['ci_low'])}, {metric.text(record['ci_high'])}]"


def pivot(records: Iterable[Record], *, as_text: bool = False) -> pd.DataFrame:
    """Variants by metrics, both in the order of recording; values as numbers or as printed.

    Numbers that were not recorded are NaN, texts "".
    """
    table: dict[str, dict[str, float | str]] = {}
    for record in records:
        cell = record_text(record) if as_text else float(record["value"])
        table.setdefault(record["metric"], {})[record["variant"]] = cell
    variants = list(dict.fromkeys(record for column in table.values() for record in column))
    frame = pd.DataFrame(table, index=pd.Index(variants, name="variant"))
    return frame.fillna("") if as_text else frame


def _check(content: dict[str, Any]) -> None:
    for part, kind in {"run": dict, "records": list, "claims": list}.items():
        if not isinstance(content.get(part), kind):
            raise ValueError(f"no {part}")
    _check_fields(content["run"], RUN_FIELDS, "run")
    for section in content["run"]["sections"].values():
        _check_fields(section, SECTION_FIELDS, "section")
    keys = []
    for record in content["records"]:
        _check_fields(record, RECORD_FIELDS, "record")
        if record["section"] not in SECTIONS:
            raise ValueError(f"unknown section {record['section']!r}")
        get_metric(record["metric"])
        bounds = [record["ci_low"], record["ci_high"]]
        for number in [record["value"], *(bounds if bounds != [None, None] else [])]:
            if not math.isfinite(number):
                raise ValueError(f"{record_key(record)} is not finite")
        keys.append(record_key(record))
    if len(set(keys)) < len(keys):
        raise ValueError("a record occurs twice")
    for claim in content["claims"]:
        _check_fields(claim, CLAIM_FIELDS, "claim")
        effects = list(claim["effects"].values())
        told = verdict_of(effects, claim["threshold"], claim["lacks"])
        # ledgers of old may have judged by an interval of no width; reports judge them anew
        if claim["verdict"] != told and all(has_width(effect) for effect in effects):
            raise ValueError(f"the verdict on {claim['id']} does not follow from its interval")


def _check_fields(entry: dict[str, Any], fields: Sequence[str], what: str) -> None:
    missing = [name for name in fields if name not in entry]
    if missing:
        raise ValueError(f"a {what} lacks {', '.join(missing)}")
