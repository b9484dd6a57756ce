"""Measurements against the peers, on data that they make: `python -m benchmarks volumes`, `python -m benchmarks serving`."""
