"""Recorded facts about the public contract, and how answers are compared with what was recorded."""
