"""Control over a running job: the stop signal, and the requests that other processes leave in `run_controls`.

A request is aimed at the attempt that is running. When an attempt opens its poller, every row that lies there
already is set to "expired", so that a resumed run does not obey the request that ended it, and the attempt gets a
row of its own with `stop_requested` false. Whoever sets that flag, or adds a row with it, is obeyed, and the row is
set to "accepted". No clock is compared: machines differ.
"""

from __future__ import annotations

import getpass
import socket
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from tenyson.telemetry.dispatch import Telemetry
from tenyson.telemetry.events import Notice

if TYPE_CHECKING:
    from sqlalchemy import Connection

MANUAL_STOP = "manual stop"


class StopSignal:
    """Whether this job shall end after the current step or batch, and why.

    One attribute and no lock, so that a signal handler may set it and a training loop may read it at each step.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        """"manual stop", "SIGTERM" or "SIGINT"; None while nobody asked."""

    @property
    def requested(self) -> bool:
        """Whether somebody asked for a stop."""
        return self.reason is not None

    def set(self, reason: str) -> None:
        """Ask for a stop. The first reason stands; later ones change nothing."""
        if self.reason is None:
            self.reason = reason


class ControlPoller:
    """Looks into `run_controls` once a second, in a thread, and sets the stop signal.

    Open it before the run starts to load anything: requests made from then on count. A database that fails
    never means stop; the poller says so once and looks again.

    Raises:
        TelemetryError: the database cannot be used when the poller is opened.
    """

    def __init__(
        self,
        db_url: str,
        run_id: str,
        stop: StopSignal,
        *,
        telemetry: Telemetry | None = None,
        interval: float = 1.0,
    ) -> None:
        """`interval`: seconds between two looks. `telemetry` gets a notice of what the poller sees."""
        from tenyson.telemetry.database import open_database

        self._run_id = run_id
        self._stop = stop
        self._telemetry = telemetry
        self._interval = interval
        self._engine = open_database(db_url, create=True)
        with self._engine.begin() as connection:
            _begin_attempt(connection, run_id)
        self._looks = self._engine.execution_options(reads=True)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="run-controls", daemon=True)
        self._thread.start()

    def __enter__(self) -> ControlPoller:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Look no more."""
        self._closing.set()
        self._thread.join(self._interval + 5)

    def _poll(self) -> None:
        failing = False
        while not self._closing.wait(self._interval):
            try:
                with self._looks.connect() as connection:
                    requests = _requests(connection, self._run_id, "pending")
                failing = False
                if requests:
                    self._stop.set(MANUAL_STOP)
                    self._say("info", "a stop was requested; the job ends after the current step or batch")
                    with self._engine.begin() as connection:
                        _accept(connection, requests)
                    break
            except Exception as error:
                if not failing:
                    self._say(
                        "warning", f"stop requests cannot be read, the run goes on: {type(error).__name__}"
                    )
                failing = True
        self._engine.dispose()

    def _say(self, level: str, message: str) -> None:
        if self._telemetry is not None:
            self._telemetry.emit(Notice(run_id=self._run_id, level=level, message=message))  # type: ignore[arg-type]


@dataclass(frozen=True)
class StopRequest:
    """What became of a request to stop a run."""

    run_id: str
    recorded: bool
    """False where an earlier request already stands; nothing was changed then."""
    run_status: str | None
    """"running", "success", "stopped", "failed"; None where the database knows no such run."""


def request_stop(db_url: str, run_id: str, *, requested_by: str | None = None) -> StopRequest:
    """Ask a run to stop after its current step or batch. A second request for one attempt changes nothing.

    Raises:
        TelemetryError: there is no such database, or it cannot be used.
        MissingDependencyError: the database's driver is not installed.
    """
    from sqlalchemy import select
    from sqlalchemy.exc import SQLAlchemyError

    from tenyson.errors import TelemetryError
    from tenyson.telemetry.database import first_line, open_database
    from tenyson.telemetry.tables import runs

    # Opened for reading first: a misspelt path is an error here, not a new database.
    open_database(db_url, create=False).dispose()
    engine = open_database(db_url, create=True)
    try:
        with engine.begin() as connection:
            status = connection.execute(select(runs.c.status).where(runs.c.run_id == run_id)).scalar()
            standing = _requests(connection, run_id, "pending")
            if not standing and status == "running":
                # It was accepted, and the run is on its way out.
                standing = _requests(connection, run_id, "accepted")
            if not standing:
                _request(connection, run_id, requested_by or _who())
        return StopRequest(run_id, not standing, status)
    except SQLAlchemyError as error:
        raise TelemetryError(f"the request could not be stored: {first_line(error)}") from error
    finally:
        engine.dispose()


def _begin_attempt(connection: Connection, run_id: str) -> None:
    from sqlalchemy import insert, update

    from tenyson.telemetry.tables import run_controls as table

    connection.execute(update(table).where(table.c.run_id == run_id).values(status="expired"))
    connection.execute(insert(table).values(run_id=run_id, stop_requested=False))


def _requests(connection: Connection, run_id: str, status: str) -> list[int]:
    """Ids of the rows with a request."""
    from sqlalchemy import select

    from tenyson.telemetry.tables import run_controls as table

    found = select(table.c.id).where(
        table.c.run_id == run_id, table.c.stop_requested, table.c.status == status
    )
    return list(connection.execute(found).scalars())


def _request(connection: Connection, run_id: str, who: str) -> None:
    from sqlalchemy import insert, update

    from tenyson.telemetry.tables import run_controls as table

    values = {"stop_requested": True, "requested_by": who, "requested_at": time.time()}
    of_attempt = update(table).where(table.c.run_id == run_id, table.c.status == "pending")
    if connection.execute(of_attempt.values(**values)).rowcount == 0:
        connection.execute(insert(table).values(run_id=run_id, **values))


def _accept(connection: Connection, requests: list[int]) -> None:
    from sqlalchemy import update

    from tenyson.telemetry.tables import run_controls as table

    accepted = update(table).where(table.c.id.in_(requests))
    connection.execute(accepted.values(status="accepted", accepted_at=time.time()))


def _who() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
