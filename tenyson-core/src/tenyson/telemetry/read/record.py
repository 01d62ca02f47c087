"""What a telemetry database says of one run: a field for each column that a listing reads."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

Row = dict[str, Any]

ATTEMPTS, RESULTS = {"table": "attempts"}, {"table": "results"}
"""Where a field is read, if not from `runs`: from the latest attempt, or from its result."""


def listed(title: str, *, table: str = "runs") -> Any:
    """A field that `tenyson runs --wide` shows under this title and `--json` under its name; None in older databases.

    `table`: where its column is, "runs" or "attempts" (then of the latest attempt).
    """
    return field(default=None, metadata={"table": table, "title": title})


@dataclass(frozen=True)
class RunRecord:
    """One run, as the database has it."""

    run_id: str
    """The run."""
    job_type: str
    """The kind of job, by its name."""
    task: str
    """The task's name."""
    status: str
    """"running", "success", "stopped" or "failed"; a run that was killed stays "running"."""
    attempt: int
    """The latest; a resumed run has more than one."""
    output_dir: str
    """The run's folder, on the machine that ran it."""
    total_steps: int | None
    """Optimizer steps or rollouts; None while not known."""
    created_at: float
    """Seconds since the epoch; start of the first attempt."""
    started_at: float
    """Start of the latest attempt."""
    finished_at: float | None
    """End of the latest attempt; None while it runs."""
    heartbeat_at: float | None = field(default=None, metadata=ATTEMPTS)
    """When its writer was last alive; a run that is "running" and has been silent for a minute was killed."""
    config: Row = field(default_factory=dict)
    """The resolved configuration."""
    result: Row | None = field(default=None, metadata=RESULTS)
    """The JobResult's fields; None while there is none of the latest attempt."""


JSON_FIELDS = ("config", "result")
"""Fields that the database holds as JSON."""


def columns() -> dict[str, str]:
    """The table that each field is read from, by field."""
    return {one.name: one.metadata.get("table", "runs") for one in fields(RunRecord)}


def listed_fields() -> dict[str, str]:
    """The titles of fields that only a database has, by field."""
    return {one.name: one.metadata["title"] for one in fields(RunRecord) if "title" in one.metadata}
