"""Export of the recommendations of every product to one file: `lists`, `changes` since a state, `output`."""

from vitrine.indexer.export.export import ExportOptions, ExportReport, export
from vitrine.indexer.export.lists import ListFilters, product_lists

__all__ = ["ExportOptions", "ExportReport", "ListFilters", "export", "product_lists"]
