"""One query that a person wrote: it reads, within a time limit, and can change nothing, whatever its text says.

The text is not trusted to be what it looks like: SQLite asks for leave for each thing that the statement would do
(its authorizer), PostgreSQL gets one statement by the extended protocol in a read-only transaction that is rolled back
(`tenyson.telemetry.read.query_postgres`).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from tenyson.errors import TelemetryError
from tenyson.telemetry.database.engine import first_line, open_database
from tenyson.telemetry.database.readonly import NoRunsYetError
from tenyson.telemetry.read.answer import ONLY_READS, Answer, no_query, took_too_long

if TYPE_CHECKING:
    from sqlalchemy import Engine

_PRAGMAS = frozenset(
    {
        "collation_list", "compile_options", "database_list", "foreign_key_list", "function_list", "index_info",
        "index_list", "index_xinfo", "module_list", "pragma_list", "table_info", "table_list", "table_xinfo",
    }
)  # fmt: skip
"""Those that tell and set nothing, also with an argument."""
_SETTINGS = frozenset(
    {
        "application_id", "data_version", "encoding", "freelist_count", "journal_mode", "page_count", "page_size",
        "schema_version", "user_version",
    }
)  # fmt: skip
"""Those that tell without an argument."""
_REFUSED_FUNCTIONS = frozenset({"load_extension", "fts3_tokenizer", "writefile", "edit"})


def ask(db_url: str, query: str, *, timeout: float, limit: int) -> Answer:
    """Run one query and fetch at most `limit` rows.

    Raises:
        TelemetryError: the database cannot be read, the query would do more than read, fails, or takes too long.
        MissingDependencyError: the database's driver is not installed.
    """
    engine, no_runs = _open(db_url)
    try:
        if engine.dialect.name == "postgresql":
            from tenyson.telemetry.read.query_postgres import ask_postgres

            with engine.connect() as connection:
                raw: Any = connection.connection.driver_connection
                return ask_postgres(raw, query, timeout=timeout, limit=limit)
        with closing(engine.raw_connection()) as proxied:
            return _ask_sqlite(proxied.driver_connection, query, timeout=timeout, limit=limit)
    except TelemetryError as error:
        if no_runs is not None:
            error.next_step = f"{no_runs.cause[0].upper()}{no_runs.cause[1:]}; it holds pipelines only."
        raise
    finally:
        engine.dispose()


def _open(db_url: str) -> tuple[Engine, NoRunsYetError | None]:
    """The engine; with the reason where the database holds nothing but pipelines so far."""
    try:
        return open_database(db_url, create=False), None
    except NoRunsYetError as error:
        return open_database(db_url, create=False, may_have_no_runs=True), error


def _ask_sqlite(connection: Any, query: str, *, timeout: float, limit: int) -> Answer:
    refused: list[str] = []

    def authorize(action: int, first: str | None, second: str | None, *_: Any) -> int:
        if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE):
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() not in _REFUSED_FUNCTIONS:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_PRAGMA and _only_tells((first or "").lower(), second):
            return sqlite3.SQLITE_OK
        # Functions that return tables (json_each) ask for this leave, by which nobody can change the table.
        if action == sqlite3.SQLITE_UPDATE and first == "sqlite_master":
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION:
            refused.append(f"the function {second}")
        else:
            refused.append(f"PRAGMA {first}" if action == sqlite3.SQLITE_PRAGMA else "the statement")
        return sqlite3.SQLITE_DENY

    # ATTACH would make a file, though an empty one.
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.set_authorizer(authorize)
    with _interrupt_after(connection, timeout) as expired:
        try:
            cursor = connection.execute(query.strip().rstrip(";"))
            if cursor.description is None:
                raise no_query("the statement returns no rows")
            names = [column[0] for column in cursor.description]
            rows = [tuple(row) for row in cursor.fetchmany(limit + 1)]
        except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
            if expired.is_set():
                raise took_too_long(timeout) from error
            raise _explained_sqlite(first_line(error), refused) from error
    if connection.is_stale():
        raise TelemetryError(
            "a run began to write to the database while it was read", next_step="Call it again."
        )
    return Answer(names, rows[:limit], len(rows) > limit)


def _only_tells(pragma: str, argument: str | None) -> bool:
    return pragma in _PRAGMAS or (pragma in _SETTINGS and argument is None)


def _explained_sqlite(reason: str, refused: list[str]) -> TelemetryError:
    if refused:
        return TelemetryError(f"{ONLY_READS}, and {refused[0]} would do more: {reason}")
    if "one statement" in reason:
        return TelemetryError(f"one statement at a time: {reason}")
    if "attached databases" in reason or "read-only" in reason or "readonly" in reason:
        return TelemetryError(f"{ONLY_READS}, and one database: {reason}")
    return TelemetryError(f"the database refuses the query: {reason}")


@contextmanager
def _interrupt_after(connection: Any, seconds: float) -> Iterator[threading.Event]:
    """Ends what the connection is doing after so many seconds, and sets the event."""
    expired = threading.Event()

    def end() -> None:
        expired.set()
        connection.interrupt()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()
