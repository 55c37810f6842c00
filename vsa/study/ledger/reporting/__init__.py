"""Ledger to RESULTS.md and report.html, and to the table of results in the README."""

from vsa.study.ledger.reporting.readme import read_block, readme_block, update_readme
from vsa.study.ledger.reporting.report import write_report

__all__ = ["read_block", "readme_block", "update_readme", "write_report"]
