"""The telemetry database: SQLite in WAL mode by default, PostgreSQL by URL, both through SQLAlchemy.

Imports SQLAlchemy: import this module only where the database is used.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from tenyson.core.files.filesystem import is_on_network
from tenyson.errors import MissingDependencyError, TelemetryError
from tenyson.telemetry.database.packing import unpacker
from tenyson.telemetry.database.readonly import (
    BUSY_SECONDS,
    NoRunsYetError,
    Reading,
    asks_read_only,
    connect_readonly,
    database_path,
    may_be_written_to,
)
from tenyson.telemetry.database.schema import (
    check_version,
    holds_pipelines,
    prepare,
    read_version,
)
from tenyson.telemetry.database.views import unpacking_views
from tenyson.telemetry.events import json_text

PAGE_BYTES = 8192
"""SQLite's pages; at its own 4096, two rollouts of 1,400 bytes leave a third of each page empty."""
CACHE_KIB = 32768
WAL_BYTES = 32 << 20
"""Size at which SQLite moves its write-ahead log into the database: at its own 4 MB, that was at every batch of rollouts."""
_CONNECT_SECONDS = 10


def open_database(db_url: str, *, create: bool, may_have_no_runs: bool = False) -> Engine:
    """Connect, and make sure that the tables are there.

    With `create`, missing folders, files and tables are made, and transactions take SQLite's write lock at
    their start (BEGIN IMMEDIATE), so that none fails half-way. Without, the engine reads and cannot write.
    `may_have_no_runs`: also read one that so far holds pipelines only.

    Raises:
        NoRunsYetError: it holds pipelines, and no run has been recorded in it.
        SchemaOutdatedError: it holds runs in an older schema.
        TelemetryError: the URL cannot be used, there is no such database, or it cannot be reached.
        MissingDependencyError: the database's driver is not installed.
    """
    url = _parse(db_url)
    place = url.render_as_string(hide_password=True)
    try:
        engine = connect(db_url, create=create)
        if create:
            prepare(engine)
        else:
            with engine.connect() as connection:
                version = read_version(connection)
                if version is None and holds_pipelines(connection):
                    if not may_have_no_runs:
                        raise NoRunsYetError("no run has been recorded in this database yet")
                else:
                    check_version(version)
    except TelemetryError as error:
        error.place = error.place or place
        raise
    except (SQLAlchemyError, OSError) as error:
        raise TelemetryError(f"the database cannot be used: {first_line(error)}", place=place) from error
    return engine


def connect(db_url: str, *, create: bool, must_exist: bool = False) -> Engine:
    """The engine alone: nothing is asked of the database but, for SQLite, that its file may be used.

    Raises:
        TelemetryError, MissingDependencyError: as `open_database`.
    """
    url = _parse(db_url)
    if url.get_backend_name() != "sqlite":
        return _postgres(url, create=create)
    if url.database in (None, "", ":memory:"):
        raise TelemetryError(
            "a database in memory cannot be read by other processes",
            next_step="use sqlite:///./tenyson_telemetry.db",
        )
    path = database_path(str(url.database))
    if (must_exist or not create) and not is_file(path):
        raise TelemetryError(
            "there is no such database",
            place=str(path),
            next_step="`tenyson run` makes it. Give the command in the project's folder, or name another database with --db-url or "
            "TENYSON_DB_URL.",
        )
    if not create:
        return _sqlite_reading(path)
    if asks_read_only(db_url):
        raise TelemetryError(
            "this URL opens the database for reading (mode=ro), and here it must be written",
            place=db_url,
            next_step="Give the URL without mode=ro.",
        )
    return _sqlite(url.set(database=str(path), query=_without_uri(url)), path)


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


def is_file(path: Path) -> bool:
    """Whether there is such a file. Raises: TelemetryError: the folder may not be looked into."""
    try:
        return path.is_file()
    except OSError as error:
        raise TelemetryError(f"the database cannot be read: {error.strerror}", place=str(path)) from error


def _without_uri(url: URL) -> dict[str, Any]:
    """The driver's own arguments in the URL; the path is given to it as a path."""
    return {name: value for name, value in url.query.items() if name not in ("uri", "mode", "cache")}


def _refuse_network(path: Path) -> None:
    if kind := is_on_network(path):
        raise TelemetryError(
            f"SQLite cannot be used on a network file system ({kind}): its locks do not hold there, and two writers "
            "would damage the file",
            place=str(path),
            next_step="Put it on a local disk, or use PostgreSQL: postgresql://user@host/database",
        )


def _sqlite(url: URL, path: Path) -> Engine:
    _refuse_network(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not os.access(path, os.W_OK):
        raise TelemetryError("the database's file cannot be written", place=str(path))
    engine = _engine(url, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        # Python's driver must not begin transactions of its own: `_begin` does.
        connection.isolation_level = None
        # Before WAL is on; a file that has tables keeps its page size.
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        _retry_busy(connection, "PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint={WAL_BYTES // PAGE_BYTES}")

    @event.listens_for(engine, "begin")
    def _begin(connection: sqlalchemy.Connection) -> None:
        reads = connection.get_execution_options().get("reads", False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _sqlite_reading(path: Path) -> Engine:
    if may_be_written_to(path):
        _refuse_network(path)

    def connect() -> Any:
        connection = connect_readonly(path)
        _read_only(connection)
        return connection

    # No pool: how the file may be opened changes when writers come and go.
    engine = _engine(URL.create("sqlite", database=str(path)), creator=connect, poolclass=sqlalchemy.NullPool)

    @event.listens_for(engine, "begin")
    def _begin(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def is_stale(connection: sqlalchemy.Connection) -> bool:
    """Whether an SQLite file that nobody wrote to has been written to since this connection was opened for reading."""
    raw = connection.connection.driver_connection
    return isinstance(raw, Reading) and raw.is_stale()


def _read_only(connection: Any) -> None:
    connection.create_function("tenyson_text", 1, unpacker(), deterministic=True)
    # No telemetry database, or an older one: `check_version` says so.
    with contextlib.suppress(sqlite3.DatabaseError):
        for statement in unpacking_views():
            connection.execute(statement)
    connection.execute("PRAGMA query_only=ON")


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


def _postgres(url: URL, *, create: bool) -> Engine:
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    arguments: dict[str, Any] = {"connect_timeout": _CONNECT_SECONDS, "application_name": "tenyson"}
    try:
        engine = _engine(url, pool_pre_ping=True, connect_args=arguments)
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise MissingDependencyError(
            "psycopg", needed_for="telemetry in PostgreSQL", install="tenyson-core[postgres]"
        ) from error
    if not create:
        event.listen(engine, "connect", _begin_read_only)
    return engine


def _begin_read_only(connection: Any, _record: Any) -> None:
    # Not as an option of the connection: it would replace those of the URL, such as search_path, and poolers refuse options.
    connection.read_only = True


def _engine(url: URL, **options: Any) -> Engine:
    # Parameters hold prompts and completions: they do not belong into error messages.
    return sqlalchemy.create_engine(url, json_serializer=json_text.dumps, hide_parameters=True, **options)
