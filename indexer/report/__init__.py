"""Reports: HTML pages that contain their pictures and need no network."""

from vitrine.indexer.report.report import ReportSummary, write_report

__all__ = ["ReportSummary", "write_report"]
