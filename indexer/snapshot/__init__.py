"""Snapshots: the immutable result of a build, its manifest, and the folder that holds them."""
