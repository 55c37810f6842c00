"""Ledger to RESULTS.md and report.html of a run."""

from vsa.study.ledger.reporting.report import write_report

__all__ = ["write_report"]
