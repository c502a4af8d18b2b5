"""Embedding pipeline: pictures to unit vectors, with a cache by content, on this machine or on Ray."""
