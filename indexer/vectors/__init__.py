"""Numeric routines on vectors: scoring, nearest neighbours, ranking and retrieval metrics. No files."""
