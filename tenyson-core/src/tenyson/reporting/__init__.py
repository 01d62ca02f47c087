"""What it means: ReportBuilder, report helpers, paired comparisons and charts."""

from typing import TYPE_CHECKING

from tenyson.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tenyson.reporting.builder import ReportBuilder
    from tenyson.reporting.pipeline import write_report

__all__ = [
    "ReportBuilder",
    "write_report",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "ReportBuilder": "tenyson.reporting.builder",
            "write_report": "tenyson.reporting.pipeline",
        },
    )
