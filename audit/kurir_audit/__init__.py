"""What a relay exposes, measured: inventory of stored fields and canary search."""
