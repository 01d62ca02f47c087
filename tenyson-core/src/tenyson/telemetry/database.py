"""The telemetry database: SQLite in WAL mode by default, PostgreSQL by URL, both through SQLAlchemy.

Imports SQLAlchemy: import this module only where the database is used.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from tenyson.errors import MissingDependencyError, TelemetryError
from tenyson.telemetry import jsontext
from tenyson.telemetry.tables import metadata

BUSY_SECONDS = 30
"""How long a writer waits for another process's transaction on one SQLite file."""
_CONNECT_SECONDS = 10
# Any number will do, as long as no other program takes the same one.
_SCHEMA_LOCK = 0x7E4750


def open_database(db_url: str, *, create: bool) -> Engine:
    """Connect, and make sure that the tables are there.

    With `create`, missing folders, files and tables are made, and transactions take SQLite's write lock at
    their start (BEGIN IMMEDIATE), so that none fails half-way. Without, the engine is meant for reading.

    Raises:
        TelemetryError: the URL cannot be used, there is no such database, or it cannot be reached.
        MissingDependencyError: the database's driver is not installed.
    """
    url = _parse(db_url)
    place = url.render_as_string(hide_password=True)
    try:
        engine = _sqlite(url, create=create) if url.get_backend_name() == "sqlite" else _postgres(url)
        if create:
            _create_tables(engine)
        elif not sqlalchemy.inspect(engine).has_table("runs"):
            raise TelemetryError("this is not a telemetry database: it has no table `runs`", place=place)
    except (SQLAlchemyError, OSError) as error:
        raise TelemetryError(f"the database cannot be used: {first_line(error)}", place=place) from error
    return engine


def first_line(error: BaseException) -> str:
    """What the driver said, without SQLAlchemy's wrapping."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]


def _parse(db_url: str) -> URL:
    try:
        # Some hosts hand out "postgres://", which SQLAlchemy does not take.
        url = make_url("postgresql" + db_url[8:] if db_url.startswith("postgres://") else db_url)
    except (ArgumentError, ValueError) as error:
        raise TelemetryError(
            "the database URL (telemetry.db_url, --db-url or TENYSON_DB_URL) cannot be read",
            next_step="use sqlite:///./tenyson_telemetry.db or postgresql://user@host/database",
        ) from error
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise TelemetryError(
            f"{url.get_backend_name()} databases are not supported",
            place=url.render_as_string(hide_password=True),
            next_step="use sqlite:///FILE or postgresql://user@host/database",
        )
    return url


def _sqlite(url: URL, *, create: bool) -> Engine:
    if url.database in (None, "", ":memory:"):
        raise TelemetryError(
            "a database in memory cannot be read by other processes",
            next_step="use sqlite:///./tenyson_telemetry.db",
        )
    path = Path(str(url.database))
    if create:
        path.parent.mkdir(parents=True, exist_ok=True)
    elif not path.is_file():
        raise TelemetryError("there is no such database", place=str(path))
    engine = _engine(url, connect_args={"timeout": BUSY_SECONDS})
    begin = "BEGIN IMMEDIATE" if create else "BEGIN"

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        # Python's driver must not begin transactions of its own: `_begin` does.
        connection.isolation_level = None
        _retry_busy(connection, "PRAGMA journal_mode=WAL") if create else None
        connection.execute("PRAGMA synchronous=NORMAL")

    @event.listens_for(engine, "begin")
    def _begin(connection: sqlalchemy.Connection) -> None:
        reads = connection.get_execution_options().get("reads", False)
        connection.exec_driver_sql("BEGIN" if reads else begin)

    return engine


def _retry_busy(connection: Any, statement: str) -> None:
    # SQLite does not wait for its busy timeout where two processes switch a new file to WAL at once.
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute(statement)
            return
        except Exception as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _postgres(url: URL) -> Engine:
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    try:
        return _engine(url, pool_pre_ping=True, connect_args={"connect_timeout": _CONNECT_SECONDS})
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise MissingDependencyError(
            "psycopg", needed_for="telemetry in PostgreSQL", install="tenyson-core[postgres]"
        ) from error


def _engine(url: URL, **options: Any) -> Engine:
    # Parameters hold prompts and completions: they do not belong into error messages.
    return sqlalchemy.create_engine(url, json_serializer=jsontext.dumps, hide_parameters=True, **options)


def _create_tables(engine: Engine) -> None:
    with engine.begin() as connection:  # on SQLite this holds the write lock
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})")
        metadata.create_all(connection)
