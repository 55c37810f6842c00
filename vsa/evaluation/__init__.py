"""How results are judged: metrics, confidence intervals, ledger, claims, timing, figures."""
