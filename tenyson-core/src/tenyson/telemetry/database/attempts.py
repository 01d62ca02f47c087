"""Attempts in the database: found or made by the uid that a job gives itself, started, begun, finished.

Imports SQLAlchemy: import this module only where the database is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, and_, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from tenyson.telemetry.database.tables import (
    attempts,
    epoch_records,
    lineage,
    metric_records,
    results,
    rollout_groups,
    rollout_records,
    runs,
)

Fields = dict[str, Any]

STARTED_AGAIN = "process died without reporting an exit status; the run was started again"

# Statements of every transaction are built once: building one takes as long as running it.
_LATER = select(func.count()).where(
    attempts.c.run_id == bindparam("of_run"), attempts.c.started_at > bindparam("since")
)
_FIND = (
    select(attempts.c.attempt, attempts.c.started_at, runs.c.id)
    .join(runs, runs.c.run_id == attempts.c.run_id)
    .where(attempts.c.uid == bindparam("of"))
)


@dataclass
class AttemptRow:
    """One attempt of a run, as the database numbers it."""

    run_id: str
    run: int
    """`runs.id`."""
    attempt: int
    started_at: float
    is_latest: bool = True
    """Whether no attempt that started later is known; looked up for each batch."""

    def refresh(self, connection: Connection) -> None:
        """See whether a later attempt has come."""
        known = {"of_run": self.run_id, "since": self.started_at}
        self.is_latest = connection.execute(_LATER, known).scalar_one() == 0

    def supersede_by_later(self, connection: Connection) -> None:
        """Mark this attempt's rows that later attempts repeated: its spool came late."""
        later = select(attempts.c.attempt, attempts.c.began_at_step).where(
            attempts.c.run_id == self.run_id,
            attempts.c.started_at > self.started_at,
            attempts.c.began_at_step.is_not(None),
        )
        for _, step in connection.execute(later).all():
            _supersede(connection, self.run, [self.attempt], step)


def find_or_make(connection: Connection, run_id: str, uid: str, time: float) -> AttemptRow:
    """The row of an attempt; made, with what little is known, where its start is not stored yet."""
    found = connection.execute(_FIND, {"of": uid}).first()
    if found is not None:
        return AttemptRow(run_id, found.id, found.attempt, found.started_at)
    _insert_run(connection, run_id, time)
    # One writer at a time numbers the attempts of a run. (SQLite: the whole transaction has the write lock.)
    run = connection.execute(select(runs.c.id).where(runs.c.run_id == run_id).with_for_update()).scalar_one()
    again = connection.execute(select(attempts).where(attempts.c.uid == uid)).first()
    if again is not None:  # another rank was quicker
        return AttemptRow(run_id, run, again.attempt, again.started_at)
    last = connection.execute(
        select(func.max(attempts.c.attempt)).where(attempts.c.run_id == run_id)
    ).scalar()
    number = (last or 0) + 1
    connection.execute(
        insert(attempts).values(
            run_id=run_id,
            attempt=number,
            uid=uid,
            status="running",
            config={},
            versions={},
            started_at=time,
            heartbeat_at=time,
        )
    )
    return AttemptRow(run_id, run, number, time)


def start(connection: Connection, row: AttemptRow, event: Fields) -> None:
    """Fill in what the start of an attempt tells."""
    about = event.get("provenance") or {}
    connection.execute(
        update(attempts)
        .where(attempts.c.run_id == row.run_id, attempts.c.attempt == row.attempt)
        .values(
            versions=about.get("versions") or {},
            processes=about.get("processes") or 1,
            started_at=event["time"],
            **_told(attempts, event),
        )
    )
    row.started_at = event["time"]
    row.refresh(connection)
    if row.attempt == 1:
        connection.execute(update(runs).where(runs.c.id == row.run).values(created_at=event["time"]))
    for made_from in event.get("inputs") or ():
        connection.execute(
            insert_or_ignore(connection, lineage).values(
                run_id=row.run_id,
                attempt=row.attempt,
                kind=made_from["kind"],
                reference=made_from["reference"],
                source_run_id=made_from.get("source_run_id"),
            )
        )
    if row.is_latest:
        connection.execute(
            update(attempts)
            .where(
                attempts.c.run_id == row.run_id,
                attempts.c.attempt != row.attempt,
                attempts.c.status == "running",
            )
            .values(status="failed", exit_reason=STARTED_AGAIN, finished_at=attempts.c.heartbeat_at)
        )
        values = {
            "attempt": row.attempt,
            "started_at": event["time"],
            **_told(runs, event),
        }
        own = select(attempts.c.status).where(
            attempts.c.run_id == row.run_id, attempts.c.attempt == row.attempt
        )
        if connection.execute(own).scalar_one() == "running":  # its end may be known: this may be a replay
            values |= {"status": "running", "finished_at": None}
        connection.execute(update(runs).where(runs.c.id == row.run).values(**values))


def _told(table: Table, event: Fields) -> Fields:
    """Values of the columns that the start of an attempt fills. Raises: KeyError: one that may not be null is missing."""
    sources = {"RunStarted": event, "provenance": event.get("provenance") or {}}
    values: Fields = {}
    for column in table.c:
        if "told" in column.info:
            source = sources[column.info["told"]]
            values[column.name] = source.get(column.name) if column.nullable else source[column.name]
    return values


def begin(connection: Connection, row: AttemptRow, event: Fields) -> None:
    """Training resumes at a step: earlier attempts' rows from there on are superseded."""
    connection.execute(
        update(attempts)
        .where(attempts.c.run_id == row.run_id, attempts.c.attempt == row.attempt)
        .values(began_at_step=event["step"])
    )
    earlier = list(
        connection.execute(
            select(attempts.c.attempt).where(
                attempts.c.run_id == row.run_id, attempts.c.started_at < row.started_at
            )
        ).scalars()
    )
    if earlier:
        _supersede(connection, row.run, earlier, event["step"])


def finish(connection: Connection, row: AttemptRow, event: Fields) -> None:
    """The attempt's end and its result."""
    result, status = event["result"], event["status"]
    of_attempt = and_(attempts.c.run_id == row.run_id, attempts.c.attempt == row.attempt)
    connection.execute(
        update(attempts)
        .where(of_attempt)
        .values(
            status=status, finished_at=event["time"], exit_reason=event["reason"], heartbeat_at=event["time"]
        )
    )
    connection.execute(
        delete(results).where(results.c.run_id == row.run_id, results.c.attempt == row.attempt)
    )
    connection.execute(
        insert(results).values(
            run_id=row.run_id,
            attempt=row.attempt,
            status=status,
            total_time_seconds=result.get("total_time_seconds"),
            metrics=result.get("metrics") or {},
            result=result,
            created_at=event["time"],
        )
    )
    if row.is_latest:
        connection.execute(
            update(runs).where(runs.c.id == row.run).values(status=status, finished_at=event["time"])
        )


def give_up(connection: Connection, row: AttemptRow, reason: str) -> bool:
    """Mark an attempt whose process died without an exit status as failed. False if its exit status is known."""
    of_attempt = and_(attempts.c.run_id == row.run_id, attempts.c.attempt == row.attempt)
    marked = connection.execute(
        update(attempts)
        .where(of_attempt, attempts.c.status == "running")
        .values(status="failed", exit_reason=reason, finished_at=attempts.c.heartbeat_at)
    )
    row.refresh(connection)
    if marked.rowcount and row.is_latest:
        last = select(attempts.c.heartbeat_at).where(of_attempt).scalar_subquery()
        connection.execute(
            update(runs)
            .where(runs.c.id == row.run, runs.c.status == "running")
            .values(status="failed", finished_at=last)
        )
    return bool(marked.rowcount)


def beat(connection: Connection, row: AttemptRow, time: float) -> None:
    """Note that the attempt's writer is alive."""
    connection.execute(
        update(attempts)
        .where(attempts.c.run_id == row.run_id, attempts.c.attempt == row.attempt)
        .values(heartbeat_at=time)
    )


def _supersede(connection: Connection, run: int, older: list[int], step: int) -> None:
    """Mark what an attempt that began at `step` repeats: metrics after it, rollouts of its policy and later ones."""
    for table in (metric_records, epoch_records, rollout_records, rollout_groups):
        repeated: Any = table.c.step > step
        if "training" in table.c:
            repeated = or_(repeated, and_(table.c.training, table.c.step >= step))
        query = update(table).where(table.c.run == run, table.c.attempt.in_(older), ~table.c.superseded)
        connection.execute((query.where(repeated) if step else query).values(superseded=True))


def _insert_run(connection: Connection, run_id: str, time: float) -> None:
    connection.execute(
        insert_or_ignore(connection, runs).values(
            run_id=run_id,
            attempt=1,
            job_type="",
            task="",
            status="running",
            config={},
            output_dir="",
            created_at=time,
            started_at=time,
        )
    )


def insert_or_ignore(connection: Connection, table: Any) -> Any:
    """An INSERT that leaves existing rows unchanged."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    return dialect.insert(table).on_conflict_do_nothing()
