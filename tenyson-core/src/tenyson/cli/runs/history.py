"""The history of a run: its attempts, what it was made from, what was asked of it, what was not recorded."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenyson.cli.runs.records import Record


@dataclass(frozen=True)
class History:
    """Rows of the tables of the same names; empty where no database knows the run."""

    attempts: list[dict[str, Any]] = field(default_factory=list)
    lineage: list[dict[str, Any]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    losses: list[dict[str, Any]] = field(default_factory=list)
    waiting_spools: int = 0
    """Spools of dead processes in the run's folder."""


def read_history(record: Record) -> History:
    """What its database and its folder tell. Raises: TelemetryError: the database cannot be read."""
    from tenyson.telemetry.read.store import Store
    from tenyson.telemetry.spool.spool import find_spools

    waiting = sum(not spool.is_alive() for spool in find_spools(Path(record.folder)))
    if record.db_url is None:
        return History(waiting_spools=waiting)
    with Store(record.db_url) as store:
        return History(
            attempts=store.attempts(record.run_id),
            lineage=store.lineage(record.run_id),
            requests=store.requests(record.run_id),
            losses=store.losses(record.run_id),
            waiting_spools=waiting,
        )
