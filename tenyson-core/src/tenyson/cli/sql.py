"""`tenyson sql`: any question to the telemetry database, read only and with a time limit."""

from __future__ import annotations

import csv
import json
import re
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from tenyson.cli import options
from tenyson.cli.format import print_json
from tenyson.cli.safetext import safe
from tenyson.cli.table import print_table
from tenyson.errors import TelemetryError

if TYPE_CHECKING:
    from sqlalchemy import Connection

CELL = 60
"""Characters of a cell in a table; --full, --json and --csv show all."""
_QUERY = re.compile(
    r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*(?:SELECT|WITH|VALUES|TABLE)\b", re.IGNORECASE | re.DOTALL
)


@click.command()
@click.argument("query", required=False)
@options.db_url
@click.option(
    "--timeout", default=30.0, show_default=True, type=click.FloatRange(min=0.1), help="Seconds it may take."
)
@click.option(
    "--limit", default=1000, show_default=True, type=click.IntRange(min=1), help="Print at most so many rows."
)
@click.option("--full", is_flag=True, help="Cut no cell.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@options.as_json
@click.option("--tables", is_flag=True, help="List the tables and views instead.")
def sql(
    query: str | None,
    db_url: str | None,
    timeout: float,
    limit: int,
    full: bool,
    as_csv: bool,
    as_json: bool,
    tables: bool,
) -> None:
    """Ask the telemetry database a QUERY ("-" reads it from standard input). It can read, and change nothing."""
    if tables:
        _print_tables()
        return
    if query is None:
        raise click.UsageError('give a query, such as "SELECT * FROM runs", or --tables')
    if query == "-":
        query = sys.stdin.read()
    names, rows, more = _ask(query, options.database_url(db_url), timeout, limit)
    if as_json:
        print_json([dict(zip(names, row, strict=True)) for row in rows])
    elif as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(names)
        writer.writerows([_plain(cell) for cell in row] for row in rows)
    else:
        print_table(names, [[_cell(cell, full) for cell in row] for row in rows])
    if more:
        click.echo(f"only the first {limit} rows are shown; --limit shows more", err=True)


def _ask(query: str, url: str, timeout: float, limit: int) -> tuple[list[str], list[Any], bool]:
    from sqlalchemy.exc import SQLAlchemyError

    from tenyson.telemetry.database import first_line, open_database

    engine = open_database(url, create=False)
    try:
        with engine.connect() as connection, _time_limit(connection, timeout) as expired:
            try:
                # From PostgreSQL all rows would come otherwise; of what is no query it makes no cursor.
                stream = {"stream_results": _QUERY.match(query) is not None}
                result = connection.exec_driver_sql(
                    _one_statement(query, connection), execution_options=stream
                )
                if not result.returns_rows:
                    raise TelemetryError(
                        "this is no query: it returns no rows", next_step="Begin with SELECT or WITH."
                    )
                rows = result.fetchmany(limit + 1)
                return list(result.keys()), [tuple(row) for row in rows[:limit]], len(rows) > limit
            except (SQLAlchemyError, ValueError) as error:
                if expired.is_set() or "statement timeout" in str(error):
                    raise TelemetryError(
                        f"the query took longer than {timeout:g} s and was ended",
                        next_step="Ask for less, name a run_id, or give more time with --timeout.",
                    ) from error
                raise TelemetryError(_explained(first_line(error))) from error
    finally:
        engine.dispose()


@contextmanager
def _time_limit(connection: Connection, seconds: float) -> Iterator[threading.Event]:
    """Ends what the connection is doing after so many seconds, and sets the event."""
    expired = threading.Event()
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET statement_timeout = {int(seconds * 1000)}")
        yield expired
        return
    raw: Any = connection.connection.driver_connection
    # ATTACH would make a file, though an empty one.
    raw.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)

    def end() -> None:
        expired.set()
        raw.interrupt()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()


def _one_statement(query: str, connection: Connection) -> str:
    query = query.strip().rstrip(";")
    # psycopg would take % for the beginning of a parameter.
    return query if connection.dialect.name == "sqlite" else query.replace("%", "%%")


def _explained(reason: str) -> str:
    if "attached databases" in reason:
        return f"`tenyson sql` reads one database: {reason}"
    if "readonly" in reason or "read-only" in reason:
        return f"`tenyson sql` only reads: {reason}"
    if "one statement" in reason or "multiple commands" in reason:
        return f"one statement at a time: {reason}"
    return f"the database refuses the query: {reason}"


def _plain(value: Any) -> Any:
    """As SQLite has it: JSON as text, truth values as 1 and 0."""
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if isinstance(value, bool):
        return int(value)
    return "" if value is None else value


def _cell(value: Any, full: bool) -> str:
    value = _plain(value)
    text = safe(f"{value:.10g}" if isinstance(value, float) else str(value))
    text = text.replace("\n", "\\n")
    return text if full or len(text) <= CELL else text[: CELL - 1] + "…"


def _print_tables() -> None:
    from tenyson.telemetry.tables import metadata
    from tenyson.telemetry.views import COMMENTS

    rows = [(name, "view", comment) for name, comment in COMMENTS.items()]
    rows += [(table.name, "table", table.comment or "") for table in metadata.sorted_tables]
    print_table(("name", "kind", "a row is"), rows)
