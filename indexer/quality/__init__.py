"""A catalogue's own mistakes, found with the vectors it has anyway: what may be wrong, and what shows it."""

from indexer.quality.analysis import Analysis, analyse, read_analysis
from indexer.quality.findings import KINDS, Finding

__all__ = ["KINDS", "Analysis", "Finding", "analyse", "read_analysis"]
