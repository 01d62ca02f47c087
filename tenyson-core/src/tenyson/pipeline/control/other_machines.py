"""Jobs elsewhere: attempts whose processes run on another machine, or in another container, which cannot be asked from here."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.cloud.local.host import relation
from tenyson.core.files.atomic import write_json
from tenyson.core.run_folder import EXIT_STATUS, PROCESS
from tenyson.errors import PipelineError

if TYPE_CHECKING:
    from tenyson.pipeline.journal.journal import Journal
    from tenyson.pipeline.journal.records import AttemptRecord, PipelineRecord


@dataclass(frozen=True)
class Elsewhere:
    """An attempt whose end nobody here can see."""

    attempt: AttemptRecord
    host: str
    folder: Path


def elsewhere(journal: Journal, record: PipelineRecord) -> list[Elsewhere]:
    """A pipeline's local attempts in flight whose processes cannot be looked at from here."""
    return list(_find(journal, record))


def require_here(journal: Journal, record: PipelineRecord) -> None:
    """Raises: PipelineError: a local job of the pipeline is at work on another machine, as far as can be known."""
    found = elsewhere(journal, record)
    if not found:
        return
    runs = "; ".join(f"run {one.attempt.run_id} was started on {one.host}" for one in found)
    raise PipelineError(
        f"{runs}: this is another machine, or another container, from which its end cannot be seen",
        next_step=f"Attach there. If that machine is gone for good, say so: tenyson attach {record.id} --gone",
    )


def note_gone(attempt: AttemptRecord) -> bool:
    """Note in the attempt's folder that it ended with its machine: only by who holds the pipeline's lease.

    Returns False for one that has ended there in the meantime: its result counts.
    """
    handle = attempt.handle
    folder = Path(str(handle.data.get("folder", "."))) if handle is not None else None
    if handle is None or folder is None or not (folder / PROCESS).is_file():
        return True
    if has_ended(folder, handle.data.get("job")):
        return False
    status = {
        "exit_code": None,
        "oom_kills": None,
        "cancelled": False,
        "gone": True,
        "ended_at": time.time(),
    }
    write_json(folder / EXIT_STATUS, status)
    return True


def has_ended(folder: Path, job: Any) -> bool:
    """Whether its supervisor has written down how a job ended: then it does not matter where that was."""
    try:
        process = json.loads((folder / PROCESS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(process, dict) and process.get("job") == job and (folder / EXIT_STATUS).is_file()


def _find(journal: Journal, record: PipelineRecord) -> Iterator[Elsewhere]:
    for attempt in {one.label: one for one in journal.attempts(record.id)}.values():
        handle = attempt.handle
        if attempt.state not in ("LAUNCHED", "RUNNING") or handle is None or handle.backend != "local":
            continue
        folder = Path(str(handle.data.get("folder", ".")))
        if has_ended(folder, handle.data.get("job")):
            continue
        # Earlier versions kept the pipeline's host by name alone.
        then = handle.data.get("machine") or {
            "host": (record.origin.machine or {}).get("host"),
            "mark": (handle.data.get("supervisor") or {}).get("mark"),
        }
        if relation(then) == "elsewhere":
            yield Elsewhere(attempt, str(then.get("host") or "another machine"), folder)
