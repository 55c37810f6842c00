"""The table of results in the README, generated so that it cannot differ from the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vsa.runtime.atomic import atomic_file
from vsa.runtime.errors import InputError
from vsa.study.ledger.claims import load_claims
from vsa.study.ledger.metrics_file import read_metrics
from vsa.study.ledger.reporting.content import claim_content
from vsa.study.ledger.reporting.report import markdown_environment

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


def readme_block(run_folders: Sequence[Path]) -> str:
    """A Markdown table: claims by runs, each cell a verdict with its effect and interval.

    `run_folders` are folders of ``reports/``; the links assume that the README lies beside it.
    Raises InputError for a missing or broken metrics.json, or if no run judged any claim.
    """
    runs = []
    for folder in run_folders:
        metrics = read_metrics(folder / "metrics.json")
        judged = [claim_content(claim, metrics["run"]["profile"]) for claim in metrics["claims"]]
        runs.append({"name": folder.name, "claims": {claim["id"]: claim for claim in judged}})
    ids = {claim_id for run in runs for claim_id in run["claims"]}
    if not ids:
        raise InputError("no run has judged a claim yet", cure="Run `make reproduce` first")
    claims = [claim for claim in load_claims().values() if claim.id in ids]
    template = markdown_environment().get_template("readme_block.md.j2")
    return template.render(runs=runs, claims=claims).strip()


def read_block(readme: Path) -> str:
    """The text that stands between the two markers; equals `readme_block` if up to date.

    Raises InputError if the README lacks the markers, each once and in order.
    """
    return _parts(readme)[1].strip()


def update_readme(readme: Path, run_folders: Sequence[Path]) -> bool:
    """Put `readme_block` between the markers; returns whether the README changed."""
    before, old, after = _parts(readme)
    block = readme_block(run_folders)
    if old.strip() == block:
        return False
    with atomic_file(readme) as draft:
        draft.write_text(f"{before}{BEGIN}\n{block}\n{END}{after}", encoding="utf-8")
    return True


def _parts(readme: Path) -> tuple[str, str, str]:
    text = readme.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise InputError(
            "the results have no place here",
            cure=f"Put the lines {BEGIN} and {END} where the table belongs",
            file=readme.name,
        )
    before, _, rest = text.partition(BEGIN)
    block, _, after = rest.partition(END)
    return before, block, after
