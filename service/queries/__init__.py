"""Queries: pure functions of a view. No Flask, no files, no faiss."""
