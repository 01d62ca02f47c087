"""The journal's database: opened, its connections set up, its tables made; and the one clock that all controllers share.
Imports SQLAlchemy.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, Engine, event, func, insert, select, text
from sqlalchemy.exc import SQLAlchemyError

from tenyson.errors import ConfigError, PipelineError
from tenyson.pipeline.journal import tables
from tenyson.telemetry.database.engine import connect, first_line
from tenyson.telemetry.database.schema import lock

Clock = Callable[[Connection], float]
_NOW = {
    "sqlite": "SELECT (julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "SELECT extract(epoch FROM clock_timestamp())",
}

LEASE_SECONDS = 30.0
"""How long a controller may be silent before another one may take its place."""
LEASE_VARIABLE = "TENYSON_LEASE_SECONDS"


def database_clock(connection: Connection) -> float:
    """Seconds since the epoch, as the database's machine has them: the one clock that all controllers share."""
    return float(connection.execute(text(_NOW[connection.dialect.name])).scalar_one())


def open_journal(db_url: str, *, create: bool, read_only: bool = False) -> Engine:
    """The engine; with `read_only` one that changes nothing and leaves no file behind.

    Raises:
        TelemetryError: there is no such database.
        PipelineError: it has no journal, or another version's.
    """
    engine = connect(db_url, create=not read_only, must_exist=not create)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _read_any_text)
    if read_only:
        pass
    elif engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _sync_fully)
    else:
        event.listen(engine, "connect", _hold_rows_briefly)
    try:
        _make_tables(engine, create=create and not read_only)
    except SQLAlchemyError as error:
        place = engine.url.render_as_string(hide_password=True)
        raise PipelineError(f"the journal cannot be used: {first_line(error)}", place=place) from error
    return engine


def sqlite_file(engine: Engine) -> Path | None:
    """The file of a SQLite database; None for a server."""
    if engine.dialect.name != "sqlite" or not engine.url.database:
        return None
    return Path(engine.url.database.removeprefix("file:").partition("?")[0]).resolve()


def _read_any_text(connection: Any, _record: Any) -> None:
    # The driver refuses text that is no UTF-8 without saying where it is; `tenyson.pipeline.journal.rows` names the row.
    connection.text_factory = _text


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _sync_fully(connection: Any, _record: Any) -> None:
    # A launch that is forgotten with the power is launched twice: unlike telemetry, these commits wait for the disk.
    connection.execute("PRAGMA synchronous=FULL")


def _hold_rows_briefly(connection: Any, _record: Any) -> None:
    # A controller that is stopped inside a transaction holds the pipeline's row: the server ends that, so that another one
    # can take over.
    seconds = min(lease_seconds(), 10.0)
    connection.execute(f"SET SESSION idle_in_transaction_session_timeout = {int(seconds * 1000)}")
    connection.commit()


def _make_tables(engine: Engine, *, create: bool) -> None:
    def found() -> str | None:
        with engine.connect().execution_options(reads=True) as connection:
            if not sqlalchemy.inspect(connection).has_table(tables.version.name):
                return None
            return connection.execute(select(func.max(tables.version.c.version))).scalar()

    version = found()
    if version is None and not create:
        raise PipelineError(
            "no pipeline was ever run with this database",
            place=engine.url.render_as_string(hide_password=True),
            next_step="Give the one it was run with: --db-url, or TENYSON_DB_URL.",
        )
    if version is None:
        with engine.begin() as connection:
            lock(connection)
            if not sqlalchemy.inspect(connection).has_table(tables.version.name):
                tables.metadata.create_all(connection)
                for statement in tables.FIRST_ANSWER_STANDS[connection.dialect.name]:
                    connection.execute(text(statement))
                connection.execute(insert(tables.version).values(version=tables.VERSION))
        version = found()
    if version != tables.VERSION:
        raise PipelineError(
            f"this database has a journal of version {version}, and this release of Tenyson knows {tables.VERSION}",
            next_step="Upgrade tenyson-core.",
        )


def lease_seconds() -> float:
    """How long a silent controller keeps its place. Raises: ConfigError: the variable holds no number above 0.1."""
    text = os.environ.get(LEASE_VARIABLE)
    if text is None:
        return LEASE_SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 86400:
        raise ConfigError(f"{LEASE_VARIABLE} must be seconds, from 0.1 to 86400, not {text!r}")
    return seconds
