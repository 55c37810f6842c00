"""Notebook 04: recall against latency, growth, updates, shards."""
