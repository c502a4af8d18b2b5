"""Evaluation of a snapshot's nearest neighbours: by category, by product, and against simpler methods."""
