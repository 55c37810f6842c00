"""Paper section 3.3: binary codes, coarse filter, refined rank, updates, shards and replicas."""
