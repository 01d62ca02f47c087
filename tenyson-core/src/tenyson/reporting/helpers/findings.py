"""Findings: what preflight warned of and what the live diagnosis told, stage by stage."""

from __future__ import annotations

from tenyson.reporting.context import ReportContext
from tenyson.reporting.markdown import table


def findings(context: ReportContext) -> str:
    """One row for each finding, with what to do."""
    rows = [
        [stage.label, when, finding["check"], finding["cause"], finding["next_step"]]
        for stage in context.stages
        for when, where in (("before", "preflight"), ("while it ran", "diagnosis"))
        for finding in stage.metadata.get(where) or ()
    ]
    if not rows:
        return "Neither preflight nor the diagnosis found anything."
    return table(["Stage", "When", "Found", "What", "What to do"], rows)
