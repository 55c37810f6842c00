"""README's first screen of results, generated so that it cannot differ from the ledgers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vsa.runtime.atomic import atomic_file
from vsa.runtime.errors import InputError
from vsa.study.ledger.findings.peers import told_beside_peers
from vsa.study.ledger.findings.runs import read_runs
from vsa.study.ledger.findings.stages import engine_against_plain
from vsa.study.ledger.findings.verdicts import NOT_JUDGED_HERE, find_all, in_short
from vsa.study.ledger.reporting.report import markdown_environment

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


def readme_block(run_folders: Sequence[Path]) -> str:
    """Markdown of one screen: what was found, and a table of claims by runs, each cell a verdict.

    `run_folders` are folders of ``reports/``; the links assume that the README lies beside it.
    Raises InputError if no whole run judged any claim.
    """
    runs, left_out = read_runs(run_folders)
    if not any(run.claims for run in runs):
        raise InputError("no run has judged a claim yet", cure="Run `make reproduce` first")
    findings = find_all(runs)
    template = markdown_environment().get_template("readme_block.md.j2")
    return template.render(
        runs=runs,
        findings=findings,
        in_short=in_short(findings),
        ahead=[engine_against_plain(run) for run in runs],
        index=told_beside_peers(runs),
        left_out=left_out,
        not_judged=NOT_JUDGED_HERE,
    ).strip()


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
