"""Bulk: many rows at once, by the quickest way that each database offers.

Imports SQLAlchemy: import this module only where the database is used.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import Connection, Table

Row = tuple[Any, ...]


def insert_rows(connection: Connection, table: Table, rows: list[Row]) -> None:
    """Insert rows, whose values stand in the order of the table's columns: PostgreSQL by COPY, SQLite one by one."""
    names = _names(table)
    if connection.dialect.name == "postgresql":
        cursor: Any = connection.connection.cursor()
        with cursor, cursor.copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
    else:
        connection.exec_driver_sql(f"INSERT INTO {table.name} ({names}) VALUES ({_marks(table, '?')})", rows)


def upsert_rows(connection: Connection, table: Table, rows: list[Row], change: str | None) -> None:
    """Insert rows; where the primary key is there already, apply `change` (SQL), or leave it as it is with None."""
    key = ", ".join(column.name for column in table.primary_key)
    action = f"UPDATE SET {change}" if change else "NOTHING"
    # Two writers that lock the same rows in the same order do not wait for each other in a circle.
    rows = sorted(rows, key=lambda row: row[: len(table.primary_key)])
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    connection.exec_driver_sql(
        f"INSERT INTO {table.name} ({_names(table)}) VALUES ({_marks(table, mark)}) ON CONFLICT ({key}) DO {action}",
        rows,
    )


@cache
def _names(table: Table) -> str:
    return ", ".join(column.name for column in table.columns)


@cache
def _marks(table: Table, mark: str) -> str:
    return ", ".join(mark for _ in table.columns)
