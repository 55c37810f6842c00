"""FINDINGS.md and FINDINGS.html over all published runs, from their ledgers alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from vsa.runtime.atomic import atomic_file
from vsa.runtime.markup import escape_markdown
from vsa.study.figures.style import HouseFigure, Words, small_png
from vsa.study.ledger.findings.plots import forest_plot
from vsa.study.ledger.findings.regimes import find_regimes
from vsa.study.ledger.findings.runs import PublishedRun, read_runs
from vsa.study.ledger.findings.stages import against_plain, stage_table
from vsa.study.ledger.findings.systems import GRANTED, served_systems, simplest_systems
from vsa.study.ledger.findings.verdicts import find_all, in_short
from vsa.study.ledger.reporting.content import looks_content
from vsa.study.ledger.reporting.report import (
    embedded,
    html_environment,
    markdown_environment,
    page_style,
)
from vsa.study.ledger.rigour import RULE

FIGURES = "findings"  # the folder beside FINDINGS.md
TERMS = {
    "Query": "the photo a shopper searches with.",
    "A − B": "by how much A is ahead of B. “− 0.99” stands for what lies beyond 0.99, and “+ 0.01” "
    "grants a loss of 0.01.",
    "95 % interval": "where the true value lies, but for one time in twenty; it is drawn as a line "
    "through the measured value.",
    "Identical Recall@K": "share of photos whose very product is among the first K results.",
    "mAP": "mean average precision: how early in the whole list pictures of the product come; 1 is "
    "best.",
    "Accuracy@1": "share of photos whose category is named right.",
    "IoU": "overlap of a found box with the true one, as a share of both together; 1 is perfect. "
    "IoU@0.5 is the share of boxes above one half.",
    "Linear Recall, float Recall": "share of what comparing with every picture finds, by bits or "
    "by exact features, that the index finds too.",
    "p95": "the time within which 19 of 20 answers come.",
    "Conversion": "share of (simulated) sessions that end in a purchase.",
    "NDCG": "how well one order agrees with another; 1 where nothing moved.",
    "Feature": "the numbers by which a network describes a picture; alike pictures have near ones.",
    "Click-mined": "learned from which results were clicked, and which were passed over.",
    "Plain, ImageNet": "a network pretrained on ImageNet's photographs, used as it is.",
    "Adapted": "the same, with a linear map of its features that was learned from clicks.",
    "Joint": "the paper's network, which learns a box and features together from clicks.",
    "Mask, crop": "behind a mask the photo fades outside of a box; a crop is what is inside, cut "
    "out.",
    "Objectness crop": "a crop by a box that was learned from clicks on photographs' features.",
    "GBDT + LR": "boosted decision trees whose leaves feed a logistic regression.",
    "Leaf categories": "the kinds of things that categories are split into.",
    "Seeds": "random numbers; with another seed a network is trained once more.",
}


# What a claim that did not hold has not shown
SIZES = {
    "laptop": "Runs of the profile laptop are small: networks that learn for minutes on two CPU "
    "cores, from logs and catalogues far below a shop's in operation. What did not hold here did "
    "not hold at this size; whether it holds at the paper's, these runs do not tell.",
    "full": "Runs of the profile full train whole networks on one GPU. Logs and catalogues are "
    "still far below those of a shop in operation, and at the paper's size nothing was asked.",
}


def write_findings(reports: Path, folders: Sequence[Path]) -> tuple[Path, Path]:
    """Write both forms into `reports`, and the figures of the first; returns their paths.

    Parameters
    ----------
    reports : the folder of all reports.
    folders : of the runs to be told, folders of `reports`; see `runs.read_runs`.
    """
    runs, left_out = read_runs(folders)
    findings = find_all(runs)
    figures = {finding.claim.id: forest_plot(finding) for finding in findings}
    regimes = find_regimes(runs)
    drawn = [*(one for one in figures.values() if one), *(one.figure for one in regimes)]
    words = _write_figures(reports / FIGURES, drawn)
    content = {
        "runs": [_run(run) for run in runs],
        "left_out": left_out,
        "in_short": in_short(findings),
        "against_plain": against_plain(runs),
        "sizes": [SIZES[p] for p in SIZES if p in {run.about["profile"] for run in runs}],
        "findings": findings,
        "regimes": [(one, words[one.figure]) for one in regimes],
        "figures": {name: words[one] for name, one in figures.items() if one},
        "stages": stage_table(runs),
        "simplest": simplest_systems(runs),
        "served": served_systems(runs),
        "granted": GRANTED,
        "rule": RULE,
        "terms": TERMS,
    }
    texts = {
        "FINDINGS.md": markdown_environment()
        .get_template("FINDINGS.md.j2")
        .render(content, emphasised=_markdown),
        "FINDINGS.html": html_environment()
        .get_template("findings.html.j2")
        .render(
            content,
            emphasised=_html,
            style=page_style(),
            embed=lambda name: embedded(reports / FIGURES / f"{name}.png"),
        ),
    }
    for name, text in texts.items():
        with atomic_file(reports / name) as draft:
            draft.write_text(text, encoding="utf-8")
    return reports / "FINDINGS.md", reports / "FINDINGS.html"


def _write_figures(folder: Path, figures: Sequence[HouseFigure]) -> dict[HouseFigure, Words]:
    """The figures as PNG, and no others in that folder; returns their words."""
    folder.mkdir(exist_ok=True)
    words = {}
    for figure in figures:
        assert figure.words is not None  # `forest_plot` gives them
        words[figure] = figure.words
        with atomic_file(folder / f"{figure.words.name}.png") as draft:
            draft.write_bytes(small_png(figure))
    for path in folder.glob("*.png"):
        if path.stem not in {one.name for one in words.values()}:
            path.unlink()
    return words


def _run(run: PublishedRun) -> dict[str, Any]:
    """What is to be known of a run before its numbers."""
    photos = run.find("01_catalogue", "data set", "queries, test", "images")
    pictures = run.find("01_catalogue", "data set", "catalogue", "images")
    return {
        "name": run.name,
        "label": run.label,
        "title": run.card.get("title") or run.about["dataset"],
        "profile": run.about["profile"],
        "photos": f"{photos['value']:,}" if photos else "–",
        "pictures": f"{pictures['value']:,}" if pictures else "–",
        "made": _made(run),
        "shared": run.card.get("shared", ""),
        "simulated": run.card.get("simulated", []),
        "left_out": run.card.get("left_out", []),
        "looks": looks_content(run.about),
    }


def _made(run: PublishedRun) -> str:
    """When, and from which commit; sections may be of several."""
    commits = {section["commit"] for section in run.about["sections"].values()}
    told = f"{len(commits)} commits" if len(commits) > 1 else f"commit {run.about['commit'][:12]}"
    return f"{run.about['date'][:10]}, {told}"


def _markdown(text: str) -> Markup:
    """A sentence with ``**emphasis**``, in which nothing else is read as Markdown."""
    return Markup("**".join(_kept_spaces(part) for part in text.split("**")))


def _kept_spaces(text: str) -> str:
    before = " " if text[:1].isspace() else ""
    after = " " if text.strip() and text[-1:].isspace() else ""
    return f"{before}{escape_markdown(text)}{after}"


def _html(text: str) -> Markup:
    """A sentence with ``**emphasis**`` as HTML."""
    return Markup(re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", str(escape(text))))
