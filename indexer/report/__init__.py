"""Reports: one HTML file that opens anywhere, with its pictures inside."""

from vitrine.indexer.report.report import ReportAnswer, write_report

__all__ = ["ReportAnswer", "write_report"]
