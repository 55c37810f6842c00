"""Every number: registry of metrics, intervals, claims, the ledger, and the report made of it."""
