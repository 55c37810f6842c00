"""From a run's metrics.json and figures to what the report shows, in plain dictionaries.

No number is made here: all are read from the ledger and formatted as the registry says.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vsa.data.names import FOLDER_PREFIX
from vsa.runtime.errors import InputError
from vsa.study.commands import dataset_to_type, make_command
from vsa.study.figures.style import read_figures
from vsa.study.ledger.claims import (
    INCONCLUSIVE,
    NO_MEANING,
    NOT_JUDGED,
    NOT_REPRODUCED,
    REPRODUCED,
    SMOKE,
    load_claims,
    shown_verdict,
)
from vsa.study.ledger.metrics_file import Record, read_metrics, record_text, section_order
from vsa.study.ledger.registry import Metric, get_metric
from vsa.study.ledger.reporting.headline import headline
from vsa.study.ledger.rigour import RULE, Judgement, judge_run
from vsa.study.ledger.sections import KEY_FIGURES, SECTIONS
from vsa.study.run import known_dataset
from vsa.study.settings import Change, write_changes

SYMBOLS = {REPRODUCED: "✓", NOT_REPRODUCED: "✗", INCONCLUSIVE: "○", NOT_JUDGED: "–"}
ARROWS = {"higher": "↑", "lower": "↓", "none": ""}
_TELLS_SPLITS = ("03_click_mined_training",)  # sections whose method says what training sees
_CURE = "Run `make reproduce` first"


def read_content(run_folder: Path) -> dict[str, Any]:
    """All that the templates show.

    Raises InputError if the ledger is missing, broken or empty, or lacks a figure's file.
    """
    metrics = read_metrics(run_folder / "metrics.json")
    if not metrics["records"]:
        raise InputError(
            "the ledger holds no records", cure=_CURE, file=f"{run_folder.name}/metrics.json"
        )
    figures = read_figures(run_folder)
    for figure in figures:
        if not (run_folder / "figures" / f"{figure['name']}.png").is_file():
            raise InputError(
                f"figure {figure['name']!r} is missing",
                cure="Run `make reproduce` again",
                file=f"{run_folder.name}/figures",
            )
    run = metrics["run"]
    judged = claim_contents(metrics)
    ids = {claim["id"] for claim in judged}
    present = {record["section"] for record in metrics["records"]} | set(run["sections"])
    present |= {figure["section"] for figure in figures}
    machines, made = _made(run["sections"])
    return {
        "run": run,
        "banner": NO_MEANING if run["profile"] == SMOKE else "",
        "headline": headline(metrics["records"], run["profile"]),
        "card": run.get("dataset_card", {}),
        "looks": looks_content(run),
        "claims": judged,
        "rule": RULE,
        "not_run": [claim for claim in load_claims().values() if claim.id not in ids],
        "show_paper": any(claim["paper_value"] for claim in judged),
        "sections": [
            _section(
                name,
                [record for record in metrics["records"] if record["section"] == name],
                [figure for figure in figures if figure["section"] == name],
                made.get(name),
                (run_folder / "notebooks" / f"{name}.ipynb").is_file(),
            )
            for name in sorted(present, key=section_order)
        ],
        "key_figures": [f for name in KEY_FIGURES for f in figures if f["name"] == name],
        "metrics": _glossary(metrics["records"]),
        "machines": machines,
        "changes": [{"name": name, **change} for name, change in run.get("changes", {}).items()],
        **_again(run_folder.name, run),
    }


def claim_contents(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """All claims of a ``metrics.json``, judged together, with their numbers as text."""
    judgements = judge_run(metrics["claims"])
    profile = metrics["run"]["profile"]
    return [_claim(claim, judgements[claim["id"]], profile) for claim in metrics["claims"]]


def _claim(claim: dict[str, Any], judgement: Judgement, profile: str) -> dict[str, Any]:
    """The paper's value is that of claims.yaml today."""
    paper_value = load_claims()[claim["id"]].paper_value
    verdict = shown_verdict(judgement.verdict, profile)
    is_judged = verdict != NOT_JUDGED
    return {
        **claim,
        "verdict": verdict,
        "symbol": SYMBOLS[verdict],
        "alone": judgement.alone if is_judged and judgement.alone != judgement.verdict else "",
        "adjusted": adjusted_text(judgement) if is_judged else "",
        "seen": seen_text(judgement) if is_judged else "",
        "beside": claim.get("beside", ""),
        "effect_text": effect_text(claim),
        "effect_texts": {name: effect_text(effect) for name, effect in claim["effects"].items()},
        "threshold_text": f"{claim['threshold']:+g}" if claim["threshold"] else "",
        "paper_value": paper_value if paper_value is not None else "",
    }


def adjusted_text(judgement: Judgement) -> str:
    """``it holds: p 0.021 (of 5 claims); it falls: p 1.000 (of 11)``."""
    holds = "cannot be shown to hold, as evidence is lacking"
    if judgement.p_holds is not None:
        holds = f"that it holds: p {p_text(judgement.p_holds)} (of {judgement.n_hold} claims)"
    return f"{holds}; that it falls: p {p_text(judgement.p_falls)} (of {judgement.n_fall} claims)"


def p_text(p: float) -> str:
    """``0.021``, ``< 0.001``."""
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def seen_text(judgement: Judgement) -> str:
    """``fusion − model 0.010, fusion − search 0.034``: the power of a claim's effects."""
    parts = []
    for name, size in judgement.smallest.items():
        told = "(not told: its interval has no width)" if size is None else f"{size:.3f}"
        parts.append(f"{name} {told}".strip())
    return ", ".join(parts)


def looks_content(run: dict[str, Any]) -> list[dict[str, Any]]:
    """How often each section has shown numbers of its seed's test photos; "–" if not counted."""
    return [
        {"section": SECTIONS[name].title, "seed": facts["seed"], "looks": _looks(facts)}
        for name, facts in run["sections"].items()
        if "looks" not in facts or _looks(facts) != "–"
    ]


def _looks(facts: dict[str, Any]) -> int | str:
    looks: dict[str, int] = facts.get("looks", {})
    return looks.get(str(facts["seed"]), "–")


def effect_text(effect: dict[str, float]) -> str:
    """``+0.186 [+0.149, +0.223]``."""
    numbers = [effect[part] for part in ("effect", "ci_low", "ci_high")]
    form = "+.3f" if max(map(abs, numbers)) < 10 else "+,.1f"
    value, low, high = (format(number, form) for number in numbers)
    return f"{value} [{low}, {high}]"


def _again(name: str, run: dict[str, Any]) -> dict[str, Any]:
    """The commands that make a run again, one for each seed, and what is left to fill in.

    The ledger does not tell where a folder of one's own lies; the run's working files do.
    """
    note = ""
    if run["dataset"].startswith(FOLDER_PREFIX):
        known = known_dataset(name) or ""
        if known.startswith(FOLDER_PREFIX):
            run = run | {"dataset": dataset_to_type(known)}
        else:
            note = "Write the folder's whole path there; the working files that told it are gone."
    commands = [reproduce_command(run, seed) for seed in run["seeds"]]
    return {"commands": commands, "command_note": note}


def reproduce_command(run: dict[str, Any], seed: int) -> str:
    """What to type in the checkout to obtain the same run."""
    changes = {name: Change(**change) for name, change in run.get("changes", {}).items()}
    return make_command(
        "reproduce",
        DATASET=run["dataset"],
        PROFILE=run["profile"],
        SEED=seed,
        SET=write_changes(changes),
    )


def _section(
    name: str,
    records: list[Record],
    figures: list[dict[str, str]],
    made: dict[str, Any] | None,
    is_published: bool,
) -> dict[str, Any]:
    experiments = dict.fromkeys(record["experiment"] for record in records)
    return {
        "id": name,
        "title": SECTIONS[name].title,
        "paper_section": SECTIONS[name].paper_section,
        "method": SECTIONS[name].method,
        "tells_splits": name in _TELLS_SPLITS,
        "tables": [
            _table(experiment, [r for r in records if r["experiment"] == experiment])
            for experiment in experiments
        ],
        "figures": figures,
        "made": made,
        "notebook": f"notebooks/{name}.ipynb" if is_published else "",
    }


def _table(experiment: str, records: list[Record]) -> dict[str, Any]:
    """Variants by metrics; rows by columns where the variants of one metric read so."""
    metrics = [get_metric(name) for name in dict.fromkeys(r["metric"] for r in records)]
    two_way = len(metrics) == 1 and all(" | " in record["variant"] for record in records)
    cells: dict[str, dict[str, str]] = {}
    for record in records:
        row, column = record["variant"], record["metric"]
        if two_way:
            row, _, column = record["variant"].rpartition(" | ")
        cells.setdefault(row, {})[column] = record_text(record)
    columns = list(dict.fromkeys(column for row in cells.values() for column in row))
    return {
        "title": f"{experiment}: {_heading(metrics[0])}" if two_way else experiment,
        "columns": columns if two_way else [_heading(metric) for metric in metrics],
        "rows": [
            {"name": row, "cells": [_split(filled.get(column, "")) for column in columns]}
            for row, filled in cells.items()
        ],
        "note": _note(records),
    }


def _heading(metric: Metric) -> str:
    unit = f" ({metric.unit})" if metric.unit else ""
    return f"{metric.name}{unit} {ARROWS[metric.direction]}".strip()


def _split(text: str) -> dict[str, str]:
    """The number apart from its interval, which is set smaller."""
    value, _, interval = text.partition(" ")
    return {"value": value or "–", "interval": interval}


def _note(records: Sequence[Record]) -> str:
    parts = []
    for name, field in (("n", "n"), ("training seeds", "seeds")):
        known = sorted({record[field] for record in records if record[field] is not None})
        if known:
            span = f"{known[0]:,}" if len(known) == 1 else f"{known[0]:,} to {known[-1]:,}"
            parts.append(f"{name} = {span}")
    if any(record["ci_low"] is not None for record in records):
        parts.append("in brackets: 95 % bootstrap interval")
    if any(
        record["ci_low"] is not None and record["ci_low"] == record["ci_high"] for record in records
    ):
        parts.append("an interval of no width says only that all queries came out alike")
    return "; ".join(parts)


def _glossary(records: Sequence[Record]) -> list[dict[str, str]]:
    better = {"higher": "higher is better", "lower": "lower is better", "none": ""}
    metrics = [get_metric(name) for name in dict.fromkeys(r["metric"] for r in records)]
    return [
        {"name": m.name, "definition": m.definition, "unit": m.unit, "better": better[m.direction]}
        for m in metrics
    ]


def _made(
    sections: dict[str, dict[str, Any]],
) -> tuple[list[dict[str, str]], dict[str, dict[str, Any]]]:
    """The machines of a run, each once; and of each section how it was made, by machine number."""
    machines: list[dict[str, str]] = []
    made = {}
    for name, facts in sections.items():
        if (machine := _machine(facts)) not in machines:
            machines.append(machine)
        made[name] = {**facts, "looks": _looks(facts), "machine": machines.index(machine) + 1}
    return machines, made


def _machine(facts: dict[str, Any]) -> dict[str, str]:
    """Where a section was made."""
    machine = facts["machine"]
    memory = machine.get("memory_gib")
    return {
        "Processor": f"{machine['cpu']}, {machine['cores']} cores",
        "Threads": str(machine["threads"]),
        "Memory": f"{memory} GiB" if memory else "unknown",
        "GPU": machine.get("gpu") or "none",
        "System": str(machine["system"]),
        "Versions": ", ".join(f"{name} {version}" for name, version in facts["versions"].items()),
    }
