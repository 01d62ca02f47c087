"""Findings: what preflight warned of, what the live diagnosis told, which rollouts the world broke, and how many calls were refused.

Stage by stage.
"""

from __future__ import annotations

from tenyson.jobs.trainers.diagnosis import REFUSED
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
    rows += [
        [
            stage.label,
            "while it ran",
            "failed_rollouts",
            f"{failed} of {stage.metadata.get('rollouts')} rollouts failed: {stage.metadata.get('commonest_failure')}",
            "They are left out. `tenyson rollouts RUN --errors` lists them.",
        ]
        for stage in context.stages
        if (failed := stage.metadata.get("failed_rollouts"))
    ]
    rows += [
        [
            stage.label,
            "while it ran",
            "refused_calls",
            f"{refused} of {calls} calls of tools were refused, most often {stage.metadata.get('commonest_refusal')}",
            "`tenyson rollouts RUN --refused` lists what the model was told. Describe the tools more clearly.",
        ]
        for stage in context.stages
        if (calls := stage.metadata.get("tool_calls"))
        and (refused := stage.metadata.get("tool_calls_refused") or 0) >= REFUSED * calls
    ]
    if not rows:
        return "Neither preflight nor the diagnosis found anything."
    return table(["Stage", "When", "Found", "What", "What to do"], rows)
