"""Embedding stage: product pictures to unit vectors, cached by content, on this machine or on Ray."""
