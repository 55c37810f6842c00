"""Notebook 08: shards and replicas on a cluster, and what many machines would cost."""
