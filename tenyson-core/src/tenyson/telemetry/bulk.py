"""Bulk: many rows at once, by the quickest way that each database offers.

Imports SQLAlchemy: import this module only where the database is used.
"""

from __future__ import annotations

from functools import cache
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Table

Row = tuple[Any, ...]

ROWS_PER_STATEMENT = 256


def insert_rows(connection: Connection, table: Table, rows: list[Row]) -> None:
    """Insert rows, whose values stand in the order of the table's columns: PostgreSQL by COPY, SQLite one by one."""
    names = _names(table)
    if connection.dialect.name == "postgresql":
        cursor: Any = connection.connection.cursor()
        with cursor, cursor.copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        return
    # Many rows a statement: Python's driver gives up the interpreter at each, and must wait to get it back.
    into = f"INSERT INTO {table.name} ({names}) VALUES "
    many = len(rows) - len(rows) % ROWS_PER_STATEMENT
    for start in range(0, many, ROWS_PER_STATEMENT):
        values = tuple(chain.from_iterable(rows[start : start + ROWS_PER_STATEMENT]))
        connection.exec_driver_sql(into + _marks(table, "?", ROWS_PER_STATEMENT), values)
    if rest := rows[many:]:
        connection.exec_driver_sql(into + _marks(table, "?"), rest)


def upsert_rows(connection: Connection, table: Table, rows: list[Row], change: str | None) -> None:
    """Insert rows; where the primary key is there already, apply `change` (SQL), or leave it as it is with None."""
    key = ", ".join(column.name for column in table.primary_key)
    action = f"UPDATE SET {change}" if change else "NOTHING"
    # Two writers that lock the same rows in the same order do not wait for each other in a circle.
    rows = sorted(rows, key=lambda row: row[: len(table.primary_key)])
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    connection.exec_driver_sql(
        f"INSERT INTO {table.name} ({_names(table)}) VALUES {_marks(table, mark)} ON CONFLICT ({key}) DO {action}",
        rows,
    )


@cache
def _names(table: Table) -> str:
    return ", ".join(column.name for column in table.columns)


@cache
def _marks(table: Table, mark: str, rows: int = 1) -> str:
    row = f"({', '.join(mark for _ in table.columns)})"
    return ", ".join([row] * rows)
