"""Check an environment against the known traps."""
