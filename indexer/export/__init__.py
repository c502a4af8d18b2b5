"""Every product's recommendations in one file: which (`lists`), what changed (`changes`), how (`files`)."""

from vitrine.indexer.export.export import ExportOptions, ExportReport, export
from vitrine.indexer.export.lists import Filters, product_lists

__all__ = ["ExportOptions", "ExportReport", "Filters", "export", "product_lists"]
