"""Requests in `run_controls`: how they are made, and how a job finds those that are meant for it.

A request is aimed at the attempt that is running. When an attempt opens its poller, what is still open becomes
"expired", so that a resumed run does not obey the request that ended it, and the attempt gets a row of its own, "open".
Whoever sets `stop_requested` there, or adds a row, is obeyed. No clock is compared: machines differ.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tenyson.core.user import user_at_host
from tenyson.telemetry.control.state import Answer, Asked

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection


@dataclass(frozen=True)
class ControlRequest:
    """What became of a request at the moment it was made."""

    run_id: str
    verb: str
    recorded: bool
    """False where an earlier request already stands; nothing was changed then."""
    run_status: str | None
    """"running", "success", "stopped", "failed"; None where the database knows no such run."""


def ask(
    db_url: str,
    run_id: str,
    verb: str,
    *,
    argument: int | None = None,
    key: str | None = None,
    attempt: int | None = None,
    requested_by: str | None = None,
) -> ControlRequest:
    """Ask something of a running job. A second stop of one attempt, or a key that was used before, changes nothing.

    `attempt`: only for that attempt; by default the one that runs.

    Raises:
        TelemetryError: there is no such database, or it cannot be used.
        MissingDependencyError: the database's driver is not installed.
    """
    from sqlalchemy import insert, select
    from sqlalchemy.exc import SQLAlchemyError

    from tenyson.errors import TelemetryError
    from tenyson.telemetry.database.engine import first_line, open_database
    from tenyson.telemetry.database.tables import run_controls as table
    from tenyson.telemetry.database.tables import runs

    # Opened for reading first: a misspelt path is an error here, not a new database.
    open_database(db_url, create=False).dispose()
    engine = open_database(db_url, create=True)
    try:
        with engine.begin() as connection:
            status = connection.execute(select(runs.c.status).where(runs.c.run_id == run_id)).scalar()
            if key is not None:
                same_key = select(table.c.id).where(table.c.run_id == run_id, table.c.key == key)
                stands = connection.execute(same_key).first() is not None
            else:
                stands = verb == "stop" and _stop_stands(connection, run_id, status)
            if not stands:
                connection.execute(
                    insert(table).values(
                        run_id=run_id,
                        attempt=attempt,
                        verb=verb,
                        stop_requested=verb == "stop",
                        argument=argument,
                        key=key,
                        requested_by=requested_by or user_at_host(),
                        requested_at=time.time(),
                    )
                )
        return ControlRequest(run_id, verb, not stands, status)
    except SQLAlchemyError as error:
        raise TelemetryError(f"the request could not be stored: {first_line(error)}") from error
    finally:
        engine.dispose()


def request_stop(db_url: str, run_id: str, *, requested_by: str | None = None) -> ControlRequest:
    """Ask a run to stop after its current step or batch. Raises: as `ask`."""
    return ask(db_url, run_id, "stop", requested_by=requested_by)


def begin_attempt(connection: Connection, run_id: str) -> None:
    """Let earlier requests expire, and give the attempt its own row."""
    from sqlalchemy import insert, update

    from tenyson.telemetry.database.tables import run_controls as table

    left = table.c.status.in_(("open", "pending", "accepted"))
    connection.execute(update(table).where(table.c.run_id == run_id, left).values(status="expired"))
    connection.execute(insert(table).values(run_id=run_id, stop_requested=False, status="open"))


def read_requests(
    connection: Connection, run_id: str, attempt_uid: str | None
) -> tuple[list[Asked], list[int]]:
    """New requests for this attempt, in their order; and the rows that are aimed at another one."""
    from sqlalchemy import select

    from tenyson.telemetry.database.tables import attempts
    from tenyson.telemetry.database.tables import run_controls as table

    rows = connection.execute(
        select(table).where(table.c.run_id == run_id, _is_new()).order_by(table.c.id)
    ).all()
    number = None
    if any(row.attempt is not None for row in rows):
        number = connection.execute(select(attempts.c.attempt).where(attempts.c.uid == attempt_uid)).scalar()
    asked, others = [], []
    for row in rows:
        if row.attempt is None or row.attempt == number:
            asked.append(Asked(row.verb or "stop", row.argument, row.id))
        elif number is not None:
            others.append(row.id)
    return asked, others


def mark(connection: Connection, rows: list[int], status: str) -> None:
    """Set the status of rows that were seen: "accepted" or "expired"."""
    from sqlalchemy import update

    from tenyson.telemetry.database.tables import run_controls as table

    values = {"status": status} | ({"accepted_at": time.time()} if status == "accepted" else {})
    connection.execute(update(table).where(table.c.id.in_(rows)).values(**values))


def write_answer(connection: Connection, answer: Answer, *, run_id: str | None = None) -> None:
    """Store what became of a request; where `run_id` is given, only of one of that run."""
    from sqlalchemy import update

    from tenyson.telemetry.database.tables import run_controls as table

    connection.execute(
        update(table)
        .where(table.c.id == answer.asked.row, *([] if run_id is None else [table.c.run_id == run_id]))
        .values(
            status=answer.status,
            reason=answer.reason,
            applied_step=answer.step,
            applied_at=answer.time if answer.status == "applied" else None,
        )
    )


def _is_new() -> ColumnElement[bool]:
    from sqlalchemy import and_, or_

    from tenyson.telemetry.database.tables import run_controls as table

    asks = or_(table.c.stop_requested, table.c.verb.is_not(None))
    return or_(
        and_(table.c.status == "pending", asks), and_(table.c.status == "open", table.c.stop_requested)
    )


def _stop_stands(connection: Connection, run_id: str, run_status: str | None) -> bool:
    """Whether a stop was asked for already: it waits, or the run is on its way out."""
    from sqlalchemy import or_, select

    from tenyson.telemetry.database.tables import run_controls as table

    is_stop = or_(table.c.verb.is_(None), table.c.verb == "stop")
    waits = select(table.c.id).where(table.c.run_id == run_id, is_stop, _is_new())
    if connection.execute(waits).first() is not None:
        return True
    seen = table.c.status.in_(("accepted", "applied"))
    on_its_way = select(table.c.id).where(table.c.run_id == run_id, is_stop, seen).order_by(table.c.id.desc())
    last = connection.execute(on_its_way).first()
    return (
        run_status == "running"
        and last is not None
        and not _is_of_earlier_attempt(connection, run_id, last.id)
    )


def _is_of_earlier_attempt(connection: Connection, run_id: str, row: int) -> bool:
    from sqlalchemy import select

    from tenyson.telemetry.database.tables import run_controls as table

    # Each attempt's own row comes before all requests that are made of it.
    own = select(table.c.id).where(
        table.c.run_id == run_id, table.c.verb.is_(None), table.c.requested_at.is_(None), table.c.id > row
    )
    return connection.execute(own).first() is not None
