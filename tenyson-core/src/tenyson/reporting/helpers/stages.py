"""What was run: one row for each stage, with the reason of a failure."""

from __future__ import annotations

from tenyson.core.duration import duration
from tenyson.reporting.context import ReportContext
from tenyson.reporting.markdown import fence, table
from tenyson.reporting.stage import Stage


def stages(context: ReportContext) -> str:
    """A table of the stages with status, wall time and size."""
    rows = [
        [
            stage.label,
            stage.job,
            _status(stage),
            duration(stage.result.total_time_seconds),
            _size(stage),
            f"`{stage.result.run_id}`",
        ]
        for stage in context.stages
    ]
    total = sum(stage.result.total_time_seconds for stage in context.stages)
    parts = [
        table(["Stage", "Job", "Status", "Wall time", "Size", "Run"], rows),
        f"Wall time of all stages: {duration(total)}.",
    ]
    for stage in context.stages:
        if not stage.complete and not stage.running:
            reason = stage.result.failure_reason or "no reason was recorded"
            parts.append(f"**{stage.label} {stage.result.status}**:\n\n{fence(reason)}")
    return "\n\n".join(parts)


def _status(stage: Stage) -> str:
    early = stage.complete and stage.metadata.get("stopped_early")
    return f"stopped early: {stage.metadata.get('stop_reason')}" if early else stage.status


def _size(stage: Stage) -> str:
    for key, unit in (("steps", "steps"), ("rollouts", "rollouts"), ("samples", "samples")):
        value = stage.metadata.get(key)
        if value is not None:
            return f"{value} {unit}"
    return ""
