"""Ledger to RESULTS.md and report.html."""
