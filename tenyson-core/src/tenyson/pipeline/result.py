"""PipelineResult: what became of each step, in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tenyson.jobs.result import JobResult, Status


@dataclass(frozen=True)
class PipelineResult:
    """The outcome of a pipeline."""

    status: Status
    """`success`: every step succeeded; `stopped`: interrupted, can be continued; `failed`: some step failed."""
    results: Mapping[str, JobResult] = field(default_factory=dict)
    """The last result of each step that ran, by label, in order. Steps that never ran are missing."""
    total_time_seconds: float = 0.0
    """Since the pipeline was begun, waits included."""
    pipeline_id: str = ""
    """Its name in the journal, for `tenyson attach`, `decide` and `report`."""
    report: Path | None = None
    """The report; None where none is kept (a script's), or it could not be written."""
