"""Whether the folder of a run that is shown still holds that run: of two runs of one name, the later one has the folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.core.run_folder import RunFolder
from tenyson.errors import TenysonError
from tenyson.jobs.result import JobResult

if TYPE_CHECKING:
    from tenyson.cli.runs.records import Record


def taken_by_another(record: Record) -> str | None:
    """That the folder's files are not the run's, by its telemetry; None where they are, or nobody can tell."""
    folder = Path(record.folder)
    why = _by_telemetry(record, folder) if folder.is_dir() else None
    return None if why is None else f"{folder} holds another run of this name now: {why}"


def unlike_the_journal(record: Record, db_url: str | None) -> str | None:
    """That the run is not the one that a pipeline of the journal had under this name; None where it is, or there was none."""
    from tenyson.cli.options import database_url
    from tenyson.pipeline.cache.identity import displaced
    from tenyson.pipeline.journal.journal import Journal

    folder = Path(record.folder)
    if not folder.is_dir():
        return None
    try:
        with Journal(database_url(db_url), read_only=True) as journal:
            attempts = [one for one in journal.attempts_of_run(record.run_id) if one.reused_from is None]
    except TenysonError:
        return None
    if not attempts or attempts[-1].ended_at is None:
        return None
    last = attempts[-1]
    why = displaced(last, folder, weights=False)
    return (
        None
        if why is None
        else f"this is not the run that step {last.label} of {last.pipeline_id} left in {folder}: {why}"
    )


def _by_telemetry(record: Record, folder: Path) -> str | None:
    recorded = record.result or {}
    try:
        left: dict[str, Any] = vars(JobResult.load(RunFolder(folder).job_result))
    except TenysonError:
        return "its job_result.json is missing" if recorded.get("status") == "success" else None
    if recorded.get("status") != "success" and left["status"] != "success":
        return None
    if record.status in ("running", "lost") and not recorded:
        # It has ended a moment ago, or its end did not reach the database.
        return None
    same = ("status", "total_time_seconds")
    return None if all(recorded.get(key) == left[key] for key in same) else "its job_result.json is another's"
