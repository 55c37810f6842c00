"""The replication: uses the system as any user would, simulates, compares, judges and plots."""
