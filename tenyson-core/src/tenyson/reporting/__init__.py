"""What it means: ReportBuilder, report helpers, plots."""
