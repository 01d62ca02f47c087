"""Bulk: many rows at once, by the quickest way that each database offers.

Imports SQLAlchemy: import this module only where the database is used.
"""

from __future__ import annotations

from functools import cache, lru_cache
from itertools import chain
from typing import Any

import orjson
from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError

Row = tuple[Any, ...]

ROWS_PER_STATEMENT = 128
"""Of SQLite; `tenyson.telemetry.spool.batches` says how many events are stored together."""


def insert_rows(connection: Connection, table: Table, rows: list[Row]) -> None:
    """Insert rows, whose values stand in the order of the table's columns; PostgreSQL takes them by COPY.

    Raises: SQLAlchemyError.
    """
    if connection.dialect.name == "postgresql":
        statement = f"COPY {table.name} ({_names(table)}) FROM STDIN"
        driver: Any = connection.dialect.loaded_dbapi
        try:
            cursor: Any = connection.connection.cursor()
            with cursor, cursor.copy(statement) as copy:
                for row in rows:
                    copy.write_row(row)
        except driver.Error as error:
            # As from everything else: callers need not know how rows go over.
            raise DBAPIError.instance(
                statement, None, error, driver.Error, dialect=connection.dialect
            ) from error
    else:
        _insert(connection, table, rows, "")


def upsert_rows(connection: Connection, table: Table, rows: list[Row], change: str | None) -> None:
    """Insert rows of different primary keys, with finite numbers; to existing rows apply `change` (SQL), or nothing with None."""
    key = ", ".join(column.name for column in table.primary_key)
    # Two writers that lock the same rows in the same order do not wait for each other in a circle.
    rows = sorted(rows, key=lambda row: row[: len(table.primary_key)])
    action = f"UPDATE SET {change}" if change else "NOTHING"
    _insert(connection, table, rows, f" ON CONFLICT ({key}) DO {action}")


def _insert(connection: Connection, table: Table, rows: list[Row], conflict: str) -> None:
    # Many rows a statement: each costs a round trip, or, on SQLite, the wait to get the interpreter back.
    into = f"INSERT INTO {table.name} ({_names(table)}) "
    if connection.dialect.name == "postgresql":
        names = [str(column.name) for column in table.columns]  # orjson takes no subclass of str
        objects = orjson.dumps([dict(zip(names, row, strict=True)) for row in rows])
        connection.exec_driver_sql(into + _from_json(table) + conflict, (objects.decode(),))
        return
    for start in range(0, len(rows), ROWS_PER_STATEMENT):
        some = rows[start : start + ROWS_PER_STATEMENT]
        values = tuple(chain.from_iterable(some))
        connection.exec_driver_sql(f"{into} VALUES {_marks(table, len(some))}{conflict}", values)


@cache
def _names(table: Table) -> str:
    return ", ".join(column.name for column in table.columns)


@cache
def _from_json(table: Table) -> str:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    types = ", ".join(f"{column.name} {column.type.compile(dialect=dialect)}" for column in table.columns)
    return f"SELECT * FROM json_to_recordset(%s::json) AS rows({types})"


@lru_cache(maxsize=256)
def _marks(table: Table, rows: int) -> str:
    row = f"({', '.join('?' for _ in table.columns)})"
    return ", ".join([row] * rows)
