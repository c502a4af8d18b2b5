"""Benchmarks against alternatives in one run on one machine. `make bench` writes RESULTS.md."""
