"""What it means: ReportBuilder, report helpers, paired comparisons and charts."""

from tenyson.reporting.builder import ReportBuilder

__all__ = ["ReportBuilder"]
