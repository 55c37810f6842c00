"""Shards and replicas on many machines, by Ray (paper section 3.3); extra cluster."""
